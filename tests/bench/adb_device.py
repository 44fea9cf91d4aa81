"""A phone for the real adb client: the device's side of the adb protocol over TCP, on a folder of this machine.

Commands run in this machine's `sh`, with programs of our own (getprop, dumpsys, taskset) first in its PATH and
a made-up /sys, so that quoting is put to a real test.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue

MAX_DATA = 2**20
SHELL_OUT, SHELL_ERR, SHELL_EXIT = 1, 2, 3


def packet(command: bytes, arg0: int, arg1: int, data: bytes = b"") -> bytes:
    (number,) = struct.unpack("<I", command)
    return struct.pack("<6I", number, arg0, arg1, len(data), sum(data) & 0xFFFFFFFF, number ^ 0xFFFFFFFF) + data


@dataclass
class Phone:
    """mode: device, unauthorized or silent (never answers). full: pushes fail for want of room.

    drop_at: the connection ends in the middle of the command that holds this text for the `drops`th time from now.
    commands: what was asked of the shell. root: the folder that stands for the phone's storage.
    """

    root: Path
    mode: str = "device"
    features: str = "shell_v2,cmd,stat_v2,ls_v2"
    model: str = "Loopback"
    full: bool = False
    drop_at: str | None = None
    drops: int = 1
    commands: list[str] = field(default_factory=list)
    port: int = 0
    _sockets: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    def running(self) -> list[int]:
        """Commands that have not ended."""
        return [process.pid for process in self._processes if process.poll() is None]

    def spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def start_command(self, command: str) -> subprocess.Popen[bytes]:
        self.commands.append(command)
        line = command.replace("/sys/devices/system/cpu", str(self.root / "sys"))
        env = {**os.environ, "PATH": f"{self.root / 'bin'}:/usr/bin:/bin", "PHONE": str(self.root)}
        process = subprocess.Popen(
            ["sh", "-c", line],
            cwd=self.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def drops_now(self, command: str) -> bool:
        if self.drop_at is None or self.drop_at not in command:
            return False
        self.drops -= 1
        return self.drops == 0

    def close(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
            process.stderr.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()


@contextlib.contextmanager
def serve_phone(phone: Phone) -> Iterator[Phone]:
    """The phone on a free port, until the context ends; nothing of it runs on afterwards."""
    listener = socket.create_server(("127.0.0.1", 0))
    phone.port = listener.getsockname()[1]
    phone._sockets.append(listener)

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            phone._sockets.append(sock)
            phone.spawn(Connection(phone, sock).serve)

    phone.spawn(accept)
    try:
        yield phone
    finally:
        phone.close()


class Connection:
    """One adb server's connection to the phone."""

    def __init__(self, phone: Phone, sock: socket.socket) -> None:
        self.phone, self.sock = phone, sock
        self.lock = threading.Lock()
        self.streams: dict[int, Stream] = {}

    def send(self, command: bytes, arg0: int, arg1: int, data: bytes = b"") -> None:
        with self.lock:
            self.sock.sendall(packet(command, arg0, arg1, data))

    def receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            if not piece:
                raise ConnectionError("closed")
            data += piece
        return data

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                command, arg0, arg1, length, _, _ = struct.unpack("<6I", self.receive(24))
                self.handle(struct.pack("<I", command), arg0, arg1, self.receive(length))
        for stream in self.streams.values():
            stream.close()

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def handle(self, command: bytes, arg0: int, arg1: int, data: bytes) -> None:
        if self.phone.mode == "silent":
            return
        if command in (b"CNXN", b"AUTH"):
            if self.phone.mode == "unauthorized":
                self.send(b"AUTH", 1, 0, bytes(20))
                return
            banner = f"device::ro.product.name=loop;ro.product.model={self.phone.model};ro.product.device=loop;"
            self.send(b"CNXN", 0x01000001, MAX_DATA, f"{banner}features={self.phone.features}".encode())
        elif command == b"OPEN":
            stream = Stream(self, local=arg0, remote=arg0)
            self.streams[arg0] = stream
            self.send(b"OKAY", stream.local, arg0)
            self.phone.spawn(stream.serve, data.rstrip(b"\0").decode())
        elif arg1 in self.streams:
            stream = self.streams[arg1]
            if command == b"WRTE":
                stream.incoming.put(data)
                self.send(b"OKAY", stream.local, arg0)
            elif command == b"OKAY":
                stream.ready.set()
            elif command == b"CLSE":
                stream.close()
                del self.streams[arg1]


class Stream:
    """One service: a shell command, or a file transfer."""

    def __init__(self, connection: Connection, local: int, remote: int) -> None:
        self.connection, self.local, self.remote = connection, local, remote
        self.incoming: Queue[bytes | None] = Queue()
        self.ready = threading.Event()
        self.closed = threading.Event()
        self.buffer = b""

    def serve(self, service: str) -> None:
        with contextlib.suppress(OSError):
            if service.startswith("shell"):
                options, _, command = service.partition(":")
                self.shell(command, framed=",v2" in options)
            elif service.startswith("sync:"):
                self.sync()
            self.connection.send(b"CLSE", self.local, self.remote)

    def close(self) -> None:
        self.closed.set()
        self.ready.set()
        self.incoming.put(None)

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), MAX_DATA // 2):
            self.ready.clear()
            if self.closed.is_set():
                raise ConnectionError("closed")
            self.connection.send(b"WRTE", self.local, self.remote, data[start : start + MAX_DATA // 2])
            self.ready.wait(30)

    def read(self, count: int) -> bytes:
        while len(self.buffer) < count:
            try:
                piece = self.incoming.get(timeout=30)
            except Empty:
                raise ConnectionError("silence") from None
            if piece is None:
                raise ConnectionError("closed")
            self.buffer += piece
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def shell(self, command: str, framed: bool) -> None:
        phone = self.connection.phone
        if phone.drops_now(command):
            self.connection.drop()
            raise ConnectionError("dropped")
        process = phone.start_command(command)
        if not framed:
            out, err = process.communicate()
            self.write((out + err).replace(b"\n", b"\r\n"))
            return
        out, err = process.communicate()
        for kind, data in ((SHELL_OUT, out), (SHELL_ERR, err)):
            for start in range(0, len(data), MAX_DATA // 4):
                piece = data[start : start + MAX_DATA // 4]
                self.write(struct.pack("<BI", kind, len(piece)) + piece)
        self.write(struct.pack("<BIB", SHELL_EXIT, 1, process.returncode & 0xFF))

    def sync(self) -> None:
        while True:
            request, length = struct.unpack("<4sI", self.read(8))
            text = self.read(length).decode()
            if request == b"QUIT":
                return
            if request == b"SEND":
                self.take(text)
            elif request == b"RECV":
                self.give(Path(text))
            elif request == b"STAT":
                stat = self.stat(Path(text))
                self.write(struct.pack("<4s3I", b"STAT", *((stat.st_mode, stat.st_size, 0) if stat else (0, 0, 0))))
            elif request in (b"STA2", b"LST2"):
                stat = self.stat(Path(text))
                known = (stat.st_mode, 1, 0, 0, stat.st_size, 0, 0, 0) if stat else (0,) * 8
                self.write(struct.pack("<4sI2Q4IQ3q", request, 0 if stat else 2, 0, 0, *known))

    @staticmethod
    def stat(path: Path) -> os.stat_result | None:
        return path.stat() if path.exists() else None

    def take(self, text: str) -> None:
        """A push: `path,mode`, pieces of data, and the time."""
        path = Path(text.rpartition(",")[0])
        content = b""
        while True:
            kind, length = struct.unpack("<4sI", self.read(8))
            if kind == b"DONE":
                break
            content += self.read(length)
        if self.connection.phone.full and len(content) > 1000:
            message = b"remote write failed: No space left on device"
            self.write(struct.pack("<4sI", b"FAIL", len(message)) + message)
            return
        path.write_bytes(content)
        self.write(struct.pack("<4sI", b"OKAY", 0))

    def give(self, path: Path) -> None:
        """A pull."""
        content = path.read_bytes()
        for start in range(0, len(content), 2**16):
            piece = content[start : start + 2**16]
            self.write(struct.pack("<4sI", b"DATA", len(piece)) + piece)
        self.write(struct.pack("<4sI", b"DONE", 0))

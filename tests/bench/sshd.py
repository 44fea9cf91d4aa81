"""A real sshd on loopback for the present user, with a throw-away key, and a client configuration for it."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = "/usr/sbin/sshd"


@dataclass
class Board:
    """home: the home folder there. bin: programs that come first in the PATH there. config: for ssh -F."""

    home: Path
    bin: Path
    config: Path
    known_hosts: Path
    port: int
    process: subprocess.Popen[bytes]

    def program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def serve_board(folder: Path) -> Iterator[Board]:
    """sshd until the context ends, and the environment that leads ssh there."""
    if not Path(SSHD).exists() or shutil.which("ssh") is None:
        pytest.skip("no sshd: apt-get install openssh-server openssh-client")
    folder.mkdir(parents=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True, timeout=20)
    home, programs, port = folder / "home", folder / "bin", free_port()
    home.mkdir()
    programs.mkdir()
    host_key = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host_key}")
    (folder / "sshd").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'user.pub'}\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n"
        f"PermitRootLogin prohibit-password\nSetEnv PATH={programs}:/usr/bin:/bin HOME={home} TMPDIR={home}\n"
    )
    (folder / "config").write_text(
        f"Host board\n  IdentityFile {folder / 'user'}\n  UserKnownHostsFile {folder / 'known'}\n"
        f"Host stranger\n  IdentityFile {folder / 'user'}\n  UserKnownHostsFile /dev/null\n"
        f"Host keyless\n  IdentityFile /dev/null\n  UserKnownHostsFile {folder / 'known'}\n"
        f"Host board stranger keyless\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        "  IdentitiesOnly yes\n  GlobalKnownHostsFile /dev/null\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd")], stdout=log, stderr=log)
    try:
        await_port(port, process, folder / "log")
        yield Board(home, programs, folder / "config", folder / "known", port, process)
    finally:
        process.terminate()
        process.wait(10)


def await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError("sshd does not answer")

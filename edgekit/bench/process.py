"""Programs of this machine (adb, ssh) that must neither hang nor flood us, and commands for shells on devices."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from edgekit.errors import DeviceError

MAX_OUTPUT_BYTES = 16 * 2**20
_LOOK_EVERY_S = 0.25
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended, and what it said; bytes that are no UTF-8 are replaced."""

    code: int
    out: str
    err: str


class TimedOutError(DeviceError):
    """A program was stopped because it took too long."""


def run_program(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    remedy: str = "",
) -> Finished:
    """Run a program to its end; it and its children are killed after `timeout_s` or beyond 16 MiB of output.

    Output goes by way of files, so that a child which outlives the program cannot keep us waiting.
    Raises DeviceError where it is not installed (with `remedy`) or says too much, TimedOutError where it takes long.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=stdin or subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        except OSError as problem:
            raise DeviceError(f"{argv[0]} cannot be run ({problem.strerror}): {remedy}") from problem
        try:
            _wait(process, (out, err), argv[0], timeout_s)
        finally:
            stop_program(process)
        if _flooded((out, err)):
            raise _flood(argv[0])
        return Finished(process.returncode, _content(out), _content(err))


def stop_program(process: subprocess.Popen[bytes]) -> None:
    """Kill a program that still runs, and its children."""
    if process.poll() is None:
        _kill(process)
        process.wait()


def clean(text: str) -> str:
    """A device's words as a message may hold them: one line without control characters, at most 300 characters."""
    plain = "".join(sign if sign.isprintable() else " " for sign in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))
    line = " ".join(plain.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


@dataclass(frozen=True, slots=True)
class Guarded:
    """A command for a device's shell that says in its last line how it ended.

    adb ends with 0 when the cable is pulled, and with older devices always; ssh gives its own failures and a killed
    program the same code. So an answer counts only with this line, which holds a number that no device can guess.
    """

    command: str
    mark: str = field(default_factory=lambda: f"EDGEKIT_{secrets.token_hex(6)}=")

    @property
    def line(self) -> str:
        """For the device's shell."""
        return f"( {self.command}\n); EDGEKIT_RC=$?; echo; echo {self.mark}$EDGEKIT_RC"

    def read(self, out: str) -> tuple[int, str] | None:
        """Exit code and output; None where the last line is missing."""
        text, found, code = out.replace("\r\n", "\n").rstrip("\n").rpartition(f"\n{self.mark}")
        return (int(code), text) if found and re.fullmatch("[0-9]{1,3}", code) else None


def _wait(process: subprocess.Popen[bytes], outputs: tuple[IO[bytes], ...], name: str, timeout_s: float) -> None:
    """A thread watches, so that we wake up at once when the program ends."""
    ended = threading.Event()
    problems: list[DeviceError] = []

    def watch() -> None:
        end = time.monotonic() + timeout_s
        while not ended.wait(max(0.0, min(_LOOK_EVERY_S, end - time.monotonic()))):
            if _flooded(outputs):
                problems.append(_flood(name))
            elif time.monotonic() >= end:
                problems.append(TimedOutError(f"{name} gave no answer within {timeout_s:g} s"))
            if problems:
                _kill(process)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        process.wait()
    finally:
        ended.set()
        watcher.join()
    if problems:
        raise problems[0]


def _flooded(outputs: tuple[IO[bytes], ...]) -> bool:
    return any(os.fstat(file.fileno()).st_size > MAX_OUTPUT_BYTES for file in outputs)


def _flood(name: str) -> DeviceError:
    return DeviceError(f"{name} was stopped: more than {MAX_OUTPUT_BYTES} bytes of output")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(MAX_OUTPUT_BYTES).decode("utf-8", "replace")

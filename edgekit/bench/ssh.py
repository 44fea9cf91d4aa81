"""OpenSSH's own client in a subprocess: the user's configuration, agent and jump hosts all count."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import IO

from edgekit.bench.process import Guarded, TimedOutError, clean, run_program
from edgekit.errors import DeviceError

CONFIG_VARIABLE = "EDGEKIT_SSH_CONFIG"
"""Names another configuration file than ~/.ssh/config."""

_INSTALL = "install OpenSSH's client (Debian: apt-get install openssh-client)"
_OPTIONS = (
    "BatchMode=yes",  # never ask: nobody may be there to answer
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ControlMaster=auto",  # later commands take 0.1 s
    "ControlPersist=60",
)
_SAID = (
    ("IDENTIFICATION HAS CHANGED", "has another host key than before: if it was set up anew, `ssh-keygen -R {host}`"),
    ("Host key verification failed", "has a host key that is not known yet: log in once by hand, `ssh {host}`"),
    ("Permission denied", "denies access: copy your key there, `ssh-copy-id {host}` (passwords are not asked for)"),
    ("Could not resolve hostname", "is a name that does not resolve: give its address with --host"),
    ("Connection refused", "answers, but not to ssh: enable its ssh server"),
    ("timed out", "does not answer: is it on, and in this network?"),
    ("No route to host", "does not answer: is it on, and in this network?"),
    ("Network is unreachable", "cannot be reached: is this machine's network up?"),
)
_NO_ROOM = ("No space left on device", "Disk quota exceeded")


class Ssh:
    """A board's shell and files. A context manager: leaving it ends the connection.

    All methods raise DeviceError that names the host and the remedy.
    """

    def __init__(self, host: str, *, user: str | None = None, port: int | None = None, timeout_s: float = 60.0) -> None:
        if host.startswith("-") or (user or "").startswith("-"):
            raise DeviceError(f"{host!r} is no host name: it begins with a dash")
        self.host, self.timeout_s = host, timeout_s
        self._user, self._port = user, port
        self._folder: str | None = None

    def __enter__(self) -> Ssh:
        self._folder = tempfile.mkdtemp(prefix="ek")  # short: sockets have short names
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is None:
            return
        with contextlib.suppress(DeviceError):
            run_program([*self._base(), "-O", "exit", "--", self.host], timeout_s=10)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def run(self, command: str, *, timeout_s: float | None = None, stdin: IO[bytes] | None = None) -> str:
        """Output of a command in the board's shell; words that are not ours must be quoted already.

        Raises DeviceError where it fails, TimedOutError where it takes too long; it may still run there then.
        """
        code, text = self.attempt(command, timeout_s=timeout_s, stdin=stdin)
        if code:
            if any(words in text for words in _NO_ROOM):
                raise DeviceError(f"{self.host} has no room left: delete files there ({clean(text)})")
            raise DeviceError(f"{self.host}: {clean(text) or f'a command failed with code {code}'}")
        return text

    def attempt(
        self, command: str, *, timeout_s: float | None = None, stdin: IO[bytes] | None = None
    ) -> tuple[int, str]:
        """As `run`, with the exit code; a command that fails is no error here."""
        guarded = Guarded(command)
        timeout_s = timeout_s or self.timeout_s
        try:
            told = run_program(self.argv(guarded.line), timeout_s=timeout_s, stdin=stdin, remedy=_INSTALL)
        except TimedOutError:
            raise TimedOutError(
                f"{self.host} gave no answer within {timeout_s:g} s: is it on, and in this network?"
            ) from None
        answer = guarded.read(told.out)
        if answer is None:
            raise self.failure(told.err)
        return answer[0], answer[1] + told.err

    def copy(self, local: Path, remote: str) -> None:
        """Write a file there; `remote` is a path for the shell, quoted where it must be."""
        with local.open("rb") as content:
            self.run(f"cat > {remote}", stdin=content, timeout_s=max(self.timeout_s, 300.0))

    def argv(self, command: str) -> list[str]:
        """The command line that runs `command` in a POSIX shell there, whatever the user's login shell is."""
        return [*self._base(), "-T", "--", self.host, f"exec sh -c {quote(command)}"]

    def start(self, command: str, err: IO[bytes]) -> subprocess.Popen[bytes]:
        """A command whose standard input and output are ours; what it says on standard error goes to `err`."""
        return subprocess.Popen(
            self.argv(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, start_new_session=True
        )

    def failure(self, said: str, otherwise: str | None = None) -> DeviceError:
        """What ssh's own words on standard error mean; `otherwise` where they are none of ssh's."""
        for words, meaning in _SAID:
            if words in said:
                return DeviceError(f"{self.host} {meaning.format(host=self.host)}")
        if otherwise is not None:
            return DeviceError(otherwise)
        text = clean(said)
        return DeviceError(f"{self.host} broke off the connection{f' ({text})' if text else ''}: start again")

    def _base(self) -> list[str]:
        config = os.environ.get(CONFIG_VARIABLE)
        options = [word for option in (*_OPTIONS, f"ControlPath={self._folder}/c") for word in ("-o", option)]
        return [
            "ssh",
            *(("-F", config) if config else ()),
            *options,
            *(("-p", str(self._port)) if self._port else ()),
            *(("-l", self._user) if self._user else ()),
        ]

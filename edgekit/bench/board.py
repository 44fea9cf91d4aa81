"""A Raspberry Pi, or any Linux machine, over ssh as a device: the agent does the work there."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from edgekit.bench import agent
from edgekit.bench.agent_session import AgentFailureError, AgentSession
from edgekit.bench.block import Block
from edgekit.bench.device import DeviceState, Feeds, Opened
from edgekit.bench.masks import Threads, pick_cores
from edgekit.bench.process import clean
from edgekit.bench.remote_device import RemoteDevice
from edgekit.bench.ssh import Ssh
from edgekit.errors import DeviceError
from edgekit.runtime.io_spec import Array
from edgekit.runtime.quiet import is_greeting
from edgekit.runtime.session import file_format

PRIVATE_FOLDER = "~/.local/share/edgekit/board"
"""Where `edgekit devices setup` installs a runtime."""

SYSTEM_PYTHON = "/usr/bin/python3"


class BoardDevice(RemoteDevice):
    """One board. A context manager: leaving it ends the agent and removes every file that was brought.

    python: the interpreter there; None for the one that was set up, else the system's. folder: where files go there,
    None for the system's temporary folder. timeout_s: the longest that one block may take.
    """

    transport = "ssh"
    block_seconds = 0.05

    def __init__(
        self,
        name: str,
        ssh: Ssh,
        *,
        threads: Threads = 1,
        python: str | None = None,
        folder: str | None = None,
        emulated: bool = False,
        timeout_s: float = 300.0,
    ) -> None:
        super().__init__(name, threads=threads, emulated=emulated, timeout_s=timeout_s)
        self._ssh, self._python, self._parent = ssh, python, folder
        self._folder: str | None = None  # for the shell: quoted, with ~/ and the temporary folder as variables
        self._session: AgentSession | None = None
        self._opened = 0

    def open(self, path: Path, feeds: Feeds) -> Opened:
        """Bring a file there, open it in whichever runtime the board has for it, and run it once.

        Raises DeviceError where there is no runtime, and where it refuses the file.
        """
        kind = file_format(path)
        remote = f"m{self._opened}.{kind}"
        self._ssh.copy(path, f"{self._folder}/{remote}")
        try:
            told = self._agent.ask(
                "open", path=remote, format=kind, threads=self.threads, feeds=[agent.encode(a) for a in feeds]
            )
        except AgentFailureError as problem:
            raise DeviceError(f"{path}: {problem}{self._remedy(problem.kind)}") from problem
        self._opened += 1
        return Opened(
            runtime=clean(str(_part(told, "runtime", str, self.name))),
            load_ms=_part(told, "load_ms", float, self.name),
            first_ms=_part(told, "first_ms", float, self.name),
            peak_memory_bytes=self._agent.ask("peak") if self._opened == 1 else None,
        )

    def outputs(self, index: int, feeds: Feeds) -> list[Array]:
        """Run once; the raw outputs in the file's order."""
        told = self._agent.ask("outputs", index=index, feeds=[agent.encode(a) for a in feeds])
        try:
            return [np.asarray(agent.decode(array)) for array in told]
        except (KeyError, TypeError, ValueError):
            raise DeviceError(f"{self.name} answers with outputs that are none") from None

    def block(self, index: int, *, runs: int, seconds: float = 0.0, lead: int = 0) -> Block:
        """The time of the runtime's call alone, taken by the agent."""
        told = self._agent.ask("block", index=index, runs=runs, seconds=seconds, lead=lead)
        samples = _part(told, "samples_ns", list, self.name)
        khz = told.get("clock_khz")
        if not samples or not all(isinstance(ns, int) and ns >= 0 for ns in samples):
            raise DeviceError(f"{self.name} answers with times that are none")
        return Block.of(samples, khz if isinstance(khz, int) else None)

    def state(self) -> DeviceState:
        """Throttling bits, temperatures, clocks and governors now."""
        told = self._agent.ask("state")
        throttled = told.get("throttled") if isinstance(told, dict) else None
        return DeviceState(
            throttled=throttled if isinstance(throttled, int) else None,
            temperatures_c=_part(told, "temperatures_c", dict, self.name),
            governors=_part(told, "governors", dict, self.name),
            clocks_khz=_part(told, "clocks_khz", dict, self.name),
        )

    @property
    def _agent(self) -> AgentSession:
        if self._session is None:
            raise DeviceError(f"{self.name} is not connected: use it as a context manager")
        return self._session

    def _prepare(self) -> None:
        self._ssh.__enter__()
        parent = remote_path(self._parent) if self._parent else '"${TMPDIR:-/tmp}"'
        folder = f"{parent}/edgekit-{secrets.token_hex(6)}"
        self._ssh.run(f"mkdir -p {parent} && mkdir -m 700 {folder}")
        self._folder = folder
        self._ssh.copy(Path(agent.__file__), f"{folder}/agent.py")
        command = f'cd {folder} && exec {self._find_python()} -u agent.py "$PWD"'
        self._session = AgentSession(
            self.name, lambda err: self._ssh.start(command, err), self._explain, self._timeout_s
        )
        facts = self._agent.ask("facts")
        top = _part(facts, "top_khz", dict, self.name)
        known = {int(cpu): khz for cpu, khz in top.items() if cpu.isdigit() and isinstance(khz, int)}
        cores = known or {cpu: 0 for cpu in _part(facts, "cpus", list, self.name) if isinstance(cpu, int)}
        self.threads, wanted = pick_cores(cores, self._wanted)
        self.cpus = tuple(self._agent.ask("pin", cpus=list(wanted)))
        self._facts = {**facts, "host": self._ssh.host}

    def _find_python(self) -> str:
        """For the shell: the profile's interpreter, else the one that was set up, else the system's."""
        if self._python is not None:
            return remote_path(self._python)
        own = remote_path(f"{PRIVATE_FOLDER}/bin/python")
        return own if self._ssh.attempt(f"test -x {own}")[0] == 0 else SYSTEM_PYTHON

    def _explain(self, said: str) -> DeviceError:
        """Why the agent is gone: ssh's reason, Python's, or none, as where the system killed it."""

        lines = [line for line in said.splitlines() if line.strip() and not is_greeting(line.encode())]
        last = clean(lines[-1]) if lines else "killed, or the connection broke off"

        told = f"{self.name}: the agent ended ({last}): is there enough memory, and a sound connection?"
        if "not found" in last or "No such file" in last:
            told = f"{self.name} has no such Python ({last}): `edgekit devices setup {self.name}` installs one"
        return self._ssh.failure(said, told)

    def _remedy(self, kind: str) -> str:
        if kind == "no-runtime":
            return f": `edgekit devices setup {self.name}` installs one"
        return ": take a newer runtime there, or export for an older one" if kind == "too-old" else ""

    def _leave(self) -> None:
        """End the agent and remove what was brought. A board that is gone tidies up itself: its agent's input ends."""
        pid = self._facts.get("pid")
        went = self._session.close() if self._session is not None else True
        with contextlib.suppress(DeviceError):
            if not went and isinstance(pid, int) and pid > 1:
                self._ssh.attempt(f"grep -q agent.py /proc/{pid}/cmdline && kill -9 {pid}", timeout_s=20)
            if self._folder is not None:
                self._ssh.attempt(f"rm -rf {self._folder}", timeout_s=20)
        self._session = self._folder = None
        self._ssh.__exit__(None, None, None)


def remote_path(path: str) -> str:
    """A path for the board's shell: quoted, with ~/ as the home folder."""
    return f'"$HOME"/{quote(path[2:])}' if path.startswith("~/") else quote(path)


def _part(told: Any, name: str, kind: type, who: str) -> Any:
    """A field of an answer. Raises DeviceError where it is missing or of another kind."""
    value = told.get(name) if isinstance(told, dict) else None
    if kind is float and isinstance(value, int):
        value = float(value)
    if not isinstance(value, kind):
        raise DeviceError(f"{who} answers without {name}: is its Python sound?")
    return value

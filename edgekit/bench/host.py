"""This machine as a device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from edgekit.bench import agent
from edgekit.bench.affinity import pinned, top_frequencies
from edgekit.bench.block import Block
from edgekit.bench.device import DeviceState, Feeds, Opened
from edgekit.bench.masks import Threads, pick_cores
from edgekit.bench.protocol import Clock
from edgekit.runtime.io_spec import Array
from edgekit.runtime.session import Runtime, Session
from edgekit.runtime.tflite_backend import Delegate

_NS_PER_MS = 1e6


class HostDevice:
    """Runs files in this process, on its fastest processors. A context manager; leaving it closes the files."""

    name = "host"
    transport = "host"
    emulated = False
    block_seconds = 0.05

    def __init__(
        self,
        *,
        threads: Threads = 1,
        runtime: Runtime = "auto",
        delegate: Delegate = "xnnpack",
        allow_spinning: bool | None = None,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        self._runtime, self._delegate, self._allow_spinning = runtime, delegate, allow_spinning
        self._clock = clock
        self._stack = ExitStack()
        self._sessions: list[Session] = []
        self._runs: list[Any] = []
        self.threads, self._wanted = pick_cores(top_frequencies(), threads)[0], threads
        self.cpus: tuple[int, ...] = ()

    def __enter__(self) -> HostDevice:
        self.cpus = self._stack.enter_context(pinned(self._wanted))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runs.clear()
        self._sessions.clear()
        self._stack.close()

    def facts(self) -> Mapping[str, Any]:
        """Model, system and cores."""
        return agent.read_facts()

    def open(self, path: Path, feeds: Feeds) -> Opened:
        """Open a file and run it once. Raises what `Session.open` raises."""
        start = self._clock()
        session = self._stack.enter_context(
            Session.open(
                path,
                runtime=self._runtime,
                threads=self.threads,
                delegate=self._delegate,
                allow_spinning=self._allow_spinning,
            )
        )
        load_ns = self._clock() - start
        names = (spec.name for spec in session.inputs)
        run = session.bind(dict(zip(names, feeds, strict=True)))
        start = self._clock()
        run()
        first_ns = self._clock() - start
        self._sessions.append(session)
        self._runs.append(run)
        return Opened(session.runtime, load_ns / _NS_PER_MS, first_ns / _NS_PER_MS)

    def outputs(self, index: int, feeds: Feeds) -> list[Array]:
        """Run once; the raw outputs in the file's order."""
        session = self._sessions[index]
        told = session.run({spec.name: value for spec, value in zip(session.inputs, feeds, strict=True)})
        return [told[spec.name] for spec in session.outputs]

    def block(self, index: int, *, runs: int, seconds: float = 0.0, lead: int = 0) -> Block:
        """The time of the runtime's call alone, inputs in place and outputs not read."""
        samples = agent.timed_runs(self._runs[index], runs, seconds, lead, self._clock)
        return Block.of(samples, agent.clock_khz(list(self.cpus)))

    def state(self) -> DeviceState:
        """Heat, clocks and governors now."""
        return DeviceState(**agent.read_state())

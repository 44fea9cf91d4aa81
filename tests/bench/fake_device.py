"""A device on a clock that only moves when a run says so."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgekit.bench.agent import timed_runs
from edgekit.bench.block import Block
from edgekit.bench.device import DeviceState, Feeds, Opened
from edgekit.runtime.io_spec import Array
from edgekit.runtime.session import Session

MS = 1_000_000


class FakeDevice:
    """Models whose runs take what they are told, real outputs, and a log of what ran."""

    name = "fake"
    transport = "adb"
    emulated = False
    threads = 1
    cpus: tuple[int, ...] = (7,)
    block_seconds = 0.05

    def __init__(self, *models: Callable[[], float]) -> None:
        """models: give the milliseconds of a run when it starts."""
        self.now = 0
        self.log: list[int] = []
        self.collecting: list[bool] = []
        self.models = models
        self.states = iter([DeviceState()])
        self.clock_khz: int | None = None
        self.opened: list[Path] = []
        self.closed = 0
        self.wrong = 0.0
        self._state = DeviceState()

    def clock(self) -> int:
        return self.now

    def __enter__(self) -> FakeDevice:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed += 1

    def facts(self) -> Mapping[str, Any]:
        return {"model": "none"}

    def open(self, path: Path, feeds: Feeds) -> Opened:
        self.opened.append(path)
        return Opened("fake 1.0", 1.0, 2.0)

    def outputs(self, index: int, feeds: Feeds) -> list[Array]:
        with Session.open(self.opened[index]) as session:
            told = session.run({spec.name: value for spec, value in zip(session.inputs, feeds, strict=True)})
            return [(told[spec.name] + self.wrong).astype(told[spec.name].dtype) for spec in session.outputs]

    def block(self, index: int, *, runs: int, seconds: float = 0.0, lead: int = 0) -> Block:
        def run() -> None:
            self.now += int(self.models[index]() * MS)
            self.log.append(index)
            self.collecting.append(gc.isenabled())

        return Block.of(timed_runs(run, runs, seconds, lead, self.clock), self.clock_khz)

    def state(self) -> DeviceState:
        self._state = next(self.states, self._state)
        return self._state


def steady(ms: float) -> Callable[[], float]:
    return lambda: ms


def sequence(*times_ms: float) -> Callable[[], float]:
    """These milliseconds in turn, the last one for ever."""
    calls = iter(times_ms)
    return lambda: next(calls, times_ms[-1])

"""What devices that are reached over a wire have in common: how they are entered and left."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeVar

from edgekit.bench.masks import Threads

D = TypeVar("D", bound="RemoteDevice")


class RemoteDevice(ABC):
    """A device to connect to and to tidy up. A context manager: whatever was prepared is undone, at errors too.

    threads, cpus: known when the device has told its cores. timeout_s: the longest that one block may take.
    """

    def __init__(self, name: str, *, threads: Threads, emulated: bool, timeout_s: float) -> None:
        self.name, self.emulated = name, emulated
        self.threads = 1
        self.cpus: tuple[int, ...] = ()
        self._wanted: Threads = threads
        self._timeout_s = timeout_s
        self._facts: dict[str, Any] = {}

    def __enter__(self: D) -> D:
        with contextlib.ExitStack() as undo:  # also where the user interrupts
            undo.callback(self._leave)
            self._prepare()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def facts(self) -> Mapping[str, Any]:
        """Model, system, cores, what runs files there; what the device does not tell is missing."""
        return self._facts

    @abstractmethod
    def _prepare(self) -> None:
        """Connect and bring what is needed. Raises DeviceError."""

    @abstractmethod
    def _leave(self) -> None:
        """Remove what was brought, end what runs, disconnect; also where `_prepare` did not get far."""

"""The one seam between the protocol and devices: what this machine, a board over ssh and a phone over adb can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from edgekit.bench.block import Block
from edgekit.runtime.io_spec import Array

Feeds = Sequence[Array]
"""Raw inputs in the file's own order, layout and dtypes."""


@dataclass(frozen=True, slots=True)
class Delegation:
    """What a delegate took of a file: None where the device does not tell.

    partitions: pieces that run in the delegate; complete: whether nothing is left to TFLite's own kernels.
    """

    name: str
    delegated: int | None = None
    total: int | None = None
    partitions: int | None = None
    complete: bool | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that is ready on the device. runtime: name and version; first_ms: the first inference there."""

    runtime: str
    load_ms: float
    first_ms: float
    delegation: Delegation | None = None
    peak_memory_bytes: int | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What may spoil a measurement, as it is now. What the device does not tell is None or empty.

    thermal_status: Android's, 0 (none) to 6 (shutdown). throttled: a Raspberry Pi's bits. temperatures in degrees
    Celsius by sensor; governors and clocks_khz by core. battery: level in percent, and whether it is being charged.
    """

    thermal_status: int | None = None
    throttled: int | None = None
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    governors: Mapping[str, str] = field(default_factory=dict)
    clocks_khz: Mapping[str, int] = field(default_factory=dict)
    battery_percent: int | None = None
    charging: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


class Device(Protocol):
    """One device with files opened on it, each known by its position in the order of opening.

    name: as the user calls it. transport: host, ssh or adb. threads and cpus: what files run on. emulated: whether
    times mean nothing. block_seconds: how long a block should last at least: what starting one costs must not matter.
    All methods raise DeviceError where the device fails.
    """

    name: str
    transport: str
    emulated: bool
    threads: int
    cpus: tuple[int, ...]
    block_seconds: float

    def __enter__(self) -> Device:
        """Connect."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing behind: no file, no process."""

    def facts(self) -> Mapping[str, Any]:
        """What the device is: model, system, cores."""

    def open(self, path: Path, feeds: Feeds) -> Opened:
        """Bring a file there, open it and run it once on `feeds`, which are also what it is timed on."""

    def outputs(self, index: int, feeds: Feeds) -> list[Array]:
        """Run once and give the raw outputs, in the file's own order."""

    def block(self, index: int, *, runs: int, seconds: float = 0.0, lead: int = 0) -> Block:
        """Time at least so many runs and seconds, after `lead` runs that are not timed."""

    def state(self) -> DeviceState:
        """Heat, clocks, battery now."""

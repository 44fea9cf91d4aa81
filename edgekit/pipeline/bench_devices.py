"""From a device's name to its reports: several phones are measured at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from edgekit.bench.connect import open_device
from edgekit.bench.device import Device
from edgekit.bench.masks import Threads
from edgekit.bench.protocol import FULL, Plan
from edgekit.bench.report import Report
from edgekit.bench.run import bench_on
from edgekit.devices import find_profile
from edgekit.errors import DeviceError


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What to measure where.

    device: a profile's name or file. serials: of several phones of that profile; none means the profile's own. given:
    what the command line says instead of the profile (host, user, port, python, benchmark_model).
    """

    files: tuple[str, ...]
    device: str = "host"
    plan: Plan = FULL
    threads: Threads = 1
    serials: tuple[str, ...] = ()
    delegate: str | None = None
    check: bool = True
    given: Mapping[str, Any] = field(default_factory=dict)


def bench_devices(request: BenchRequest, started: Callable[[], None] | None = None) -> list[Report]:
    """One report a device, in the order of the serials; `started` is called when each begins to measure.

    Raises what `find_profile`, `open_device` and `bench_on` raise; where several phones fail, the first one's failure.
    """
    if len(set(request.serials)) < len(request.serials):
        raise DeviceError("a serial number is given twice: name each phone once")
    devices = [_device(request, serial) for serial in request.serials or (None,)]

    def measure(device: Device) -> Report:
        return bench_on(device, request.files, request.plan, check=request.check, started=started)

    if len(devices) == 1:
        return [measure(devices[0])]
    with ThreadPoolExecutor(len(devices)) as pool:
        return list(pool.map(measure, devices))


def _device(request: BenchRequest, serial: str | None) -> Device:
    profile = find_profile(request.device, {**request.given, "serial": serial})
    return open_device(profile, threads=request.threads, delegate=request.delegate)

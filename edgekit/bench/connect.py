"""From a device profile to the device that it describes."""

from __future__ import annotations

from pathlib import Path

from edgekit.bench.delegates import DelegateChoice
from edgekit.bench.device import Device
from edgekit.bench.host import HostDevice
from edgekit.bench.masks import Threads
from edgekit.bench.ssh import Ssh
from edgekit.devices import Profile
from edgekit.errors import DeviceError


def open_device(profile: Profile, *, threads: Threads = 1, delegate: str | None = None) -> Device:
    """The device, not connected yet. `delegate` is for phones: see `DelegateChoice.parse`.

    Raises DeviceError for profiles of which nothing can be measured, and for delegates that there are not.
    """
    if delegate is not None and profile.transport != "adb":
        raise DeviceError(f"--delegate is for phones; {profile.name} is reached by {profile.transport}: leave it out")
    if profile.transport == "host":
        return HostDevice(threads=threads)
    if profile.transport == "adb":
        from edgekit.bench.android import AndroidDevice

        tool = profile.programs.benchmark_model
        return AndroidDevice(
            profile.name,
            serial=profile.reach.serial,
            threads=threads,
            delegate=DelegateChoice.parse(delegate or "xnnpack"),
            benchmark_model=Path(tool).expanduser() if tool else None,
            folder=profile.programs.folder,
            emulated=profile.emulated,
        )
    if profile.transport == "ssh":
        from edgekit.bench.board import BoardDevice

        return BoardDevice(
            profile.name,
            connection(profile),
            threads=threads,
            python=profile.programs.python,
            folder=profile.programs.folder,
            emulated=profile.emulated,
        )
    raise DeviceError(
        f"{profile.name} is not measured but estimated or checked (its transport is {profile.transport}): "
        "`edgekit devices` lists what can be reached"
    )


def connection(profile: Profile) -> Ssh:
    """To the profile's board. Raises DeviceError for profiles without a host."""
    if profile.transport != "ssh" or profile.reach.host is None:
        raise DeviceError(f"{profile.name} names no host to reach by ssh: give --host")
    return Ssh(profile.reach.host, user=profile.reach.user, port=profile.reach.port)

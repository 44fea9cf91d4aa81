"""`doctor` over one device or all: each address once, all at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edgekit.devices.catalog import find_profile, profile_files
from edgekit.devices.doctor import Finding, examine
from edgekit.devices.schema import Profile


def examine_devices(device: str | None, given: Mapping[str, Any]) -> list[tuple[list[str], list[Finding]]]:
    """Findings of the device, or of all that can be reached at all; devices that are reached alike stand together.

    Raises DeviceError as `find_profile`.
    """
    if device is not None:
        profile = find_profile(device, given)
        return [([profile.name], examine(profile))]
    alike: dict[tuple[object, ...], list[Profile]] = {}
    for name in profile_files():
        profile = find_profile(name)
        if profile.transport != "none":
            alike.setdefault((profile.transport, profile.reach, profile.programs), []).append(profile)
    with ThreadPoolExecutor(8) as pool:
        findings = list(pool.map(lambda group: examine(group[0]), alike.values()))
    return [([p.name for p in group], rows) for group, rows in zip(alike.values(), findings, strict=True)]

"""Finds device profiles: those that edgekit ships, the user's own, and any file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgekit.devices.schema import Profile
from edgekit.devices.strict_yaml import read_yaml
from edgekit.errors import DeviceError

FOLDER_VARIABLE = "EDGEKIT_DEVICES"
SHIPPED = Path(__file__).with_name("profiles")
OVERRIDES = {
    "host": "reach",
    "user": "reach",
    "port": "reach",
    "serial": "reach",
    "python": "programs",
    "benchmark_model": "programs",
}
"""What the command line and the environment can say otherwise, and which part of the profile it stands in."""


def user_folder() -> Path:
    """The user's folder for profiles and calibrations: $EDGEKIT_DEVICES, else `devices` in the platform's own place."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    import click

    return Path(click.get_app_dir("edgekit")) / "devices"


def profile_files() -> dict[str, Path]:
    """By name: the shipped profiles, and the user's, which go before shipped ones of the same name."""
    folders = (SHIPPED, user_folder())
    return {path.stem: path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.yaml"))}


def find_profile(device: str, given: Mapping[str, Any] | None = None) -> Profile:
    """The profile of that name or file (a path that ends in .yaml), as the environment and `given` change it.

    given: keys of OVERRIDES with their values, from the command line; None means not given. They go before the
    environment's (EDGEKIT_PI5_HOST=10.0.0.5), which go before the file's.
    Raises DeviceError where there is none, where it is damaged, and for overrides that it cannot have.
    """
    return overridden(read_profile(_file_of(device)), given or {})


def read_profile(path: Path) -> Profile:
    """The profile in that file. Raises DeviceError naming file and line."""
    profile = read_yaml(path, Profile, "device profile")
    if profile.name != path.stem:
        raise DeviceError(f"{path}: name is {profile.name!r}; a profile is called like its file, {path.stem!r}")
    return profile


def overridden(profile: Profile, given: Mapping[str, Any]) -> Profile:
    """The profile with what the environment and the command line say instead."""
    document = profile.model_dump(mode="json")
    for key, part in OVERRIDES.items():
        variable = f"EDGEKIT_{profile.name.upper()}_{key.upper()}"
        value: str | int | None = os.environ.get(variable) or None
        origin = variable
        if given.get(key) is not None:
            value, origin = given[key], f"--{key.replace('_', '-')}"
        if value is None:
            continue
        if key == "port" and isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value):
            value = int(value)
        document[part][key] = value
        _check(document, origin, value)
    return Profile.model_validate(document, strict=False)


def _check(document: dict[str, Any], origin: str, value: object) -> None:
    try:
        Profile.model_validate(document, strict=False)
    except ValidationError as problem:
        told = problem.errors()[0]["msg"].removeprefix("Value error, ")
        raise DeviceError(f"{origin} {value!r} cannot be used with {document['name']}: {told}") from None


def _file_of(device: str) -> Path:
    if device.endswith((".yaml", ".yml")) or os.sep in device:
        return Path(device)
    files = profile_files()
    if device not in files:
        near = get_close_matches(device, files, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else "`edgekit devices` lists them."
        raise DeviceError(f"no device {device!r}: {hint} Give a name or the path of a .yaml profile")
    return files[device]

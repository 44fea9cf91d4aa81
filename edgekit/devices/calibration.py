"""A device's measured cost-model coefficients, kept in a file of their own: profiles are edited by people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from edgekit.devices.catalog import user_folder
from edgekit.devices.schema import Measured, Name, Profile, Strict, Text
from edgekit.devices.strict_yaml import read_yaml
from edgekit.export.files import write_atomically
from edgekit.passes.target import DEFAULT_TARGETS, Target

_HEADER = (
    "# Written and replaced by `edgekit devices calibrate`. Prices in nanoseconds; docs/devices.md tells of what.\n"
)
Error = Annotated[float, Field(ge=0)]


class Quality(Strict):
    """How sure a fit is, as shares: each price's standard error, and predicted against measured for whole layers."""

    prices: dict[str, Error]
    fit_median: Error
    fit_worst: Error
    check_median: Error
    check_worst: Error


class Calibration(Strict):
    """made: the day. runtimes: their versions by file format. quality: by format and precision (`tflite int8`)."""

    device: Name
    made: Text
    edgekit: Text
    machine: Text
    runtimes: dict[str, Text]
    coefficients: Measured
    quality: dict[str, Quality]


def calibration_file(device: str) -> Path:
    """Where the calibration of the device of that name is kept."""
    return user_folder() / "calibrations" / f"{device}.yaml"


def read_calibration(device: str) -> Calibration | None:
    """The device's calibration; None where it was never calibrated. Raises DeviceError for a damaged file."""
    path = calibration_file(device)
    return read_yaml(path, Calibration, "calibration") if path.exists() else None


def write_calibration(calibration: Calibration) -> Path:
    """Keep it; returns where. Raises OutputError where the folder cannot be written to."""
    path = calibration_file(calibration.device)
    document = calibration.model_dump(mode="json", exclude_none=True)
    write_atomically(path, (_HEADER + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)).encode())
    return path


def device_targets(profile: Profile) -> dict[str, Target]:
    """By file format: what was calibrated, else the profile's own, else the default coefficients."""
    calibration = read_calibration(profile.name)
    measured = calibration.coefficients.targets(profile.name) if calibration else {}
    return {**DEFAULT_TARGETS, **profile.coefficients.targets(profile.name), **measured}

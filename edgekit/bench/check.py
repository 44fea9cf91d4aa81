"""Whether a device computes what this machine computes: looked at before any time is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.bench.device import Device, Feeds
from edgekit.errors import DeviceError
from edgekit.runtime.io_spec import Array, IoSpec, encode_input
from edgekit.runtime.session import Session

INPUTS = 4
"""How many inputs are compared."""

LEAST_DB = 20.0
"""Signal to noise that outputs must reach. Rounding in other kernels, or half precision, costs far less than that."""


@dataclass(frozen=True, slots=True)
class Check:
    """Agreement of a device's outputs with this machine's, over all inputs and outputs.

    sqnr_db: signal to noise, None where nothing differs. largest_step: of 8-bit outputs, the largest difference in
    steps; equal_share: of their numbers. reference: the runtime here.
    """

    inputs: int
    sqnr_db: float | None
    largest_step: int | None
    equal_share: float | None
    reference: str

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Expected:
    """What this machine computes of a file, for a fixed set of inputs."""

    path: Path
    feeds: tuple[tuple[Array, ...], ...]
    outputs: tuple[tuple[Array, ...], ...]
    input_specs: tuple[IoSpec, ...]
    output_specs: tuple[IoSpec, ...]
    runtime: str


def expect(path: Path, inputs: int = INPUTS) -> Expected:
    """Run a file here on so many of the fixed inputs. Raises what `Session.open` raises."""
    with Session.open(path) as session:
        feeds = tuple(make_feeds(session, seed) for seed in range(inputs))
        names = [spec.name for spec in session.inputs]
        outputs = []
        for values in feeds:
            told = session.run(dict(zip(names, values, strict=True)))
            outputs.append(tuple(told[spec.name] for spec in session.outputs))
        return Expected(path, feeds, tuple(outputs), session.inputs, session.outputs, session.runtime)


def make_feeds(session: Session, seed: int = 0) -> tuple[Array, ...]:
    """Raw inputs in the file's order: uniform random samples in [0, 1), or zeros for indices."""
    rng = np.random.default_rng(seed)
    return tuple(_feed(spec, rng) for spec in session.inputs)


def check_outputs(device: Device, index: int, expected: Expected) -> Check:
    """Compare the device's outputs for all inputs with those expected.

    Raises DeviceError where they differ by more than rounding.
    """
    found = [device.outputs(index, feeds) for feeds in expected.feeds]
    check = compare_outputs(expected, found)
    if check.sqnr_db is not None and not check.sqnr_db >= LEAST_DB:
        raise DeviceError(
            f"{expected.path}: {device.name} computes something else than {expected.runtime} here "
            f"({check.sqnr_db:.1f} dB, at least {LEAST_DB:g} are asked for): its times would mean nothing; "
            "try another delegate or runtime there"
        )
    return check


def compare_outputs(expected: Expected, found: Sequence[Feeds]) -> Check:
    """The agreement of `found`, per input the outputs in order. Raises DeviceError for other shapes or types."""
    signal = noise = 0.0
    steps: list[np.ndarray[Any, Any]] = []
    for ours, theirs in zip(expected.outputs, found, strict=True):
        for spec, a, b in zip(expected.output_specs, ours, _fitting(ours, theirs, expected.path), strict=True):
            if spec.scale is not None and a.dtype.itemsize == 1:
                steps.append(np.abs(a.astype(np.int64) - b.astype(np.int64)).ravel())
            x, y = _real(a, spec), _real(b, spec)
            if not np.isfinite(y).all():
                raise DeviceError(f"{expected.path}: the device's output holds NaN or infinity")
            signal += float((x * x).sum())
            noise += float(((x - y) ** 2).sum())
    apart = np.concatenate(steps) if steps else None
    return Check(
        inputs=len(found),
        sqnr_db=_decibels(signal, noise),
        largest_step=None if apart is None else int(apart.max()),
        equal_share=None if apart is None else float((apart == 0).mean()),
        reference=expected.runtime,
    )


def _fitting(ours: Sequence[Array], theirs: Sequence[Array], path: Path) -> Sequence[Array]:
    told = [(list(a.shape), str(a.dtype)) for a in theirs]
    asked = [(list(a.shape), str(a.dtype)) for a in ours]
    if told != asked:
        raise DeviceError(f"{path}: the device's outputs are {told}, here they are {asked}: is it the same file?")
    return theirs


def _real(values: Array, spec: IoSpec) -> np.ndarray[Any, np.dtype[np.float64]]:
    real = values.astype(np.float64)
    return real if spec.scale is None else (real - (spec.zero_point or 0)) * spec.scale


def _decibels(signal: float, noise: float) -> float | None:
    if noise == 0.0:
        return None
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def _feed(spec: IoSpec, rng: np.random.Generator) -> Array:
    if spec.scale is None and spec.dtype.kind != "f":
        return np.zeros(spec.shape, spec.dtype)
    return encode_input(rng.random(spec.nhwc_shape, dtype=np.float32), spec)

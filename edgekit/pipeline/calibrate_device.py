"""Measures what ops cost on a device: writes micro-models, has them timed, fits the cost model, checks it, keeps it."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from edgekit import __version__
from edgekit.devices.calibration import Calibration, Quality, write_calibration
from edgekit.devices.fit import Check, Fit, Sample, check, fit_prices
from edgekit.devices.schema import Measured, Profile
from edgekit.errors import DeviceError, ModelError
from edgekit.graph import Graph
from edgekit.pipeline.micro_models import concat_models, int8_form, micro_models, whole_layers
from edgekit.pipeline.reporter import Reporter, SilentReporter
from edgekit.pipeline.write_file import FORMATS, file_bytes

PRECISIONS = ("float32", "int8")
SECONDS = 0.03
"""How long each micro-model is measured. All are interleaved: what the machine does meanwhile befalls them all."""

MIN_RUNS = 20
ANY_NUMBER = 1000
"""What concat_inputs is where no concat was too wide."""

SLOWER = 1.05
"""A wide concat must be this much slower than a tree of narrow ones before it counts as too wide."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Nanoseconds of each file, and the runtime that ran them."""

    ns: tuple[float, ...]
    runtime: str


class Measure(Protocol):
    """Times files on a device, one thread, side by side, each for so many seconds and runs at least."""

    def __call__(self, paths: Sequence[Path], seconds: float = ..., min_runs: int = ...) -> Timed:
        """Nanoseconds of each."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceCalibration:
    """By format and precision (`tflite int8`): the fit and how whole layers were predicted. path: where it is kept."""

    device: str
    fits: dict[str, Fit]
    checks: dict[str, list[Check]]
    path: Path | None

    @property
    def check_names(self) -> list[str]:
        """The layers that the fits were checked on."""
        return [c.name for c in next(iter(self.checks.values()))]

    def median_check(self, name: str) -> float:
        """Median error over the whole layers, as a share."""
        return median(c.error for c in self.checks[name])

    def worst_check(self, name: str) -> float:
        """The largest."""
        return max(c.error for c in self.checks[name])

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "device": self.device,
            "path": str(self.path) if self.path else None,
            "fits": {name: asdict(fit) for name, fit in self.fits.items()},
            "checks": {name: [asdict(c) for c in rows] for name, rows in self.checks.items()},
        }


def calibrate_device(
    profile: Profile,
    formats: Sequence[str] = FORMATS,
    *,
    measure: Measure | None = None,
    reporter: Reporter | None = None,
    keep: bool = True,
) -> DeviceCalibration:
    """Fit the cost model to what the device takes for micro-models of our own writers.

    measure: how files are timed there; None for this machine. Raises DeviceError for devices whose times are no
    latencies or that cannot be measured from here, ModelError for an unknown format.
    """
    unknown = [fmt for fmt in formats if fmt not in FORMATS]
    if unknown or not formats:
        raise ModelError(f"format {(unknown or ['(none)'])[0]!r} is none of {', '.join(FORMATS)}")
    timer = measure or measure_of(profile)
    told = reporter or SilentReporter()
    targets: dict[str, dict[str, Any]] = {}
    fits: dict[str, Fit] = {}
    checks: dict[str, list[Check]] = {}
    runtimes = {}
    for fmt in formats:
        targets[fmt] = {"concat_inputs": ANY_NUMBER}
        for precision in PRECISIONS:
            name = f"{fmt} {precision}"
            told.step("measuring", f"{name}: leave the machine alone meanwhile")
            fits[name], checks[name], widest, runtimes[fmt] = _fit_one(fmt, precision, timer)
            targets[fmt][precision] = asdict(fits[name].coefficients)
            targets[fmt]["concat_inputs"] = min(targets[fmt]["concat_inputs"], widest)
    result = DeviceCalibration(profile.name, fits, checks, None)
    if not keep:
        return result
    path = write_calibration(_document(result, targets, runtimes))
    return DeviceCalibration(profile.name, fits, checks, path)


def measure_of(profile: Profile) -> Measure:
    """How files are timed on the device of that profile."""
    if profile.emulated:
        raise DeviceError(f"{profile.name} is emulated: what it takes there is no latency; calibrate a real device")
    if profile.transport != "host":
        raise DeviceError(
            f"{profile.name} is reached by {profile.transport}: only this machine can be calibrated (host)"
        )
    return measure_here


def measure_here(paths: Sequence[Path], seconds: float = SECONDS, min_runs: int = MIN_RUNS) -> Timed:
    """Median nanoseconds of the files on this machine, one thread, in interleaved blocks."""
    from edgekit.bench import bench_files

    results = bench_files(list(paths), seconds=seconds, min_runs=min_runs).files
    return Timed(tuple(r.summary.median_ms * 1e6 for r in results), results[0].opened.runtime)


def _fit_one(fmt: str, precision: str, measure: Measure) -> tuple[Fit, list[Check], int, str]:
    """The fit, its check, the widest concat that is worth it, and the runtime."""
    parts = [list(micro_models()), list(whole_layers()), [g for pair in concat_models().values() for g in pair]]
    if precision == "int8":
        parts = [[int8_form(graph) for graph in part] for part in parts]
    graphs = [graph for part in parts for graph in part]
    timed = _timed(fmt, graphs, measure)
    samples = [Sample(g.name, g, ns) for g, ns in zip(graphs, timed.ns, strict=True)]
    fitted, held_out = len(parts[0]), len(parts[0]) + len(parts[1])
    fit = fit_prices(samples[:fitted])
    concats = [s.ns for s in samples[held_out:]]
    widest = widest_concat(dict(zip(concat_models(), zip(concats[::2], concats[1::2], strict=True), strict=True)))
    return fit, check(samples[fitted:held_out], fit), widest, timed.runtime


def _timed(fmt: str, graphs: Sequence[Graph], measure: Measure) -> Timed:
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        paths = [Path(folder) / f"{i:03}.{fmt}" for i in range(len(graphs))]
        for path, graph in zip(paths, graphs, strict=True):
            path.write_bytes(file_bytes(fmt, graph))
        timed = measure(paths)
    if len(timed.ns) != len(paths):
        raise DeviceError(
            f"{len(timed.ns)} of {len(paths)} micro-models were timed: see what the device says of the others"
        )
    return timed


def widest_concat(times: dict[int, tuple[float, float]]) -> int:
    """The most inputs that one concat may have.

    times: by number of inputs, the nanoseconds of one concat and of a tree of concats of two.
    """
    widest = 2
    for inputs, (flat, tree) in sorted(times.items()):
        if flat > SLOWER * tree:
            return widest
        widest = inputs
    return ANY_NUMBER


def _document(result: DeviceCalibration, targets: dict[str, dict[str, Any]], runtimes: dict[str, str]) -> Calibration:
    quality = {
        name: Quality(
            prices=fit.errors,
            fit_median=fit.median_error,
            fit_worst=fit.worst_error,
            check_median=result.median_check(name),
            check_worst=result.worst_check(name),
        )
        for name, fit in result.fits.items()
    }
    return Calibration(
        device=result.device,
        made=date.today().isoformat(),
        edgekit=__version__,
        machine=f"{platform.system()} {platform.machine()}, {_processor()}",
        runtimes=runtimes,
        coefficients=Measured.model_validate(targets),
        quality=quality,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or "processor unknown"

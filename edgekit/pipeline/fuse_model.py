"""Fusion of channel moves for each file: by the device's prices, or by measuring the candidates."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgekit.devices.calibration import device_targets, read_calibration
from edgekit.devices.schema import Profile
from edgekit.graph import Graph
from edgekit.passes.fuse_channels import Candidate, FusionReport, chosen_form, fuse_channels, fusion_candidates
from edgekit.passes.target import DEFAULT_TARGETS, PRICES, Coefficients, Target
from edgekit.pipeline.calibrate_device import Measure, measure_here, measure_of
from edgekit.pipeline.reporter import Reporter
from edgekit.pipeline.write_file import file_bytes

SAME = 0.02
"""A candidate must be faster by this share than one before it: copies of one file differ by up to half of that."""

TUNE_SECONDS, TUNE_RUNS = 1.0, 50
DEARER = 4.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One form of the graph that was measured. predicted_ms: by the target's prices."""

    label: str
    predicted_ms: float
    measured_ms: float
    chosen: bool

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fused:
    """By file format: the graph, the report of its fusion, and what was measured where it was tuned.

    device: whose prices counted; None for the default ones.
    """

    graphs: dict[str, Graph]
    reports: dict[str, FusionReport]
    trials: dict[str, tuple[Trial, ...]]
    device: str | None = None


def fuse_model(
    graph: Graph,
    formats: Sequence[str],
    reporter: Reporter,
    *,
    profile: Profile | None = None,
    measure: Measure | None = None,
) -> Fused:
    """The graph with its channel moves fused for each file format, after all scales have been decided.

    profile: the device whose prices count, None for the default ones. measure: where given, the candidates are timed
    with it and the fastest is taken, whatever the prices say.
    """
    targets = _targets(profile, reporter)
    result = Fused({}, {}, {}, profile.name if profile is not None else None)
    for fmt in formats:
        if measure is None:
            result.graphs[fmt], report = fuse_channels(graph, targets[fmt])
        else:
            reporter.step("tuning", f"{fmt}: measuring the forms of the graph; leave the machine alone meanwhile")
            result.graphs[fmt], report, result.trials[fmt] = tune_channels(graph, targets[fmt], fmt, measure)
            for trial in result.trials[fmt]:
                reporter.step("tuned", f"{fmt}: {_trial_line(trial)}")
        result.reports[fmt] = report
        if report.changed:
            reporter.step("fusion", f"{fmt}: {_counts_line(report.before)} -> {_counts_line(report.after)}")
    return result


def _targets(profile: Profile | None, reporter: Reporter) -> Mapping[str, Target]:
    if profile is None:
        return DEFAULT_TARGETS
    if read_calibration(profile.name) is None and not profile.coefficients.targets(profile.name):
        reporter.warn(
            f"what ops cost on {profile.name} was never measured: fusion goes by the default prices. "
            f"`edgekit devices calibrate {profile.name}` measures them"
        )
    return device_targets(profile)


def tune_channels(
    graph: Graph, target: Target, fmt: str, measure: Measure
) -> tuple[Graph, FusionReport, tuple[Trial, ...]]:
    """The fastest form of the graph by measurement; of equally fast ones that with the lowest price."""
    candidates = distinct_forms(graph, target, fmt)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        paths = [Path(folder) / f"{i}.{fmt}" for i in range(len(candidates))]
        for path, candidate in zip(paths, candidates, strict=True):
            path.write_bytes(file_bytes(fmt, candidate.graph))
        times = measure(paths).ns if len(paths) > 1 else (0.0,)
    best = 0
    for i, ns in enumerate(times):
        if ns < times[best] * (1 - SAME):
            best = i
    trials = tuple(
        Trial(c.label, c.price_ns / 1e6, ns / 1e6, i == best)
        for i, (c, ns) in enumerate(zip(candidates, times, strict=True))
    )
    source = next(c for c in candidates if c.written is None)
    fused, report = chosen_form([source, *(c for c in candidates if c is not source)], candidates[best], target)
    return fused, report, trials if len(candidates) > 1 else ()


def distinct_forms(graph: Graph, target: Target, fmt: str) -> list[Candidate]:
    """Candidates of different content, by rising price: those of the target's prices, and of prices that are off."""
    found: dict[str, Candidate] = {}
    for label, priced in _misjudged(target):
        for candidate in fusion_candidates(graph, priced):
            bare = candidate.graph.copy()
            bare.metadata.clear()
            content = hashlib.sha256(file_bytes(fmt, bare)).hexdigest()
            named = candidate.label if candidate.written is None or not label else f"{candidate.label} ({label})"
            found.setdefault(content, replace(candidate, label=named, price_ns=target.graph_ns(candidate.graph)))
    return sorted(found.values(), key=lambda c: c.price_ns)


def _misjudged(target: Target) -> Iterator[tuple[str, Target]]:
    """The target as it is, and with moves or arithmetic that cost several times as much."""
    moving = ("overhead", "byte", "piece", "element", "block", "gather", "gather_overhead")
    yield "", target
    yield "as if moves were dear", _scaled(target, moving)
    yield "as if arithmetic were dear", _scaled(target, tuple(name for name in PRICES if name not in moving))


def _scaled(target: Target, names: Sequence[str]) -> Target:
    def scaled(prices: Coefficients) -> Coefficients:
        return replace(prices, **{name: DEARER * getattr(prices, name) for name in names})

    return replace(target, float32=scaled(target.float32), int8=scaled(target.int8))


def measure_candidates(profile: Profile | None) -> Measure:
    """How candidates are timed on the device; None for this machine. Raises DeviceError as `measure_of`."""
    timer = measure_here if profile is None else measure_of(profile)
    return partial(timer, seconds=TUNE_SECONDS, min_runs=TUNE_RUNS)


def _trial_line(trial: Trial) -> str:
    mark = " <- taken" if trial.chosen else ""
    return f"{trial.measured_ms:.3f} ms (predicted {trial.predicted_ms:.3f}): {trial.label}{mark}"


def _counts_line(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{op} {count}" for op, count in counts.items()) or "no moves"

"""Latency of model files on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from edgekit.bench.affinity import pinned
from edgekit.bench.protocol import FULL, QUICK, Clock, Inference, Plan, block_runs, is_complete, measure, warm_up
from edgekit.bench.stats import Ratio, Summary, ratio_to_reference, summarize
from edgekit.errors import DataError
from edgekit.runtime.io_spec import Array, IoSpec, encode_input
from edgekit.runtime.session import Runtime, Session
from edgekit.runtime.tflite_backend import Delegate

_NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of one file: the time of the runtime's call alone, inputs in place and outputs not read.

    `blocks_ns` are the raw samples; `load_ms` is opening the file, `first_ms` the first inference. `complete` says
    whether the plan's runs and seconds were reached. `ratio` is to the first file; None for the first file itself.
    `cpus` are the processors the run was pinned to, () where it was not.
    """

    path: str
    runtime: str
    threads: int
    cpus: tuple[int, ...]
    summary: Summary
    load_ms: float
    first_ms: float
    complete: bool
    ratio: Ratio | None
    blocks_ns: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values, raw samples included."""
        return {**asdict(self), "ratio": self.ratio.to_json() if self.ratio else None}


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An opened file that has run once."""

    path: str
    runtime: str
    run: Inference
    load_ms: float
    first_ms: float


def bench_files(
    paths: Sequence[str | PathLike[str]],
    *,
    threads: int = 1,
    quick: bool = True,
    seconds: float | None = None,
    min_runs: int | None = None,
    runtime: Runtime = "auto",
    delegate: Delegate = "xnnpack",
    allow_spinning: bool | None = None,
    clock: Clock = time.perf_counter_ns,
    started: Callable[[], None] | None = None,
) -> list[Latency]:
    """Measure files side by side, in interleaved blocks on pinned processors.

    `quick` asks for 10 s and 128 runs a file, otherwise 60 s and 1024; `seconds` and `min_runs` override that.
    `started` is called when all files are open and the measurement begins.
    Raises DataError for no files or a plan of nothing, and what `Session.open` raises.
    """
    if not paths:
        raise DataError("no model files were given: name at least one .tflite or .onnx file")
    plan = make_plan(quick=quick, seconds=seconds, min_runs=min_runs)
    with pinned(threads) as cpus, ExitStack() as stack:
        candidates = []
        for path in paths:
            start = clock()
            session = stack.enter_context(
                Session.open(path, runtime=runtime, threads=threads, delegate=delegate, allow_spinning=allow_spinning)
            )
            candidates.append(_first_run(str(path), session, (clock() - start) / _NS_PER_MS, clock))
        if started is not None:
            started()
        blocks = run_plan([c.run for c in candidates], plan, clock)
    return [
        _latency(candidate, own, None if own is blocks[0] else blocks[0], plan, threads, cpus)
        for candidate, own in zip(candidates, blocks, strict=True)
    ]


def make_plan(*, quick: bool, seconds: float | None, min_runs: int | None) -> Plan:
    """The quick or the full plan with what the caller overrides. Raises DataError for values that measure nothing."""
    plan = QUICK if quick else FULL
    if seconds is not None:
        plan = replace(plan, seconds=seconds, max_seconds=3 * seconds, warmup_seconds=min(1.0, seconds))
    if min_runs is not None:
        plan = replace(plan, min_runs=min_runs)
    if not plan.seconds > 0 or plan.min_runs < 1:
        raise DataError(
            f"{plan.seconds} s and {plan.min_runs} runs measure nothing: give more than 0 s and at least 1 run"
        )
    return plan


def run_plan(runs: Sequence[Inference], plan: Plan, clock: Clock) -> list[list[list[int]]]:
    """Warm every file up, then measure all in interleaved blocks: nanoseconds by file, block and run."""
    sizes = [block_runs(warm_up(run, plan, clock), plan) for run in runs]
    return measure(runs, sizes, plan, clock)


def make_feeds(session: Session, seed: int = 0) -> dict[str, Array]:
    """Inputs to time with: uniform random samples in [0, 1), or zeros for integers without a scale (indices)."""
    rng = np.random.default_rng(seed)
    return {spec.name: _feed(spec, rng) for spec in session.inputs}


def _feed(spec: IoSpec, rng: np.random.Generator) -> Array:
    if spec.scale is None and spec.dtype.kind != "f":
        return np.zeros(spec.shape, spec.dtype)
    return encode_input(rng.random(spec.nhwc_shape, dtype=np.float32), spec)


def _first_run(path: str, session: Session, load_ms: float, clock: Clock) -> _Candidate:
    run = session.bind(make_feeds(session))
    start = clock()
    run()
    return _Candidate(path, session.runtime, run, load_ms, (clock() - start) / _NS_PER_MS)


def _latency(
    candidate: _Candidate,
    blocks: list[list[int]],
    reference: list[list[int]] | None,
    plan: Plan,
    threads: int,
    cpus: tuple[int, ...],
) -> Latency:
    return Latency(
        path=candidate.path,
        runtime=candidate.runtime,
        threads=threads,
        cpus=cpus,
        summary=summarize(blocks),
        load_ms=candidate.load_ms,
        first_ms=candidate.first_ms,
        complete=is_complete(blocks, plan),
        ratio=ratio_to_reference(blocks, reference) if reference is not None else None,
        blocks_ns=tuple(tuple(block) for block in blocks),
    )

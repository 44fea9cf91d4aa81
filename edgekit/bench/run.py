"""Measures files on one device, from opening them to the report."""

from __future__ import annotations

import hashlib
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import __version__
from edgekit.bench.check import INPUTS, Check, Expected, check_outputs, expect
from edgekit.bench.device import Device, Opened
from edgekit.bench.host import HostDevice
from edgekit.bench.masks import Threads
from edgekit.bench.protocol import Clock, Measurement, Plan, is_complete, make_plan, run_protocol
from edgekit.bench.report import Latency, Report
from edgekit.bench.stats import ratio_to_reference, summarize
from edgekit.bench.validity import device_problems, file_problems
from edgekit.errors import DataError, DeviceError
from edgekit.runtime.session import Runtime
from edgekit.runtime.tflite_backend import Delegate

PathText = str | PathLike[str]


class BrokenOffError(DeviceError):
    """A device went away in the middle of a measurement. Attribute: report (what it had measured until then)."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A file that is open on the device."""

    expected: Expected
    sha256: str
    file_bytes: int
    opened: Opened
    check: Check | None


def bench_files(
    paths: Sequence[PathText],
    *,
    threads: Threads = 1,
    quick: bool = False,
    seconds: float | None = None,
    min_runs: int | None = None,
    runtime: Runtime = "auto",
    delegate: Delegate = "xnnpack",
    allow_spinning: bool | None = None,
    clock: Clock = time.perf_counter_ns,
    started: Callable[[], None] | None = None,
) -> Report:
    """Measure files side by side on this machine, in interleaved blocks on pinned processors.

    At least 60 s and 1024 runs a file, with `quick` 10 s and 128; `seconds` and `min_runs` override that.
    `started` is called when all files are open and the measurement begins.
    Raises DataError for no files or a plan of nothing, and what `Session.open` raises.
    """
    plan = make_plan(quick=quick, seconds=seconds, min_runs=min_runs)
    device = HostDevice(threads=threads, runtime=runtime, delegate=delegate, allow_spinning=allow_spinning, clock=clock)
    return bench_on(device, paths, plan, clock=clock, started=started)


def bench_on(
    device: Device,
    paths: Sequence[PathText],
    plan: Plan,
    *,
    check: bool = True,
    clock: Clock = time.perf_counter_ns,
    started: Callable[[], None] | None = None,
) -> Report:
    """Connect to a device, compare outputs with this machine's, and measure files side by side there.

    check: whether outputs are compared; they never are on this machine itself.
    Raises DataError for no files, DeviceError where the device fails or computes something else, BrokenOffError where
    it fails in the middle of measuring, and what `Session.open` raises.
    """
    if not paths:
        raise DataError("no model files were given: name at least one .tflite or .onnx file")
    compares = check and device.transport != "host"
    expectations = [expect(Path(path), INPUTS if compares else 1) for path in paths]
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with device:
        facts = device.facts()
        candidates = [_candidate(device, index, e, compares) for index, e in enumerate(expectations)]
        if started is not None:
            started()
        measurement = Measurement([[] for _ in candidates])
        failure: DeviceError | None = None
        try:
            run_protocol(device, measurement, plan, clock)
        except DeviceError as problem:
            failure = problem
        measurement.drop_unpaired()
        report = _report(device, facts, candidates, measurement, plan, made, failure)
    if failure is not None:
        raise _broken_off(failure, report) from failure
    return report


def _candidate(device: Device, index: int, expected: Expected, compares: bool) -> _Candidate:
    data = expected.path.read_bytes()
    opened = device.open(expected.path, expected.feeds[0])
    check = check_outputs(device, index, expected) if compares else None
    return _Candidate(expected, hashlib.sha256(data).hexdigest(), len(data), opened, check)


def _report(
    device: Device,
    facts: Mapping[str, Any],
    candidates: Sequence[_Candidate],
    measurement: Measurement,
    plan: Plan,
    made: str,
    failure: DeviceError | None,
) -> Report:
    return Report(
        device=device.name,
        transport=device.transport,
        emulated=device.emulated,
        facts=facts,
        threads=device.threads,
        cpus=device.cpus,
        plan=plan,
        states=tuple(measurement.states),
        problems=device_problems(measurement.states),
        files=_latencies(candidates, measurement, plan),
        made=made,
        versions={"edgekit": __version__, "python": platform.python_version(), "numpy": np.__version__},
        failure=None if failure is None else str(failure),
        command=tuple(sys.argv),
    )


def _broken_off(failure: DeviceError, report: Report) -> DeviceError:
    """The failure itself where nothing was measured yet."""
    if not report.files:
        return failure
    blocks = len(report.files[0].blocks)
    kept = f"{blocks} finished block{'s' if blocks > 1 else ''} a file are kept"
    return BrokenOffError(f"{failure}; {kept}", report)


def _latencies(candidates: Sequence[_Candidate], measurement: Measurement, plan: Plan) -> tuple[Latency, ...]:
    """None at all where not every file has a block."""
    if not all(measurement.blocks):
        return ()
    reference = measurement.blocks[0]
    found = []
    for candidate, blocks in zip(candidates, measurement.blocks, strict=True):
        summary = summarize(blocks)
        found.append(
            Latency(
                path=str(candidate.expected.path),
                sha256=candidate.sha256,
                file_bytes=candidate.file_bytes,
                opened=candidate.opened,
                check=candidate.check,
                summary=summary,
                complete=is_complete(blocks, plan),
                problems=file_problems(blocks, summary),
                ratio=None if blocks is reference else ratio_to_reference(blocks, reference),
                blocks=tuple(blocks),
            )
        )
    return tuple(found)

"""Times whole processes: wall seconds and peak memory as the operating system accounts for them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """One process: wall time and the greatest resident set of it or of one of its children."""

    seconds: float
    peak_mb: float


def run_process(command: Sequence[str]) -> Run:
    """Run a command to its end. Its output goes to our standard error only when it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.stderr.write(output.decode(errors="replace")[-4000:])
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}")
    return Run(seconds, usage.ru_maxrss / 1024)


def interleave(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, list[Run]]:
    """Run all commands in turn, `runs` times, so that a drifting machine treats them alike."""
    results: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            results[name].append(run_process(command))
    return results


def medians(results: Sequence[Run]) -> Run:
    """Median seconds and median peak memory."""
    return Run(statistics.median(r.seconds for r in results), statistics.median(r.peak_mb for r in results))

"""`edgekit bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgekit.cli.options import Number, json_option

if TYPE_CHECKING:
    from edgekit.bench.host import Latency


@click.command(name="bench")
@click.argument("files", nargs=-1, required=True)
@click.option("--threads", type=Number(int), default=1, show_default=True, help="Threads of the runtime.")
@click.option("--full", is_flag=True, help="At least 1024 runs and 60 s a file, instead of 128 runs and 10 s.")
@click.option("--seconds", type=Number(float), help="Measure each file for this long instead.")
@json_option
def command(files: tuple[str, ...], threads: int, full: bool, seconds: float | None, as_json: bool) -> None:
    """Measure the latency of FILES on this machine: interleaved blocks, median and p90, ratios with intervals."""
    from edgekit.bench.host import bench_files, make_plan
    from edgekit.cli.console import ConsoleReporter, out, print_json, print_table

    duration = seconds if seconds is not None else make_plan(quick=not full, seconds=None, min_runs=None).seconds

    def started() -> None:
        ConsoleReporter().step("bench", f"at least {duration:g} s a file: leave the machine alone meanwhile")

    results = bench_files(list(files), threads=threads, quick=not full, seconds=seconds, started=started)
    if as_json:
        print_json([result.to_json() for result in results])
        return
    print_table(["file", "median ms", "p90 ms", "load ms", "runs", "against the first"], map(_row, results))
    for result in results:
        if not result.complete:
            out.print(f"{result.path}: stopped before the plan was done; the numbers are less sure")


def _row(result: Latency) -> tuple[str, ...]:
    summary, ratio = result.summary, result.ratio
    against = "-" if ratio is None else f"x{ratio.value:.3f} ({ratio.low:.3f} .. {ratio.high:.3f}), {ratio.verdict}"
    times = (f"{summary.median_ms:.3f}", f"{summary.p90_ms:.3f}", f"{result.load_ms:.1f}")
    return (result.path, *times, str(summary.runs), against)

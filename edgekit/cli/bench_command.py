"""`edgekit bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgekit.cli.options import Number, json_option

if TYPE_CHECKING:
    from edgekit.bench.report import Latency, Report


@click.command(name="bench")
@click.argument("files", nargs=-1, required=True)
@click.option("--threads", type=Number(int), default=1, show_default=True, help="Threads of the runtime.")
@click.option("--quick", is_flag=True, help="At least 128 runs and 10 s a file, instead of 1024 runs and 60 s.")
@click.option("--seconds", type=Number(float), help="Measure each file for this long instead.")
@json_option
def command(files: tuple[str, ...], threads: int, quick: bool, seconds: float | None, as_json: bool) -> None:
    """Measure the latency of FILES on this machine: interleaved blocks, median and p90, ratios with intervals."""
    from edgekit.bench.protocol import make_plan
    from edgekit.bench.run import bench_files
    from edgekit.cli.console import ConsoleReporter, print_json

    plan = make_plan(quick=quick, seconds=seconds)

    def started() -> None:
        ConsoleReporter().step("bench", f"at least {plan.seconds:g} s a file: leave the machine alone meanwhile")

    report = bench_files(list(files), threads=threads, quick=quick, seconds=seconds, started=started)
    if as_json:
        print_json(report.to_json())
        return
    _print_report(report)


def _print_report(report: Report) -> None:
    from edgekit.cli.console import out, print_table

    columns = ["file", "median ms", "p90 ms", "load ms", "runs", "against the first"]
    print_table(columns, [_row(report, file) for file in report.files])
    for file in report.files:
        if not file.complete:
            out.print(f"{file.path}: stopped before the plan was done; the numbers are less sure")
        for problem in file.problems:
            out.print(f"{file.path}: {problem}")
    for problem in report.problems:
        out.print(f"{report.device}: {problem}")


def _row(report: Report, file: Latency) -> tuple[str, ...]:
    summary, ratio = file.summary, file.ratio
    against = "-"
    if ratio is not None:
        against = f"x{ratio.value:.3f} ({ratio.low:.3f} .. {ratio.high:.3f}), {report.verdict(file)}"
    p90 = "-" if summary.p90_ms is None else f"{summary.p90_ms:.3f}"
    return (file.path, f"{summary.median_ms:.3f}", p90, f"{file.opened.load_ms:.1f}", str(summary.runs), against)

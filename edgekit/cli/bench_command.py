"""`edgekit bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.devices_command import reach_options
from edgekit.cli.options import Number, json_option
from edgekit.errors import DeviceError, OutputError

if TYPE_CHECKING:
    from edgekit.bench.masks import Threads
    from edgekit.bench.report import Latency, Report


@click.command(name="bench")
@click.argument("files", nargs=-1, required=True)
@click.option("--device", default="host", show_default=True, help="A profile's name (`edgekit devices`) or .yaml file.")
@click.option("--threads", default="1", show_default=True, help="Threads of the runtime, or `big`: one a big core.")
@click.option("--quick", is_flag=True, help="At least 128 runs and 10 s a file, instead of 1024 runs and 60 s.")
@click.option("--seconds", type=Number(float), help="Measure each file for this long instead.")
@reach_options
@click.option("--delegate", help="xnnpack, cpu, gpu, nnapi, nnapi:ACCELERATOR or external:FILE.so, on phones.")
@click.option("--no-check", is_flag=True, help="Do not compare the device's outputs with this machine's first.")
@click.option("--save", type=click.Path(path_type=Path), help="Write the whole document, raw samples included, there.")
@json_option
def command(
    files: tuple[str, ...],
    device: str,
    threads: str,
    quick: bool,
    seconds: float | None,
    serial: str | None,
    delegate: str | None,
    no_check: bool,
    save: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure the latency of FILES on this machine or a device: interleaved blocks, median and p90, intervals.

    Several phones are measured at once with --serial FIRST,SECOND.
    """
    from edgekit.bench.protocol import make_plan
    from edgekit.bench.run import BrokenOffError
    from edgekit.cli.console import ConsoleReporter, print_json
    from edgekit.pipeline.bench_devices import BenchRequest, bench_devices

    plan = make_plan(quick=quick, seconds=seconds)

    def started() -> None:
        where = "the machine" if device == "host" else device
        ConsoleReporter().step("bench", f"at least {plan.seconds:g} s a file: leave {where} alone meanwhile")

    request = BenchRequest(
        files,
        device,
        plan,
        _threads(threads),
        serials=tuple(serial.split(",")) if serial else (),
        delegate=delegate,
        check=not no_check,
        given=given,
    )
    try:
        reports = bench_devices(request, started)
    except BrokenOffError as problem:
        _save(save, [problem.report])
        if as_json:
            print_json(problem.report.to_json())
        where = f" in {save}" if save else " only with --save FILE or --json" if not as_json else ""
        raise DeviceError(f"{problem}{where}") from problem
    _save(save, reports)
    if as_json:
        documents = [report.to_json() for report in reports]
        print_json(documents[0] if len(documents) == 1 else documents)
        return
    for report in reports:
        _print_report(report, several=len(reports) > 1)


def _threads(text: str) -> Threads:
    if text == "big":
        return "big"
    if text.isascii() and text.lstrip("-").isdigit():
        return int(text)
    raise DeviceError(f"--threads {text!r} is neither a number nor `big`")


def _save(path: Path | None, reports: list[Report]) -> None:
    import json

    if path is None:
        return
    documents = [report.to_json() for report in reports]
    text = json.dumps(documents[0] if len(documents) == 1 else documents, indent=1, allow_nan=False)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as problem:
        raise OutputError(f"cannot write {path}: {problem.strerror}") from problem


def _print_report(report: Report, *, several: bool) -> None:
    from edgekit.bench.process import clean
    from edgekit.cli.console import out, print_table

    if report.transport != "host":
        told = ", ".join(clean(str(report.facts[key])) for key in ("model", "serial", "host") if report.facts.get(key))
        out.print(f"{report.device}: {told}, {report.threads} thread{'s' if report.threads > 1 else ''}")
    columns = ["file", "runs on", "median ms", "p90 ms", "load ms", "runs", "against the first"]
    print_table(columns, [_row(report, file) for file in report.files], text=("runs on",))
    for file in report.files:
        if not file.complete:
            out.print(f"{file.path}: stopped before the plan was done; the numbers are less sure")
        if file.summary.basis == "means":
            out.print(f"{file.path}: the tool tells means only; the median is that of the blocks' means")
        for problem in file.problems:
            out.print(f"{file.path}: {problem}")
    for problem in report.problems:
        out.print(f"{report.device}: {problem}")
    if report.emulated:
        out.print(f"{report.device} is emulated: its times say nothing about a real one")
    if several:
        out.print("")


def _row(report: Report, file: Latency) -> tuple[str, ...]:
    from edgekit.bench.delegates import describe

    summary, ratio, opened = file.summary, file.ratio, file.opened
    against = "-"
    if ratio is not None:
        against = f"x{ratio.value:.3f} ({ratio.low:.3f} .. {ratio.high:.3f}), {report.verdict(file)}"
    p90 = "-" if summary.p90_ms is None else f"{summary.p90_ms:.3f}"
    runs_on = opened.runtime if opened.delegation is None else describe(opened.delegation)
    return (file.path, runs_on, f"{summary.median_ms:.3f}", p90, f"{opened.load_ms:.1f}", str(summary.runs), against)

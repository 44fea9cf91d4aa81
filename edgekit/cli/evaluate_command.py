"""`edgekit evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import data_options, json_option


@click.command(name="evaluate")
@click.argument("files", nargs=-1, required=True)
@data_options
@json_option
def command(
    files: tuple[str, ...],
    data: str,
    limit: int | None,
    class_file: Path | None,
    preprocessing: str | None,
    as_json: bool,
) -> None:
    """Measure top-1, top-5 and agreement of FILES (.tflite, .onnx, any mix) on labelled images, in one pass."""
    from edgekit.cli.console import ConsoleReporter, print_json, print_table, share_text
    from edgekit.evaluate.accuracy import evaluate_files
    from edgekit.pipeline.file_data import file_samples

    with file_samples(files, data, limit, class_file, preprocessing, ConsoleReporter()) as samples:
        results = evaluate_files(list(files), samples)
    if as_json:
        print_json([result.to_json() for result in results])
        return
    rows = []
    for result in results:
        low, high = result.top1.interval
        agreement = result.agreement
        rows.append(
            (
                result.path,
                f"{result.top1.value:.2%}",
                f"{low:.1%} .. {high:.1%}",
                f"{result.top5.value:.2%}",
                "-" if agreement is None else share_text(agreement.top1_share),
                str(result.samples),
            )
        )
    print_table(["file", "top-1", "95 % interval", "top-5", "agrees with the first", "images"], rows)

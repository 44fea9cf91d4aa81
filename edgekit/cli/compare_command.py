"""`edgekit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import Number, json_option

if TYPE_CHECKING:
    from edgekit.evaluate.compare import Comparison


@click.command(name="compare")
@click.argument("first")
@click.argument("second")
@click.option("--data", default="synthetic", show_default=True, help="Image folder, .npz, or `synthetic`.")
@click.option("--limit", type=Number(int), default=8, show_default=True, help="Use at most this many images.")
@click.option("--preprocessing", help="keras_tf, torch, caffe, unit: for files that do not say.")
@json_option
def command(first: str, second: str, data: str, limit: int, preprocessing: str | None, as_json: bool) -> None:
    """Run the same images through two files and compare outputs, and layer by layer where names match."""
    from edgekit.cli.console import ConsoleReporter, print_json
    from edgekit.evaluate.compare import compare_files
    from edgekit.pipeline.file_data import file_samples

    with file_samples((first, second), data, limit, None, preprocessing, ConsoleReporter()) as samples:
        comparison = compare_files(Path(first), Path(second), samples)
    if as_json:
        print_json(comparison.to_json())
        return
    _print(comparison)


def _print(comparison: Comparison) -> None:
    from edgekit.cli.console import out, print_table, share_text

    if comparison.layers:
        rows = [
            (row.name, f"{row.mean_cosine:.5f}", f"{row.sqnr_db:.1f}", f"{row.max_abs_difference:.3g}")
            for row in comparison.layers
        ]
        print_table(["layer", "cosine", "signal/noise dB", "largest diff."], rows)
        out.print()
    out.print(f"without partner: {comparison.unmatched_a} tensors of the first, {comparison.unmatched_b} of the second")
    if comparison.quantized is not None:
        out.print(
            f"raw outputs: {share_text(comparison.quantized.equal_share, 2)} equal, largest difference "
            f"{comparison.quantized.max_step_difference} steps"
        )
    result = comparison.output
    out.print(
        f"outputs on {result.samples} images: cosine {result.mean_cosine:.5f} (least {result.min_cosine:.5f}), "
        f"top-1 {share_text(result.top1_share)}, largest difference {result.max_abs_difference:.3g}"
    )

"""`edgekit export`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import Number, json_option, model_options, zoo_options
from edgekit.cli.zoo_command import ZooCommand
from edgekit.errors import ModelError

if TYPE_CHECKING:
    from edgekit.pipeline.export_model import ExportRequest, ExportResult
    from edgekit.quantize.boundaries import IoType


# Spelled out here so that --help imports no numpy; a test holds them to the library's.
RANGES = ("min-max", "percentile", "mse")
IO = ("int8", "uint8", "float32")


@click.command(name="export", cls=ZooCommand)
@model_options
@click.option("--int8", "int8", is_flag=True, help="Quantize weights and activations to int8.")
@click.option("--fp16", "fp16", is_flag=True, help="Store the weights as float16.")
@click.option("--format", "formats", default="tflite,onnx", show_default=True, help="Which files to write.")
@click.option(
    "--weights",
    default="auto",
    show_default=True,
    help="auto, imagenet, none, or a file: .h5, .keras, .npz, .pth, .safetensors.",
)
@click.option("--calibration", help="Images for int8 ranges and the comparison: folder, .npz, synthetic[:SEED].")
@click.option("--calibration-images", type=Number(int), default=100, show_default=True, help="Use at most this many.")
@click.option("--ranges", type=click.Choice(RANGES), default="mse", show_default=True, help="Activation ranges.")
@click.option("--no-equalize", is_flag=True, help="Leave out cross-layer equalization.")
@click.option("--no-bias-correction", is_flag=True, help="Leave out bias correction.")
@click.option(
    "--io", type=click.Choice(IO), default="int8", show_default=True, help="Inputs and outputs of int8 files."
)
@click.option("--no-fuse", is_flag=True, help="Leave activations, padding and channel moves as ops.")
@click.option("--device", help="Device profile (a name or a .yaml file) whose prices decide what fusion does.")
@click.option("--tune", is_flag=True, help="Measure the forms of fusion and take the fastest, instead of by prices.")
@click.option("--preprocessing", help="How images are normalized (keras_tf, torch, caffe, unit), for imported files.")
@click.option("--labels", type=click.Path(path_type=Path), help="Text file with the classes' names, one a line.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), show_default=True, help="Output folder.")
@click.option("--explain", is_flag=True, help="Say what each pass did and what it left alone, and why.")
@json_option
def command(as_json: bool, explain: bool, **options: object) -> None:
    """Write TFLite and ONNX files of MODEL and compare them with the float model.

    MODEL is a name of the zoo or a file: .onnx, .keras, .h5 or a float .tflite.
    """
    start = time.perf_counter()
    from edgekit.cli.console import ConsoleReporter, print_json
    from edgekit.pipeline.export_model import export_model

    result = export_model(_request(**options), ConsoleReporter())  # type: ignore[arg-type]  # click's own types
    if as_json:
        print_json(_document(result, explain))
        return
    if explain:
        _print_passes(result)
    _print_result(result, time.perf_counter() - start)


def _request(
    *,
    model: str,
    alpha: float | None,
    resolution: int | None,
    rho: float | None,
    classes: int | None,
    seed: int,
    input_shape: tuple[int, ...] | None,
    family: dict[str, int | float | str],
    int8: bool,
    fp16: bool,
    formats: str,
    weights: str,
    calibration: str | None,
    calibration_images: int,
    ranges: str,
    no_equalize: bool,
    no_bias_correction: bool,
    io: IoType,
    no_fuse: bool,
    device: str | None,
    tune: bool,
    preprocessing: str | None,
    labels: Path | None,
    out: Path,
) -> ExportRequest:
    from edgekit.pipeline.export_model import ExportRequest
    from edgekit.pipeline.model import ModelRequest
    from edgekit.pipeline.quantize_model import Int8Settings
    from edgekit.quantize.assign import QuantizeOptions

    if int8 and fp16:
        raise ModelError("give --int8 or --fp16, not both")
    if io == "uint8" and not int8:
        raise ModelError("--io uint8 is for int8 files; give --int8 as well")
    shape = {**zoo_options(model, alpha, resolution, rho, classes), **family}
    options = QuantizeOptions(range_method=ranges, bias_correction=not no_bias_correction, io=io)
    return ExportRequest(
        model=ModelRequest(model, shape, weights, seed, preprocessing, labels, input_shape),
        precision="int8" if int8 else "float16" if fp16 else "float32",
        formats=tuple(word.strip() for word in formats.split(",") if word.strip()),
        calibration=calibration,
        int8=Int8Settings(calibration_images, not no_equalize, options),
        fuse=not no_fuse,
        device=device,
        tune=tune,
        out=out,
    )


def _document(result: ExportResult, explain: bool) -> dict[str, object]:
    """The manifest's content, where the files lie, and with --explain the passes."""
    document = {**result.to_json(), "paths": [str(p) for p in (*result.files.values(), result.manifest)]}
    if explain:
        document["passes"] = [asdict(report) for report in result.passes]
        document["fusion"] = {fmt: asdict(report) for fmt, report in result.fusions.items()}
    return document


def _print_passes(result: ExportResult) -> None:
    from edgekit.cli.console import out, print_table

    rows = [(r.name, str(r.count), r.what) for r in result.passes]
    print_table(["pass", "rewrites", "what"], rows, text=("what",))
    for report in result.passes:
        for refusal in report.refusals:
            out.print(f"left alone by {report.name}: {refusal}")
    for fmt, fusion in result.fusions.items():
        out.print(f"{fmt}: channel moves in the source: {_counts(fusion.before)}; left: {_counts(fusion.after)}")
        before, after = fusion.price_us
        out.print(f"  by the prices of {fusion.target}: {before:.0f} us before, {after:.0f} us after")
        for line in (*fusion.layers, *fusion.left, *fusion.notes):
            out.print(f"  {line}")
    out.print()


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {op}" for op, count in counts.items()) or "none"


def _print_result(result: ExportResult, seconds: float) -> None:
    from edgekit.cli.console import out, print_table, size_text

    sizes = [
        (
            result.files[fmt].name,
            size_text(size.file_bytes),
            size_text(size.zipped_bytes),
            size_text(size.weight_bytes),
            size_text(size.peak_activation_bytes),
        )
        for fmt, size in result.sizes.items()
    ]
    print_table(["file", "size", "zipped", "weights in memory", "peak activations"], sizes)
    out.print()
    _print_agreement(result)
    out.print()
    out.print(f"wrote {', '.join(str(p) for p in (*result.files.values(), result.manifest))} in {seconds:.1f} s")


def _print_agreement(result: ExportResult) -> None:
    from edgekit.cli.console import out, print_table, share_text

    verification = result.verification
    found = [(f"{fmt} with the float model", r) for fmt, r in verification.with_float.items()]
    for fmt, others in verification.other_outputs.items():
        found += [(f"{fmt}, output {name}", r) for name, r in others.items()]
    rows = [
        (
            what,
            f"{r.mean_cosine:.5f}",
            f"{r.min_cosine:.5f}",
            share_text(r.top1_share),
            f"{r.sqnr_db:.1f} dB",
            f"{r.max_abs_difference:.2g}",
        )
        for what, r in found
    ]
    title = f"agreement on {verification.images} images"
    print_table([title, "cosine", "least", "top-1", "signal/noise", "largest diff."], rows)
    both = verification.between_float
    if both is None:
        return
    steps = verification.between
    if steps is None:
        differences = f"largest difference {both.max_abs_difference:.2g}, top-1 {share_text(both.top1_share)}"
    else:
        differences = (
            f"{share_text(steps.equal_share, 2)} of the outputs equal, largest difference {steps.max_step_difference} "
            f"step{'s' if steps.max_step_difference != 1 else ''}, top-1 {share_text(steps.top1_share)}"
        )
    out.print(f"tflite with onnx: {differences}, cosine {both.mean_cosine:.5f}")

"""`edgekit compress`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import Number, json_option, model_options, zoo_options
from edgekit.cli.zoo_command import ZooCommand
from edgekit.errors import ModelError

if TYPE_CHECKING:
    from edgekit.pipeline.compress_weights import WeightSettings
    from edgekit.pipeline.container_file import CompressResult
    from edgekit.pipeline.model import ModelRequest


@click.command(name="compress", cls=ZooCommand)
@model_options
@click.option("--weights", default="auto", show_default=True, help="As for `export`; for models of the zoo.")
@click.option("--out", type=click.Path(path_type=Path), help="The container (default: the model's name with .ekz).")
@click.option("--graph", "as_graph", is_flag=True, help="Read a model file and keep its graph, not its bytes.")
@click.option("--embed", default="", help="With a graph: tflite, onnx or both, for the C decoder to restore.")
@click.option("--indexed", is_flag=True, help="Of an .onnx file: write an .onnx file that runs without a decoder.")
@click.option("--force", is_flag=True, help="With --indexed: of a .tflite file too, though it will run slower.")
@click.option("--target-bytes", type=Number(int), help="Compress the weights: the container takes at most this much.")
@click.option("--max-drop", type=Number(float), help="Compress the weights: points of top-1 accuracy that it may cost.")
@click.option("--calibration", help="Images for that: folder, .npz, synthetic[:SEED].")
@click.option("--calibration-images", type=Number(int), default=250, show_default=True, help="Use at most this many.")
@click.option("--no-mirror", is_flag=True, help="Left and right are not alike: do not calibrate on mirror images too.")
@json_option
def command(
    model: str,
    alpha: float | None,
    resolution: int | None,
    rho: float | None,
    classes: int | None,
    seed: int,
    input_shape: tuple[int, ...] | None,
    weights: str,
    out: Path | None,
    as_graph: bool,
    embed: str,
    indexed: bool,
    force: bool,
    target_bytes: int | None,
    max_drop: float | None,
    calibration: str | None,
    calibration_images: int,
    no_mirror: bool,
    family: dict[str, int | float | str],
    as_json: bool,
) -> None:
    """Make an .ekz container of MODEL, a file of any kind or a model of the zoo.

    A file comes back byte for byte from `edgekit decompress`; weights inside .tflite and .onnx are coded as weights. A
    model of the zoo, or any model file with --graph, is kept as a graph that can be restored as either format. With
    --indexed, weights of at most 256 values become 4-bit or 8-bit indices, which onnxruntime resolves while it loads.

    With --target-bytes or --max-drop the graph's weights are pruned and quantized; the images of --calibration tell how
    the remaining ones make up for it.
    """
    from edgekit.cli.console import print_json
    from edgekit.compress.budget import Budget
    from edgekit.pipeline.compress_weights import WeightSettings
    from edgekit.pipeline.container_file import FORMATS, compress_file
    from edgekit.pipeline.model import ModelRequest
    from edgekit.zoo import model_names

    kinds = [kind for kind in embed.split(",") if kind]
    unknown = [kind for kind in kinds if kind not in FORMATS]
    if unknown:
        raise ModelError(f"--embed {unknown[0]!r} is none of {', '.join(FORMATS)}")
    if force and not indexed:
        raise ModelError("--force is for --indexed: leave it out")
    if indexed:
        _write_indexed(Path(model), out, force, as_json)
        return
    lossy = target_bytes is not None or max_drop is not None
    if lossy and calibration is None:
        raise ModelError("weights are compressed on images such as the network will see: give --calibration FOLDER")
    if model in model_names() or as_graph:
        options = {**zoo_options(model, alpha, resolution, rho, classes), **family}
        request = ModelRequest(model, options, weights, seed, input_shape=input_shape)
        settings = WeightSettings(Budget(target_bytes, max_drop), calibration_images, not no_mirror) if lossy else None
        result = _compress_graph(request, settings, calibration or "", out, kinds)
    else:
        if lossy:
            raise ModelError("a file kept to the byte has no other weights: give --graph too")
        if kinds:
            raise ModelError("--embed is for graphs: give --graph too, or leave it out to keep the file itself")
        shape = (alpha, resolution, rho, classes, input_shape or None)
        if family or weights != "auto" or any(value is not None for value in shape):
            raise ModelError("a file kept to the byte keeps its network: give --graph too, or leave the options out")
        result = compress_file(Path(model), out or Path(Path(model).name + ".ekz"))
    if as_json:
        print_json(result.to_json())
        return
    _print(result)


def _compress_graph(
    request: ModelRequest, settings: WeightSettings | None, calibration: str, out: Path | None, kinds: list[str]
) -> CompressResult:
    """settings: how weights are compressed, on the calibration images; None keeps them as they are."""
    from edgekit.cli.console import ConsoleReporter
    from edgekit.data.sources import open_source
    from edgekit.passes.registry import apply_passes
    from edgekit.pipeline.compress_weights import compress_model_weights
    from edgekit.pipeline.container_file import compress_graph
    from edgekit.pipeline.model import load_model

    graph, coded = apply_passes(load_model(request, ConsoleReporter()))[0], None
    if settings is not None:
        done = compress_model_weights(graph, open_source(calibration), settings, ConsoleReporter())
        graph, coded = done.graph, done.tensors
    return compress_graph(graph, out or Path(f"{graph.name}.ekz"), coded, kinds)


def _write_indexed(path: Path, out: Path | None, force: bool, as_json: bool) -> None:
    from edgekit.cli.console import print_json, print_table, size_text
    from edgekit.pipeline.indexed_file import write_indexed

    result = write_indexed(path, out or path.with_name(f"{path.stem}_indexed{path.suffix}"), force)
    if as_json:
        print_json(result.to_json())
        return
    rows = [
        ("file", size_text(result.file_bytes)),
        ("indexed", f"{size_text(result.indexed_bytes)}, zipped {size_text(result.zipped_bytes)}"),
        ("weights", f"{result.four} with 4 bits, {result.eight} with 8 bits, {result.plain} left plain"),
    ]
    print_table([str(result.path), ""], rows, text=("",))


def _print(result: CompressResult) -> None:
    from edgekit.cli.console import out, print_table, size_text

    sizes = result.sizes
    rows = [
        ("file" if result.kind != "graph" else "float TFLite file", size_text(sizes.file_bytes)),
        ("zipped", size_text(sizes.zipped_bytes)),
        (".ekz", f"{size_text(sizes.ekz_bytes)} ({sizes.file_bytes / sizes.ekz_bytes:.2f}x smaller than the file)"),
        ("weights in memory", size_text(sizes.memory_bytes)),
        ("beside AlexNet's 240 MB", f"{sizes.under_alexnet:,.0f}x smaller"),
        ("tensors", ", ".join(f"{count} {method}" for method, count in result.methods.items() if count) or "none"),
    ]
    print_table([str(result.path), ""], rows, text=("",))
    out.print()

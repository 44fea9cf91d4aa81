"""From what the user typed to a float graph with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from edgekit.data.preprocess import PRESETS, Preprocessing
from edgekit.errors import DataError, ImportFileError, ModelError
from edgekit.graph.ir import Graph
from edgekit.graph.validate import check_finite
from edgekit.pipeline.reporter import Reporter

IMPORTERS = {
    ".onnx": ("edgekit.importers.onnx", "import_onnx"),
    ".tflite": ("edgekit.importers.tflite", "import_tflite"),
    **dict.fromkeys((".keras", ".h5", ".hdf5"), ("edgekit.importers.keras", "import_keras")),
}
"""Suffix of a model file -> the module and the function that read it; files of other suffixes are tried as ONNX."""
FOREIGN_SUFFIXES = {".pb": "TensorFlow"}


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Which model: `model` is a zoo name or the path of a file (ONNX, TFLite, Keras).

    options: alpha, resolution, classes, ... as the zoo's builder takes them (None: its default). weights: auto,
    imagenet, none or a path. preprocessing: a preset's name, for files that do not say. labels: a text file, one class
    a line. input_shape: of a file's only input, in the file's layout, where the file leaves it open.
    """

    model: str
    options: Mapping[str, Any]
    weights: str = "auto"
    seed: int = 0
    preprocessing: str | None = None
    labels: Path | None = None
    input_shape: tuple[int, ...] | None = None


def load_model(request: ModelRequest, reporter: Reporter) -> Graph:
    """The float graph, validated and finite, with the metadata that a deployed file needs."""
    path = Path(request.model)
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        kind = FOREIGN_SUFFIXES[path.suffix.lower()]
        raise ImportFileError(f"{path}: {kind} files cannot be read yet; export the model to ONNX and give that file")
    is_file = model_file(request) is not None
    graph = _import(path, request, reporter) if is_file else _build(request, reporter)
    if request.preprocessing is not None:
        _set_preprocessing(graph, request.preprocessing)
    if request.labels is not None:
        graph.metadata["labels"] = read_labels(request.labels, graph)
    check_finite(graph, request.model)
    return graph


def model_file(request: ModelRequest) -> Path | None:
    """The user's own file that the request names; None for a model of the zoo."""
    path = Path(request.model)
    return path if path.suffix.lower() in IMPORTERS or _exists(path) else None


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long for a file's name, say: then it is none
        return False


def preprocessing_of(graph: Graph) -> Preprocessing:
    """How images become this graph's input. Raises DataError where the graph does not take one image."""
    _, height, width, channels = _image_shape(graph)
    described = graph.metadata.get("preprocessing")
    if described is not None:
        return Preprocessing.from_metadata(described)
    return preset(default_preset(channels), height, width, channels)


def default_preset(channels: int) -> str:
    """What is assumed of files that do not say: PyTorch's ImageNet statistics, pixels in 0..1 for grey images."""
    return "torch" if channels == 3 else "grey"


def preset(name: str, height: int, width: int, channels: int) -> Preprocessing:
    """A preset at another size. Raises DataError for an unknown name or another number of channels."""
    if name not in PRESETS:
        raise DataError(f"preprocessing {name!r} is none of {', '.join(PRESETS)}")
    chosen = PRESETS[name].with_size(height, width)
    if chosen.channels != channels:
        raise DataError(f"preprocessing {name!r} makes {chosen.channels} channels, the model takes {channels}")
    return chosen


def read_labels(path: Path, graph: Graph) -> list[str]:
    """Class names, one a line. Raises DataError where their number is not that of the model's outputs."""
    try:
        labels = path.read_text(encoding="utf-8-sig").split("\n")  # some editors begin UTF-8 files with a mark
    except (OSError, UnicodeDecodeError) as problem:
        reason = "it is not UTF-8" if isinstance(problem, UnicodeDecodeError) else problem.strerror
        raise DataError(f"labels {path} cannot be read: {reason}; give a UTF-8 text file, one class a line") from None
    labels = [label.strip() for label in labels if label.strip()]
    classes = graph.shape(graph.outputs[0])[-1]
    if len(labels) != classes:
        raise DataError(f"labels {path} names {len(labels)} classes, the model has {classes}; give one line a class")
    return labels


def _build(request: ModelRequest, reporter: Reporter) -> Graph:
    from edgekit.importers.weights import WeightsNote, load_weights
    from edgekit.zoo.registry import build_model

    given = {key: value for key, value in request.options.items() if value is not None}
    if request.input_shape is not None:
        raise ModelError(f"--input-shape is for model files; {request.model} takes --resolution")
    graph = build_model(request.model, **given, seed=request.seed)
    shape = graph.metadata["model"]

    def report(note: WeightsNote) -> None:
        fact, _, circumstances = note.message.partition(": ")
        (reporter.warn if note.warning else partial(reporter.step, "weights"))(fact)
        if circumstances:
            reporter.step("weights", circumstances)

    graph = load_weights(
        graph,
        request.weights,
        model=request.model,
        alpha=shape.get("alpha", 1.0),
        resolution=shape.get("resolution", 224),
        report=report,
    )
    # Circumstances, such as where this machine keeps its cache, are for the screen; the file keeps the facts.
    for note in graph.metadata.get("weights", {}).get("notes", ()):
        note["message"] = note["message"].partition(": ")[0]
    return graph


def _import(path: Path, request: ModelRequest, reporter: Reporter) -> Graph:
    given = sorted(key for key, value in request.options.items() if value is not None)
    if given:
        raise ModelError(f"{path}: --{given[0]} shapes zoo models; a file has the shape that it was saved with")
    if request.weights not in ("auto", "none"):
        raise ModelError(f"{path}: --weights is for zoo models; a file brings its own")
    module, function = IMPORTERS.get(path.suffix.lower(), IMPORTERS[".onnx"])
    graph: Graph = getattr(import_module(module), function)(path, input_shape=request.input_shape)
    if request.preprocessing is None and "preprocessing" in graph.metadata:
        reporter.step("images", f"prepared as {path.name} tells")
    elif request.preprocessing is None:
        assumed = default_preset(_image_shape(graph)[3])
        _set_preprocessing(graph, assumed)
        reporter.warn(
            f"{path.name} does not say how its images are normalized: taken as --preprocessing {assumed}; "
            f"others are {', '.join(sorted(PRESETS.keys() - {assumed}))}"
        )
    return graph


def _set_preprocessing(graph: Graph, name: str) -> None:
    _, height, width, channels = _image_shape(graph)
    graph.metadata["preprocessing"] = preset(name, height, width, channels).to_metadata()


def _image_shape(graph: Graph) -> tuple[int, int, int, int]:
    shapes = [graph.shape(name) for name in graph.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise DataError(f"the model takes {shapes}; images need one input (1, height, width, channels)")
    n, h, w, c = shapes[0]
    return n, h, w, c

"""Gives a graph its weights: published ones, a file's, or none but its random ones."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.data.preprocess import PRESETS
from edgekit.errors import WeightsError
from edgekit.graph.ir import Graph
from edgekit.importers.keras_h5 import ARCHIVE_WEIGHTS, is_archive, open_keras_weights
from edgekit.importers.npz_weights import fill_from_npz
from edgekit.importers.published import CLASSES, choose_weights, published_file
from edgekit.importers.published_row import PublishedWeights
from edgekit.importers.safetensors import is_safetensors, open_safetensors
from edgekit.importers.stored import fill_constants, is_chain, pair_layers, target_layers
from edgekit.importers.stored_keras import Pixels, in_graph_form, without_normalization
from edgekit.importers.torch_file import is_torch_archive, open_torch_weights
from edgekit.importers.torch_layouts import Layout
from edgekit.importers.torch_weights import Fit, fill_from_tensors
from edgekit.importers.weight_cache import cache_folder, fetch_weights, file_sha256

ROOM_FACTOR, ROOM_BYTES = 16, 64 * 2**20
"""A `.keras` archive may unpack to this many times the network's weights (optimizer state), plus this many bytes."""


@dataclass(frozen=True, slots=True)
class WeightsNote:
    """Something about the weights that whoever uses the exported file should know.

    kind: "random_weights" (published ones could not be had), "random_classifier" (the number of classes differs),
    "paired_by_order" (a state dict with names that are not known), "other_resolution" (trained at another input size)
    or "preprocessing" (the file's own way to prepare images replaces the graph's). warning: whether the output is
    worthless until it is mended or checked.
    """

    kind: str
    message: str
    warning: bool


NORMALIZING = "efficientnet_"
"""Keras's networks of this family divide pixels by 255 and normalize them; the zoo's leave it to the preprocessing."""


Report = Callable[[WeightsNote], None]


def load_weights(
    graph: Graph,
    spec: str | Path,
    *,
    model: str | None = None,
    alpha: float | None = None,
    resolution: int | None = None,
    cache_dir: Path | None = None,
    report: Report | None = None,
) -> Graph:
    """A copy of a zoo graph with weights by `spec`; metadata["weights"] tells what it got, with all notes.

    spec: "none" (the random weights it has), "imagenet" (published ones), "auto" (the same, or random ones with a
    warning), the name of one published file, or a path: `.h5`, `.weights.h5` and `.keras` of Keras, `.pth` and
    `.safetensors`, `.npz` of `save_npz` or in Caffe's layout. model, alpha and resolution choose the published file,
    beside the options in the graph's metadata, which also stand in for those not given. Each note also goes to
    `report`. Raises WeightsError.
    """
    graph = graph.copy()
    options = {**graph.metadata.get("model", {})}
    model = options.get("name", "") if model is None else model
    if alpha is not None:
        options["alpha"] = alpha
    resolution = graph.shape(graph.inputs[0])[1] if resolution is None else resolution
    notes: list[WeightsNote] = []
    named = str(spec) if published_file(str(spec)) and not Path(spec).exists() else None
    if str(spec) in ("auto", "imagenet") or named:
        try:
            row = choose_weights(model, options, resolution, classifier=_has_published_classes(graph), file_name=named)
            graph = _with_published(graph, row, resolution, cache_dir, notes)
        except WeightsError as problem:
            if str(spec) != "auto":
                raise
            notes = [_random_weights_note(problem)]
    elif str(spec) != "none":
        graph = _with_file(graph, Path(spec), notes)
    if notes:
        _weights_metadata(graph)["notes"] = [asdict(note) for note in notes]
    if report is not None:
        for note in notes:
            report(note)
    return graph


def _random_weights_note(problem: WeightsError) -> WeightsNote:
    message = f"the weights are RANDOM and the predictions worthless: {problem}"
    return WeightsNote("random_weights", message, warning=True)


def _has_published_classes(graph: Graph) -> bool:
    return graph.shape(graph.outputs[0])[-1] == CLASSES


def _weights_metadata(graph: Graph) -> dict[str, Any]:
    found: dict[str, Any] = graph.metadata.setdefault("weights", {"source": "random"})
    return found


def _with_published(
    graph: Graph, row: PublishedWeights, resolution: int, cache_dir: Path | None, notes: list[WeightsNote]
) -> Graph:
    """A copy with the weights of one published file; appends the notes that go with it."""
    path = fetch_weights(row, cache_folder(cache_dir))
    filled = graph.copy()
    has_head = _has_published_classes(graph)
    fit = _fill(filled, path, without_head=not has_head, headless_file=not row.classifier)
    seed = _weights_metadata(graph).get("seed")
    filled.metadata["weights"] = {
        "source": "url",
        "url": row.url,
        "sha256": file_sha256(path),
        "licence": row.licence,
        "options": dict(row.options),
        "resolution": row.resolution,
        "classifier": "published" if has_head else "random",
        "matched_by": fit.matched_by,
    }
    _, height, width, _ = graph.shape(graph.inputs[0])
    filled.metadata["preprocessing"] = row.prepared_for(height, width).to_metadata()
    if not has_head:
        filled.metadata["weights"]["seed"] = seed
        classes = graph.shape(graph.outputs[0])[-1]
        message = (
            f"the classifier is RANDOM: published weights have {CLASSES} classes, not {classes}; train it before use"
        )
        notes.append(WeightsNote("random_classifier", message, warning=True))
    if row.resolution != resolution:
        message = f"the weights were trained at {row.resolution} pixels and are used at {resolution}"
        notes.append(WeightsNote("other_resolution", message, warning=False))
    return filled


def _with_file(graph: Graph, path: Path, notes: list[WeightsNote]) -> Graph:
    """The graph with all weights from a file, whatever its format; appends the notes that go with it."""
    entry: dict[str, Any] = {"source": "file", "path": path.name}
    try:
        if not path.is_file():
            raise WeightsError(f"no weights file {str(path)!r}; give auto, imagenet, none or the path of a file")
        entry["sha256"] = file_sha256(path)
        fit = _fill(graph, path)
    except OSError as problem:
        raise WeightsError(f"cannot read {path}: {problem.strerror or problem}") from problem
    entry["matched_by"] = fit.matched_by
    if fit.layout is not None:
        entry["layout"] = fit.layout.title
        _take_preprocessing(graph, fit.layout, notes)
    elif fit.pixels is not None:
        _take_pixels(graph, fit.pixels, notes)
    elif fit.matched_by == "class" and _format(path) in STATE_DICTS:
        message = (
            "the layers were paired by their order alone, because the file's names are not known: check the accuracy"
        )
        notes.append(WeightsNote("paired_by_order", message, warning=True))
    graph.metadata["weights"] = entry
    return graph


def _take_preprocessing(graph: Graph, layout: Layout, notes: list[WeightsNote]) -> None:
    """Images are to be prepared as for the layout's weights; noted where that is new to the graph."""
    _, height, width, _ = graph.shape(graph.inputs[0])
    prepared = PRESETS[layout.preprocessing].with_size(height, width).to_metadata()
    if graph.metadata.get("preprocessing", prepared) != prepared:
        message = f"images are prepared as for {layout.title}'s weights (preprocessing {layout.preprocessing})"
        notes.append(WeightsNote("preprocessing", message, warning=False))
    graph.metadata["preprocessing"] = prepared


def _take_pixels(graph: Graph, pixels: Pixels, notes: list[WeightsNote]) -> None:
    """Images are to be prepared as the file's network does it itself; noted where that is new to the graph."""
    known = graph.metadata["preprocessing"]
    if not all(np.allclose(known[key], getattr(pixels, key), rtol=1e-5) for key in ("mean", "std")):
        graph.metadata["preprocessing"] = {**known, "mean": list(pixels.mean), "std": list(pixels.std)}
        message = f"pixels are normalized as the file's network does it: mean {pixels.mean}, std {pixels.std}"
        notes.append(WeightsNote("preprocessing", message, warning=False))


# -- formats -----------------------------------------------------------------------------------------------------------

STATE_DICTS = ("torch", "safetensors")
PICKLE = b"\x80"
TORCH_SUFFIXES = (".pth", ".pt")


def _format(path: Path) -> str:
    """torch, safetensors, npz or keras: by the file's first bytes, by its name where an archive cannot be read."""
    if is_archive(path):
        return _archive_format(path)
    with path.open("rb") as file:
        is_pickle = file.read(1) == PICKLE
    if path.suffix in TORCH_SUFFIXES or (is_pickle and path.suffix != ".safetensors"):
        return "torch"
    if is_safetensors(path):
        return "safetensors"
    return "npz" if path.suffix == ".npz" else "keras"


def _archive_format(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return {".npz": "npz", ".pth": "torch", ".pt": "torch"}.get(path.suffix, "keras")
    if ARCHIVE_WEIGHTS in names or path.suffix == ".keras":
        return "keras"
    return "torch" if is_torch_archive(names) or path.suffix in TORCH_SUFFIXES else "npz"


def _fill(graph: Graph, path: Path, *, without_head: bool = False, headless_file: bool = False) -> Fit:
    """Fill the graph from a file; without_head: all but the last layer, which a headless_file does not have."""
    limit = ROOM_FACTOR * sum(t.nbytes for t in graph.constants()) + ROOM_BYTES
    match _format(path):
        case "torch":
            with open_torch_weights(path, limit) as tensors:
                return fill_from_tensors(graph, tensors, str(path), without_head=without_head)
        case "safetensors":
            with open_safetensors(path) as tensors:
                return fill_from_tensors(graph, tensors, str(path), without_head=without_head)
        case "npz":
            return fill_from_npz(graph, path)
    with open_keras_weights(path, limit) as stored:
        layers, pixels, targets = in_graph_form(stored), None, target_layers(graph)
        if str(graph.metadata.get("model", {}).get("name")).startswith(NORMALIZING):
            layers, pixels = without_normalization(layers, str(path))
        if without_head:
            targets, layers = targets[:-1], layers if headless_file else layers[:-1]
        pairs, matched_by = pair_layers(targets, layers, str(path), names_only=not is_chain(graph))
        fill_constants(graph, pairs, str(path))
    return Fit(matched_by, None, pixels)

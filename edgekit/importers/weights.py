"""Gives a graph its weights: published ones, a file's, or none but its random ones."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.data.preprocess import PRESETS
from edgekit.errors import WeightsError
from edgekit.graph.ir import Graph
from edgekit.importers.keras_h5 import ARCHIVE_WEIGHTS, is_archive, open_keras_weights
from edgekit.importers.npz_weights import fill_from_npz
from edgekit.importers.published import CLASSES, PublishedWeights, choose_weights
from edgekit.importers.stored import TargetLayer, fill_constants, pair_layers, target_layers
from edgekit.importers.weight_cache import cache_folder, fetch_weights, file_sha256

ROOM_FACTOR, ROOM_BYTES = 16, 64 * 2**20
"""A `.keras` archive may unpack to this many times the network's weights (optimizer state), plus this many bytes."""


@dataclass(frozen=True, slots=True)
class WeightsNote:
    """Something about the weights that whoever uses the exported file should know.

    kind: "random_weights" (published ones could not be had), "random_classifier" (the number of classes differs) or
    "other_resolution" (trained at another input size). warning: whether the output is worthless until it is mended.
    """

    kind: str
    message: str
    warning: bool


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
    warning), or a path: `.h5`, `.weights.h5` and `.keras` of Keras, `.npz` of `save_npz`. model, alpha and resolution
    choose the published file; by default they are what the graph's metadata says. Each note also goes to `report`.
    Raises WeightsError.
    """
    graph = graph.copy()
    built = graph.metadata.get("model", {})
    model = built.get("name", "") if model is None else model
    alpha = built.get("alpha", 1.0) if alpha is None else alpha
    resolution = graph.shape(graph.inputs[0])[1] if resolution is None else resolution
    notes: list[WeightsNote] = []
    if str(spec) in ("auto", "imagenet"):
        try:
            row = choose_weights(model, alpha, resolution, classifier=_has_published_classes(graph))
            graph = _with_published(graph, row, resolution, cache_dir, notes)
        except WeightsError as problem:
            if str(spec) == "imagenet":
                raise
            notes = [_random_weights_note(problem)]
    elif str(spec) != "none":
        graph = _with_file(graph, Path(spec))
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
    targets = target_layers(filled)
    matched_by = _fill_from_keras(filled, targets if row.classifier else targets[:-1], path)
    seed = _weights_metadata(graph).get("seed")
    filled.metadata["weights"] = {
        "source": "url",
        "url": row.url,
        "sha256": file_sha256(path),
        "licence": row.licence,
        "alpha": row.alpha,
        "resolution": row.resolution,
        "classifier": "published" if row.classifier else "random",
        "matched_by": matched_by,
    }
    _, height, width, _ = graph.shape(graph.inputs[0])
    filled.metadata["preprocessing"] = PRESETS[row.preprocessing].with_size(height, width).to_metadata()
    if not row.classifier:
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


def _with_file(graph: Graph, path: Path) -> Graph:
    """The graph with all weights from a file, whatever its format."""
    entry: dict[str, Any] = {"source": "file", "path": path.name}
    try:
        if not path.is_file():
            raise WeightsError(f"no weights file {str(path)!r}; give auto, imagenet, none or the path of a file")
        entry["sha256"] = file_sha256(path)
        if _is_npz(path):
            fill_from_npz(graph, path)
            entry["matched_by"] = "name"
        else:
            entry["matched_by"] = _fill_from_keras(graph, target_layers(graph), path)
    except OSError as problem:
        raise WeightsError(f"cannot read {path}: {problem.strerror or problem}") from problem
    graph.metadata["weights"] = entry
    return graph


def _is_npz(path: Path) -> bool:
    """Whether the file is an archive of arrays; its name decides where its directory cannot be read."""
    if not is_archive(path):
        return path.suffix == ".npz"
    try:
        with zipfile.ZipFile(path) as archive:
            return ARCHIVE_WEIGHTS not in archive.namelist() and path.suffix != ".keras"
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return path.suffix == ".npz"


def _fill_from_keras(graph: Graph, targets: list[TargetLayer], path: Path) -> str:
    """Fill the targets' constants; returns by what the layers were matched."""
    limit = ROOM_FACTOR * sum(t.nbytes for t in graph.constants()) + ROOM_BYTES
    with open_keras_weights(path, limit) as layers:
        pairs, matched_by = pair_layers(targets, layers, str(path))
        fill_constants(graph, pairs, str(path))
    return matched_by

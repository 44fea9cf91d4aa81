"""Where a Keras model comes from: an archive, an HDF5 file or a model object, each as a configuration and weights."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.keras_config import layer_addresses
from edgekit.importers.keras_h5 import (
    ARCHIVE_CONFIG,
    is_archive,
    open_keras_weights,
    owner_of,
    read_archive_text,
    read_model_texts,
)
from edgekit.importers.keras_model import SUBCLASSED, KerasModel, parse_model, read_json
from edgekit.importers.onnx_names import clean
from edgekit.importers.stored import StoredLayer, StoredTensor
from edgekit.importers.weight_cache import file_sha256

Address = tuple[str, ...]
"""A layer's name after those of the models around it."""
Find = Callable[[Address], StoredLayer | None]

ROOM_FACTOR, ROOM_BYTES = 16, 64 * 2**20
"""The weights may take this many times the file's size, plus this many bytes: numbers hardly compress further."""


@dataclass(frozen=True, slots=True)
class KerasSource:
    """label: for messages; version: Keras's first number; find: a layer's weights, None where it has none.

    limit_bytes: the most that all weights may take. origin: where they came from, for the graph's metadata.
    """

    label: str
    title: str
    model: KerasModel
    version: int
    find: Find
    limit_bytes: int
    origin: Mapping[str, str]


@contextmanager
def open_source(model: Any) -> Iterator[KerasSource]:
    """The source of a path or of a model object; weights can be read while the context lasts.

    Raises ImportFileError for what is no model, WeightsError for damaged files.
    """
    if isinstance(model, str | Path):
        with _open_file(Path(model)) as source:
            yield source
    elif callable(getattr(model, "get_config", None)) and hasattr(model, "layers"):
        yield _from_object(model)
    else:
        raise ImportFileError(
            f"{type(model).__name__} is no Keras model: give a path or a functional or sequential model"
        )


# -- files -------------------------------------------------------------------------------------------------------------


@contextmanager
def _open_file(path: Path) -> Iterator[KerasSource]:
    _check_is_file(path)
    limit = ROOM_FACTOR * path.stat().st_size + ROOM_BYTES
    archive = is_archive(path)
    config, version = _read_archive(path) if archive else _read_hdf5(path)
    try:
        model = parse_model(config)
    except ImportFileError as problem:
        raise ImportFileError(f"{path}: {problem}") from None
    addresses = layer_addresses(config) if archive else {}
    with open_keras_weights(path, limit, may_be_empty=True) as layers:
        find = _by_path(layers, addresses) if archive else partial(_by_owner, layers, str(path))
        origin = {"source": "file", "name": path.name, "sha256": file_sha256(path)}
        yield KerasSource(str(path), path.stem, model, version, find, limit, origin)


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise ImportFileError(f"{path}: is a folder: give a .keras or .h5 file, which model.save() writes")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise ImportFileError(f"{path}: no such file") from None
    except (OSError, ValueError) as problem:
        raise ImportFileError(f"{path}: cannot be read: {problem}") from None
    if empty:
        raise ImportFileError(f"{path}: is empty")


def _read_archive(path: Path) -> tuple[Any, int]:
    config = read_archive_text(path, ARCHIVE_CONFIG)
    if config is None:
        raise ImportFileError(f"{path}: is an archive without {ARCHIVE_CONFIG}: give a file that model.save() wrote")
    metadata = read_json(read_archive_text(path, "metadata.json") or "{}", f"{path}: metadata.json")
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    return read_json(config, f"{path}: {ARCHIVE_CONFIG}"), _major(version)


def _read_hdf5(path: Path) -> tuple[Any, int]:
    config, version = read_model_texts(path)
    if config is None:
        raise ImportFileError(
            f"{path}: holds weights without their model: save it whole with model.save(), "
            f"or give the weights to a model of the zoo, with --weights {path.name}"
        )
    return read_json(config, f"{path}: its model_config"), _major(version)


def _major(version: object) -> int:
    """3 of "3.15.1"; files that do not say are older than Keras 3."""
    found = re.match(r"\d{1,3}", version) if isinstance(version, str) else None
    return int(found[0]) if found else 2


def _by_path(layers: list[StoredLayer], addresses: Mapping[str, Address]) -> Find:
    """In archives, by the path of the layer's group."""
    paths = {layer.tensors[0].name.rpartition("/vars/")[0]: layer for layer in layers}
    return {address: paths[path] for path, address in addresses.items() if path in paths}.get


def _by_owner(layers: list[StoredLayer], where: str, address: Address) -> StoredLayer | None:
    """In HDF5 files, by the outermost model inside (or the layer itself) and the layer's own name."""
    found = [layer for layer in layers if layer.name == address[-1] and layer.group in ("", address[0])]
    if len(address) > 1:
        found = [layer for layer in found if layer.group] or _alone(layers, address)
    else:
        found = [layer for layer in found if not layer.group]
    if len(found) == 1 and len({tensor.role for tensor in found[0].tensors}) < len(found[0].tensors):
        raise ImportFileError(
            f"{where}: has several layers {address[-1]!r} inside {address[0]!r}, whose weights this format mixes: "
            "save the model as .keras"
        )
    return found[0] if found else None


def _alone(layers: list[StoredLayer], address: Address) -> list[StoredLayer]:
    """The group of a model inside, where only one layer of it has weights: the file does not show that it is one."""
    return [
        layer
        for layer in layers
        if layer.name == address[0] and {owner_of(tensor.name) for tensor in layer.tensors} == {address[-1]}
    ]


# -- objects -----------------------------------------------------------------------------------------------------------


def _from_object(model: Any) -> KerasSource:
    label = f"the {type(model).__name__} model {getattr(model, 'name', '')!r}"
    try:
        config = {"class_name": type(model).__name__, "config": _plain(model.get_config())}
    except NotImplementedError:
        raise ImportFileError(f"{label}: {SUBCLASSED}") from None
    try:
        parsed = parse_model(config)
    except ImportFileError as problem:
        raise ImportFileError(f"{label} {problem}") from None
    packages = (kind.__module__.partition(".")[0] for kind in type(model).__mro__)
    package = next((name for name in packages if name in ("keras", "tf_keras")), "")
    version = _major(getattr(sys.modules.get(package), "__version__", None))
    limit = sum(int(np.prod(weight.shape, dtype=np.int64)) for weight in model.weights) * 4 + ROOM_BYTES
    origin = {"source": "object", "name": f"{type(model).__name__} {parsed.name}"}
    return KerasSource(label, clean(parsed.name), parsed, version, partial(_of_object, model), limit, origin)


def _plain(value: Any) -> Any:
    """The configuration as JSON would have it: lists for tuples, strings for keys."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _of_object(model: Any, address: Address) -> StoredLayer | None:
    layer = model
    for name in address:
        layer = next((inner for inner in layer.layers if inner.name == name), None)
        if layer is None:
            return None
    arrays: list[Array] = [np.asarray(array) for array in layer.get_weights()]
    tensors = [
        StoredTensor(f"{address[-1]}/{i}", "", tuple(array.shape), partial(np.asarray, array))
        for i, array in enumerate(arrays)
    ]
    return StoredLayer(address[-1], tuple(tensors)) if tensors else None

"""Keras's weight files, read with h5py alone: HDF5 of Keras 1 to 3, `.weights.h5`, full models, `.keras` archives.

Links out of the file, external and virtual data sets are never followed, and an array is only read once its shape has
been found right. One gap is known: the HDF5 library itself can loop for ever over a heap of strings with altered bytes,
and Keras keeps names in one. A `.keras` archive has check sums against it.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import WeightsError
from edgekit.graph.ir import Array
from edgekit.importers.damage import damage_named
from edgekit.importers.keras_config import layer_paths
from edgekit.importers.stored import StoredLayer, StoredTensor

if TYPE_CHECKING:
    import h5py

MAX_OBJECTS = 100_000
MAX_CONFIG_BYTES = 64 * 2**20
MAX_NAMES_BYTES = 16 * 2**20
ARCHIVE_CONFIG, ARCHIVE_WEIGHTS = "config.json", "model.weights.h5"
ROLE_NAMES = {"depthwise_kernel": "kernel"}
NOT_LAYERS = {"optimizer", "optimizer_weights", "seed_generator", "_seed_generators", "metrics"}
"""Parts of Keras 3's paths that hold state of training, not of inference."""


@contextmanager
def open_keras_weights(path: Path, limit_bytes: int) -> Iterator[list[StoredLayer]]:
    """The layers with weights that an `.h5` or `.keras` file holds; arrays can be read while the context lasts.

    limit_bytes: the most that the weights inside a `.keras` archive may unpack to. Raises WeightsError for damaged
    files and files that hold no Keras weights.
    """
    import h5py

    names: Mapping[str, str] = {}
    source: Path | io.BytesIO = path
    with damage_named(str(path)):
        if is_archive(path):
            source, names = _unpack(path, limit_bytes)
        elif not h5py.is_hdf5(path):
            raise WeightsError(f"{path} is no weights file; give .h5 or .keras of Keras, or .npz of edgekit")
        file = h5py.File(source, "r")
    with file:
        with damage_named(str(path)):
            layers = _list_layers(file, names, str(path))
        yield layers


def is_archive(path: Path) -> bool:
    """Whether the file begins as a ZIP archive does."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _unpack(path: Path, limit_bytes: int) -> tuple[io.BytesIO, Mapping[str, str]]:
    """The weights of a `.keras` archive, and the layer names of its configuration."""
    with zipfile.ZipFile(path) as archive:
        present = set(archive.namelist())
        if ARCHIVE_WEIGHTS not in present:
            raise WeightsError(f"{path} is an archive without {ARCHIVE_WEIGHTS}; give a .keras file of Keras 3")
        data = _read_member(archive, path, ARCHIVE_WEIGHTS, limit_bytes)
        if ARCHIVE_CONFIG not in present:
            return io.BytesIO(data), {}
        return io.BytesIO(data), layer_paths(_read_member(archive, path, ARCHIVE_CONFIG, MAX_CONFIG_BYTES))


def _read_member(archive: zipfile.ZipFile, path: Path, name: str, limit_bytes: int) -> bytes:
    declared = archive.getinfo(name).file_size
    if declared > limit_bytes:
        raise WeightsError(
            f"{path}: {name} unpacks to {declared} bytes, where this network needs {limit_bytes} at most; not read"
        )
    return archive.read(name)


def _list_layers(file: h5py.File, names: Mapping[str, str], where: str) -> list[StoredLayer]:
    import h5py

    items: dict[str, Any] = {}

    def note(name: str, item: Any) -> bool | None:
        items[name] = item
        return True if len(items) > MAX_OBJECTS else None

    file.visititems(note)
    if len(items) > MAX_OBJECTS:
        raise WeightsError(f"{where} holds more than {MAX_OBJECTS} objects; this is no weights file")
    arrays = {name: item for name, item in items.items() if isinstance(item, h5py.Dataset)}
    if "model_weights" in items:
        layers = _legacy_layers(items["model_weights"], "model_weights/", items, where)
    elif _attribute_names(file, "layer_names") is not None:
        layers = _legacy_layers(file, "", items, where)
    else:
        layers = _keras3_layers(arrays, items, names, where)
    if not layers:
        raise WeightsError(f"{where} holds no weights of a Keras model")
    return layers


# -- Keras 1 and 2, and Keras 3's .h5: attributes list the names ---------------------------------------------


def _legacy_layers(root: Any, prefix: str, items: Mapping[str, Any], where: str) -> list[StoredLayer]:
    layers: list[StoredLayer] = []
    for layer in _attribute_names(root, "layer_names") or []:
        names = _attribute_names(items[f"{prefix}{layer}"], "weight_names") or []
        tensors = [
            _stored(items[f"{prefix}{layer}/{name}"], f"{layer}/{name}", _role(name), where)
            for name in names
            if "seed_generator" not in name
        ]
        owners = dict.fromkeys(_owner(name) for name in names)
        if len(owners) < 2:
            layers += [StoredLayer(layer, tuple(tensors))] if tensors else []
            continue
        # A model inside the model: its group holds the weights of all its layers.
        for owner in owners:
            mine = [tensor for name, tensor in zip(names, tensors, strict=True) if _owner(name) == owner]
            layers.append(StoredLayer(owner, tuple(mine)))
    return layers


def _attribute_names(group: Any, attribute: str) -> list[str] | None:
    """A list of names; long lists lie in pieces `attribute0`, `attribute1`, ... None where there is none."""
    attrs = group.attrs
    if attribute in attrs:
        keys = [attribute]
    else:
        keys = []
        while f"{attribute}{len(keys)}" in attrs:
            keys.append(f"{attribute}{len(keys)}")
    if not keys:
        return None
    return [name for key in keys for name in _strings(attrs, key)]


def _strings(attrs: Any, key: str) -> list[str]:
    """An attribute that holds a vector of strings."""
    described = attrs.get_id(key)
    if len(described.shape) != 1 or described.shape[0] * described.dtype.itemsize > MAX_NAMES_BYTES:
        raise ValueError(f"{key} is no list of names")
    names = attrs[key] if described.shape[0] else []
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names]


def _owner(weight_name: str) -> str:
    """`model/conv1/kernel:0` belongs to conv1."""
    return weight_name.rpartition("/")[0].rpartition("/")[2]


def _role(weight_name: str) -> str:
    last = weight_name.rpartition("/")[2].partition(":")[0]
    return ROLE_NAMES.get(last, last)


# -- Keras 3's .weights.h5: numbered arrays under each layer's path ------------------------------------------


def _keras3_layers(
    arrays: Mapping[str, Any], items: Mapping[str, Any], names: Mapping[str, str], where: str
) -> list[StoredLayer]:
    """Layers by class and number; their own names from the `vars` group, or from the archive's configuration."""
    found: dict[str, dict[int, Any]] = {}
    for path, array in arrays.items():
        parts = path.split("/")
        if len(parts) > 2 and parts[-2] == "vars" and parts[-1].isdigit() and NOT_LAYERS.isdisjoint(parts):
            found.setdefault("/".join(parts[:-2]), {})[int(parts[-1])] = array
    layers = []
    for path in sorted(found, key=_class_order):
        group, kind, _ = _class_order(path)
        own = items[f"{path}/vars"].attrs.get("name", names.get(path, path.rpartition("/")[2]))
        tensors = [_stored(array, f"{path}/vars/{i}", "", where) for i, array in sorted(found[path].items())]
        name = own.decode("utf-8") if isinstance(own, bytes) else str(own)
        layers.append(StoredLayer(name, tuple(tensors), kind, group))
    return layers


def _class_order(path: str) -> tuple[str, str, int]:
    """`layers/conv2d_10` -> ("layers", "conv2d", 10)."""
    group, _, last = path.rpartition("/")
    numbered = re.fullmatch(r"(.+?)_(\d{1,9})", last)
    return (group, numbered[1], int(numbered[2])) if numbered else (group, last, 0)


# -- arrays --------------------------------------------------------------------------------------------------


def _stored(array: Any, name: str, role: str, where: str) -> StoredTensor:
    if array.dtype.kind != "f":
        raise WeightsError(f"{where}: {name!r} holds {array.dtype}, not floating-point numbers")
    if array.external or array.is_virtual:
        raise WeightsError(f"{where}: {name!r} lies outside the file; save the weights in one file")

    def read() -> Array:
        with damage_named(f"{where}: {name!r}"):
            data: Array = array[()]
        return data

    return StoredTensor(name, role, tuple(array.shape), read)

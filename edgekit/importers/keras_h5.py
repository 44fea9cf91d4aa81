"""Keras's weight files, read with h5py alone: HDF5 of Keras 1 to 3, `.weights.h5`, full models, `.keras` archives.

Links out of the file, external and virtual data sets are never followed, and an array is only read once its shape has
been found right. The HDF5 library itself runs in a process of its own, see `hdf5_process`.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from edgekit.errors import WeightsError
from edgekit.graph.ir import Array
from edgekit.importers.damage import damage_named
from edgekit.importers.hdf5_process import Hdf5File, open_hdf5
from edgekit.importers.keras_config import layer_paths
from edgekit.importers.stored import StoredLayer, StoredTensor

MAX_CONFIG_BYTES = 64 * 2**20
ARCHIVE_CONFIG, ARCHIVE_WEIGHTS = "config.json", "model.weights.h5"
ROLE_NAMES = {"depthwise_kernel": "kernel"}
NOT_LAYERS = {"optimizer", "optimizer_weights", "seed_generator", "_seed_generators", "metrics"}
"""Parts of Keras 3's paths that hold state of training, not of inference."""


@contextmanager
def open_keras_weights(path: Path, limit_bytes: int, *, may_be_empty: bool = False) -> Iterator[list[StoredLayer]]:
    """The layers with weights that an `.h5` or `.keras` file holds; arrays can be read while the context lasts.

    limit_bytes: the most that the weights inside a `.keras` archive may unpack to. Raises WeightsError for damaged
    files and, unless it `may_be_empty`, files that hold no Keras weights.
    """
    names: Mapping[str, str] = {}
    data: bytes | None = None
    with damage_named(str(path)):
        if is_archive(path):
            data, names = _unpack(path, limit_bytes)
    with open_hdf5(path, limit_bytes, data) as file:
        with damage_named(str(path)):
            layers = _list_layers(file, names)
        if not layers and not may_be_empty:
            raise WeightsError(f"{path} holds no weights of a Keras model")
        yield layers


def read_model_config(path: Path) -> str | None:
    """The JSON text with which Keras describes a model in an `.h5` file; None where only weights were saved.

    Raises WeightsError for files that are damaged or no HDF5.
    """
    return read_model_texts(path)[0]


def read_model_texts(path: Path) -> tuple[str | None, str | None]:
    """As `read_model_config`, and the version of Keras that wrote the file."""
    with open_hdf5(path, MAX_CONFIG_BYTES) as file:
        return file.text("", "model_config"), file.text("", "keras_version")


def read_archive_text(path: Path, name: str) -> str | None:
    """A text file of a `.keras` archive, such as ARCHIVE_CONFIG; None where there is none. Raises WeightsError."""
    with damage_named(str(path)), zipfile.ZipFile(path) as archive:
        if name not in archive.namelist():
            return None
        return _read_member(archive, path, name, MAX_CONFIG_BYTES).decode("utf-8")


def is_archive(path: Path) -> bool:
    """Whether the file begins as a ZIP archive does."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _unpack(path: Path, limit_bytes: int) -> tuple[bytes, Mapping[str, str]]:
    """The weights of a `.keras` archive, and the layer names of its configuration."""
    with zipfile.ZipFile(path) as archive:
        present = set(archive.namelist())
        if ARCHIVE_WEIGHTS not in present:
            raise WeightsError(f"{path} is an archive without {ARCHIVE_WEIGHTS}; give a .keras file of Keras 3")
        data = _read_member(archive, path, ARCHIVE_WEIGHTS, limit_bytes)
        if ARCHIVE_CONFIG not in present:
            return data, {}
        return data, layer_paths(_read_member(archive, path, ARCHIVE_CONFIG, MAX_CONFIG_BYTES))


def _read_member(archive: zipfile.ZipFile, path: Path, name: str, limit_bytes: int) -> bytes:
    declared = archive.getinfo(name).file_size
    if declared > limit_bytes:
        raise WeightsError(
            f"{path}: {name} unpacks to {declared} bytes, where this network needs {limit_bytes} at most; not read"
        )
    return archive.read(name)


def _list_layers(file: Hdf5File, names: Mapping[str, str]) -> list[StoredLayer]:
    if "model_weights" in file.objects:
        return _legacy_layers(file, "model_weights")
    if _names(file, "", "layer_names") is not None:
        return _legacy_layers(file, "")
    return _keras3_layers(file, names)


# -- Keras 1 and 2, and Keras 3's .h5: attributes list the names ---------------------------------------------


def _legacy_layers(file: Hdf5File, root: str) -> list[StoredLayer]:
    layers: list[StoredLayer] = []
    prefix = f"{root}/" if root else ""
    for layer in _names(file, root, "layer_names") or []:
        names = _names(file, f"{prefix}{layer}", "weight_names") or []
        tensors = [
            _stored(file, f"{prefix}{layer}/{name}", f"{layer}/{name}", _role(name))
            for name in names
            if "seed_generator" not in name
        ]
        owners = dict.fromkeys(owner_of(name) for name in names)
        if len(owners) < 2:
            layers += [StoredLayer(layer, tuple(tensors))] if tensors else []
            continue
        # A model inside the model: its group holds the weights of all its layers.
        for owner in owners:
            mine = [tensor for name, tensor in zip(names, tensors, strict=True) if owner_of(name) == owner]
            layers.append(StoredLayer(owner, tuple(mine), group=layer))
    return layers


def _names(file: Hdf5File, of: str, attribute: str) -> list[str] | None:
    """A list of names; long lists lie in pieces `attribute0`, `attribute1`, ... None where there is none."""
    found = file.strings(of, attribute)
    if found is not None:
        return found
    pieces: list[list[str]] = []
    while (piece := file.strings(of, f"{attribute}{len(pieces)}")) is not None:
        pieces.append(piece)
    return [name for piece in pieces for name in piece] if pieces else None


def owner_of(weight_name: str) -> str:
    """`model/conv1/kernel:0` belongs to conv1."""
    return weight_name.rpartition("/")[0].rpartition("/")[2]


def _role(weight_name: str) -> str:
    last = weight_name.rpartition("/")[2].partition(":")[0]
    return ROLE_NAMES.get(last, last)


# -- Keras 3's .weights.h5: numbered arrays under each layer's path ------------------------------------------


def _keras3_layers(file: Hdf5File, names: Mapping[str, str]) -> list[StoredLayer]:
    """Layers by class and number; their own names from the `vars` group, or from the archive's configuration."""
    found: dict[str, dict[int, str]] = {}
    for path, array in file.objects.items():
        parts = path.split("/")
        is_variable = array is not None and len(parts) > 2 and parts[-2] == "vars" and parts[-1].isdigit()
        if is_variable and NOT_LAYERS.isdisjoint(parts):
            found.setdefault("/".join(parts[:-2]), {})[int(parts[-1])] = path
    layers = []
    for path in sorted(found, key=_class_order):
        group, kind, _ = _class_order(path)
        own = file.text(f"{path}/vars", "name")
        name = names.get(path, path.rpartition("/")[2]) if own is None else own
        tensors = [_stored(file, array, f"{path}/vars/{i}", "") for i, array in sorted(found[path].items())]
        layers.append(StoredLayer(name, tuple(tensors), kind, group))
    return layers


def _class_order(path: str) -> tuple[str, str, int]:
    """`layers/conv2d_10` -> ("layers", "conv2d", 10)."""
    group, _, last = path.rpartition("/")
    numbered = re.fullmatch(r"(.+?)_(\d{1,9})", last)
    return (group, numbered[1], int(numbered[2])) if numbered else (group, last, 0)


# -- arrays --------------------------------------------------------------------------------------------------


def _stored(file: Hdf5File, path: str, name: str, role: str) -> StoredTensor:
    array = file.objects[path]
    if array is None or array.dtype is None:
        raise ValueError(f"{name!r}: {array.problem if array else 'a group, not an array'}")
    if array.outside:
        raise WeightsError(f"{file.where}: {name!r} lies outside the file; save the weights in one file")
    read = partial(file.read, path)
    if array.dtype.kind != "f":  # such as the counter of a Normalization layer, which nobody need read
        read = partial(_refuse, f"{file.where}: {name!r} holds {array.dtype}, not floating-point numbers")
    return StoredTensor(name, role, array.shape, read)


def _refuse(message: str) -> Array:
    raise WeightsError(message)

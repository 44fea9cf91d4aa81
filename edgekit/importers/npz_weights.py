"""Weights as an `.npz` file: under the graph's own names (`conv1/kernel`) in its own layout, or as Caffe has them."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from edgekit.data.npz_member import array_names, open_member, open_npz
from edgekit.errors import DataError, OutputError, WeightsError
from edgekit.graph.ir import Array, Graph, Tensor
from edgekit.importers.stored import Slot, StoredTensor, check_pairs, fill_constants
from edgekit.importers.torch_weights import Fit, fill_from_tensors

CAFFE_ENDINGS = ("/w", "/b")


def save_npz(graph: Graph, path: Path) -> None:
    """Write every floating-point constant of the graph, whole or not at all. Raises OutputError where it cannot."""
    arrays = {t.name: t.array for t in graph.constants() if _is_float(t)}
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        partial = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                _write_archive(file, arrays)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as problem:
        raise OutputError(f"cannot write {path}: {problem.strerror or problem}") from problem


def _write_archive(file: IO[bytes], arrays: dict[str, Array]) -> None:
    """What numpy.savez writes, with a fixed date: equal weights give equal bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


def fill_from_npz(graph: Graph, path: Path) -> Fit:
    """Read what `save_npz` wrote into the graph's constants; or arrays `<layer>/w` and `<layer>/b` in Caffe's layout.

    Raises WeightsError for a damaged file, one of another architecture, and NaN. Nothing is unpickled.
    """
    try:
        with open_npz(path) as archive:
            stored = {name: _stored(archive, path, name) for name in array_names(archive)}
            if stored and all(name.endswith(CAFFE_ENDINGS) for name in stored):
                return fill_from_tensors(graph, list(stored.values()), str(path))
            slots = [Slot(t.name, t.name.rpartition("/")[2], (t.shape,)) for t in graph.constants() if _is_float(t)]
            pairs = [(slot, stored.get(slot.constant)) for slot in slots]
            check_pairs(pairs, str(path))
            extra = next(iter(sorted(stored.keys() - {slot.constant for slot in slots})), None)
            if extra is not None:
                raise WeightsError(f"{path}: weights of another architecture: the network has no place for {extra!r}")
            fill_constants(graph, pairs, str(path))
            return Fit("name", None)
    except DataError as problem:
        raise WeightsError(str(problem)) from problem


def _is_float(tensor: Tensor) -> bool:
    return tensor.array.dtype.kind == "f"


def _stored(archive: zipfile.ZipFile, path: Path, name: str) -> StoredTensor:
    with open_member(archive, path, name) as member:
        shape, dtype = tuple(member.shape), member.dtype
    if dtype.kind != "f":
        raise WeightsError(f"{path}: {name!r} holds {dtype}, not floating-point numbers")

    def read() -> Array:
        with open_member(archive, path, name) as again:
            return again.read_all()

    return StoredTensor(name, "", shape, read)

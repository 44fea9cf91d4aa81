"""Lossless mode: any file in, the same bytes out. Weights of `.tflite` and `.onnx` are coded as weights."""

from __future__ import annotations

import numpy as np

from edgekit.compress.container import Content, StoredFile
from edgekit.compress.index import Hole
from edgekit.compress.weight_places import Place, file_kind, find_places
from edgekit.graph.ir import Array


def take_apart(data: bytes, name: str) -> Content:
    """The file as tensors and what is left of it; `file_bytes(0)` puts it together again. name: for the metadata."""
    kind = file_kind(data)
    places = find_places(data, kind)
    names = _unique([place.name for place in places])
    tensors: dict[str, Array] = {}
    by_bytes: dict[tuple[str, tuple[int, ...], bytes], int] = {}
    holes, pieces, at = [], [], 0
    for place, unique in zip(places, names, strict=True):
        raw = data[place.start : place.start + place.nbytes]
        position = by_bytes.setdefault((place.dtype, place.shape, raw), len(tensors))
        if position == len(tensors):
            tensors[unique] = _array(place, raw)
        holes.append(Hole(place.start - at, position))
        pieces.append(data[at : place.start])
        at = place.start + place.nbytes
    skeleton = b"".join([*pieces, data[at:]])
    return Content(tensors, {"name": name, "kind": kind}, files=(StoredFile(kind, skeleton, tuple(holes)),))


def as_one_piece(data: bytes, name: str) -> Content:
    """The file deflated as a whole: for what has no weights that could be coded better."""
    kind = file_kind(data)
    return Content({}, {"name": name, "kind": kind}, files=(StoredFile(kind, data, ()),))


def _array(place: Place, raw: bytes) -> Array:
    dtype = np.dtype(place.dtype)
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(place.shape)


def _unique(names: list[str]) -> list[str]:
    """The names, with a number where one comes again or is empty."""
    taken: dict[str, int] = {}
    found = []
    for told in names:
        name = told.replace("\0", "")  # a container's names have no zero bytes
        count = taken.get(name, 0)
        taken[name] = count + 1
        candidate = name if not count and name else f"{name}#{count}"
        while candidate != name and candidate in taken:
            count += 1
            candidate = f"{name}#{count}"
        taken.setdefault(candidate, 1)
        found.append(candidate)
    return found

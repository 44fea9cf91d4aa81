"""`.safetensors` files: 8 bytes of length, a JSON header, the arrays end to end.

Source: the format's description at https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from edgekit.errors import WeightsError
from edgekit.graph.ir import Array
from edgekit.importers.damage import damage_named
from edgekit.importers.stored import StoredTensor
from edgekit.importers.torch_file import as_numbers, item_bytes

MAX_HEADER_BYTES = 16 * 2**20
MAX_AXES = 8
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
REMEDY = "fetch or write it anew"


@contextmanager
def open_safetensors(path: Path) -> Iterator[list[StoredTensor]]:
    """The tensors of the file, in the order of its header; arrays can be read while the context lasts.

    Raises WeightsError for a header that does not fit the file: too long, no JSON, unknown dtypes, tensors that
    overlap, leave gaps or reach beyond the end.
    """
    with path.open("rb") as file:
        with damage_named(str(path)):
            header, start = _read_header(file, str(path))
            size = file.seek(0, io.SEEK_END) - start
            tensors = [_stored(file, start, name, entry, str(path)) for name, entry in header.items()]
            _check_places(header, size, str(path))
        yield tensors


def is_safetensors(path: Path) -> bool:
    """Whether the file's name or its first bytes are those of the format."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _read_header(file: IO[bytes], where: str) -> tuple[dict[str, Any], int]:
    """The entries by tensor, and where the arrays begin."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8 or length > MAX_HEADER_BYTES:
        raise WeightsError(
            f"{where} is damaged or cut short: its header claims {length} bytes, the file has {size}; {REMEDY}"
        )
    header = json.loads(file.read(length), object_pairs_hook=_without_repetitions)
    if not isinstance(header, dict):
        raise ValueError("its header is no table")
    header.pop("__metadata__", None)
    if not header:
        raise WeightsError(f"{where} holds no tensors")
    return header, 8 + length


def _without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("its header names something twice")
    return table


def _stored(file: IO[bytes], start: int, name: str, entry: Any, where: str) -> StoredTensor:
    """One tensor. Raises WeightsError unless dtype, shape and offsets agree."""
    match entry:
        case {"dtype": str(code), "shape": [*shape], "data_offsets": [first, last]}:
            numbers = (*shape, first, last)
        case _:
            raise WeightsError(f"{where} is damaged: the header's entry for {name[:80]!r} is malformed; {REMEDY}")
    if code not in DTYPES:
        raise WeightsError(f"{where}: {name[:80]!r} has dtype {code[:20]}; save it as F32, F16, BF16 or F64")
    if not all(type(n) is int and 0 <= n < 2**63 for n in numbers) or len(shape) > MAX_AXES:
        raise WeightsError(f"{where} is damaged: {name[:80]!r} has no sensible shape or offsets; {REMEDY}")
    dtype, count = DTYPES[code], math.prod(shape)
    if last - first != count * item_bytes(dtype):
        raise WeightsError(f"{where} is damaged: {name[:80]!r} {tuple(shape)} does not fill its offsets; {REMEDY}")

    def read() -> Array:
        if "float" not in dtype:
            raise WeightsError(f"{where}: {name!r} holds {dtype}, not floating-point numbers")
        with damage_named(f"{where}: {name!r}"):
            file.seek(start + first)
            return as_numbers(file.read(last - first), dtype).reshape(shape)

    return StoredTensor(name, "", tuple(shape), read)


def _check_places(header: dict[str, Any], size: int, where: str) -> None:
    """Raise WeightsError unless the tensors lie end to end and fill the file."""
    position = 0
    for first, last, name in sorted((*entry["data_offsets"], name) for name, entry in header.items()):
        if first != position or last > size:
            problem = "reaches beyond the end" if last > size else "overlaps another or leaves a gap"
            raise WeightsError(f"{where} is damaged or cut short: {name[:80]!r} {problem}; {REMEDY}")
        position = last
    if position != size:
        raise WeightsError(f"{where} is damaged: {size - position} bytes belong to no tensor; {REMEDY}")

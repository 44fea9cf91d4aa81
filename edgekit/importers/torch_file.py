"""`.pth` and `.pt` files: PyTorch's archive (since 1.6) and the row of pickles that it wrote before.

Pickles are taken apart, never loaded (`torch_pickle`); arrays are read once their shape has been found right.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgekit.errors import WeightsError
from edgekit.graph.ir import Array
from edgekit.importers.damage import damage_named
from edgekit.importers.stored import StoredTensor
from edgekit.importers.torch_pickle import MAX_PICKLE_BYTES, Storage, TensorRecord, run_pickle

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""What an old file begins with, each in a pickle of its own."""

NESTS = ("state_dict", "model_state_dict", "model")
"""Where checkpoints of training keep the network's tensors."""

ITEM_BYTES = {"bfloat16": 2}
ReadBytes = Callable[[Storage, int, int], bytes]
"""Bytes of a storage: (storage, first byte, number of bytes)."""


def item_bytes(dtype: str) -> int:
    """Bytes an element; `bfloat16` is not numpy's."""
    return ITEM_BYTES.get(dtype) or np.dtype(dtype).itemsize


def as_numbers(data: bytes, dtype: str) -> Array:
    """Little-endian bytes as a flat array; bfloat16 becomes float32, of which it is the upper half."""
    if dtype == "bfloat16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))


def is_torch_archive(names: list[str]) -> bool:
    """Whether an archive with these members is one of PyTorch's."""
    return any(name == "data.pkl" or name.endswith("/data.pkl") for name in names)


@contextmanager
def open_torch_weights(path: Path, limit_bytes: int) -> Iterator[list[StoredTensor]]:
    """The tensors of a state dict in its order; arrays can be read while the context lasts.

    limit_bytes: the most that the storages of an archive may unpack to. Raises WeightsError for damaged files, pickles
    that ask for anything but tensors, and files that hold no state dict.
    """
    with path.open("rb") as file:
        with damage_named(str(path)):
            archived = file.read(2) == b"PK"
            tensors = _archived(zipfile.ZipFile(file), limit_bytes, str(path)) if archived else _legacy(file, str(path))
        yield tensors


def _archived(archive: zipfile.ZipFile, limit_bytes: int, where: str) -> list[StoredTensor]:
    """Members: `<name>/data.pkl`, `<name>/data/<key>` for each storage, sometimes `<name>/byteorder`."""
    infos = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in infos if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError(f"{where} is an archive with {len(pickles)} pickles; give a file of torch.save")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in infos and archive.open(f"{folder}byteorder").read(8).strip() != b"little":
        raise WeightsError(f"{where} was written on a big-endian machine; save it anew on a little-endian one")
    if infos[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise WeightsError(f"{where}: its pickle unpacks to {infos[pickles[0]].file_size} bytes; not read")
    value = _run(io.BytesIO(archive.read(pickles[0])), where)
    records = _state_dict(value, where)
    storages = {record.storage for record in records.values()}
    for storage in storages:
        info = infos.get(f"{folder}data/{storage.key}")
        needed = storage.count * item_bytes(storage.dtype)
        if info is None or info.file_size != needed:
            found = "is missing" if info is None else f"has {info.file_size} bytes"
            raise WeightsError(f"{where} is damaged: storage {storage.key[:40]!r} {found} instead of {needed} bytes")
    total = sum(storage.count * item_bytes(storage.dtype) for storage in storages)
    if total > limit_bytes:
        raise WeightsError(
            f"{where}: its tensors unpack to {total} bytes, where this network needs {limit_bytes} at most; not read"
        )

    def read(storage: Storage, first: int, count: int) -> bytes:
        with archive.open(f"{folder}data/{storage.key}") as member:
            member.seek(first)
            return member.read(count)

    return _stored(records, read, where)


def _legacy(file: IO[bytes], where: str) -> list[StoredTensor]:
    """Pickles: magic number, protocol, the machine's sizes, the value, keys of storages; then each storage's bytes."""
    file.seek(0)
    pickles = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    if (_run(pickles, where), _run(pickles, where)) != (MAGIC, PROTOCOL):
        raise WeightsError(f"{where} is a pickle, but none of torch.save; save the state dict with torch.save")
    machine, value, keys = (_run(pickles, where) for _ in range(3))
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise WeightsError(f"{where} was written on a big-endian machine; save it anew on a little-endian one")
    records = _state_dict(value, where)
    starts = _legacy_starts(file, pickles.tell(), keys, _all_storages(value), where)
    missing = next((r.storage.key for r in records.values() if r.storage.key not in starts), None)
    if missing is not None:
        raise WeightsError(f"{where} is damaged: storage {missing[:40]!r} is missing; fetch or write it anew")

    def read(storage: Storage, first: int, count: int) -> bytes:
        file.seek(starts[storage.key] + first)
        return file.read(count)

    return _stored(records, read, where)


def _legacy_starts(
    file: IO[bytes], position: int, keys: Any, storages: Mapping[str, Storage], where: str
) -> dict[str, int]:
    """Where the bytes of each storage begin. Each is its number of elements (8 bytes), then the elements."""
    size = file.seek(0, io.SEEK_END)
    starts: dict[str, int] = {}
    for key in keys if isinstance(keys, list) else []:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise WeightsError(f"{where} is damaged: it holds a storage that no tensor uses; fetch or write it anew")
        file.seek(position)
        count = int.from_bytes(file.read(8), "little")
        starts[storage.key] = position + 8
        position += 8 + storage.count * item_bytes(storage.dtype)
        if count != storage.count or position > size:
            raise WeightsError(
                f"{where} is damaged or cut short (storage {storage.key[:40]!r}); fetch or write it anew"
            )
    return starts


def _all_storages(value: Any) -> dict[str, Storage]:
    """Every storage that the value refers to, those of an optimizer too; each container is looked at once."""
    found: dict[str, Storage] = {}
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, TensorRecord):
            found.setdefault(item.storage.key, item.storage)
        elif isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            waiting += item.values() if isinstance(item, dict) else item
    return found


def _run(stream: io.BytesIO, where: str) -> Any:
    try:
        return run_pickle(stream)
    except ValueError as problem:
        raise WeightsError(f"{where} cannot be read: {' '.join(str(problem).split())[:300]}") from problem


def _state_dict(value: Any, where: str) -> dict[str, TensorRecord]:
    """The dict of tensors: the value itself, or what it holds under one of `NESTS`."""
    for _ in range(3):
        nested = (value.get(key) for key in NESTS) if isinstance(value, dict) else iter(())
        inner = next((candidate for candidate in nested if isinstance(candidate, dict)), None)
        if inner is None:
            break
        value = inner
    tensors = {k: v for k, v in value.items() if isinstance(v, TensorRecord)} if isinstance(value, dict) else {}
    if not tensors or not all(isinstance(key, str) for key in tensors):
        raise WeightsError(f"{where} holds no state dict; save one: torch.save(model.state_dict(), path)")
    return tensors


def _stored(records: Mapping[str, TensorRecord], read: ReadBytes, where: str) -> list[StoredTensor]:
    return [_stored_tensor(name, record, read, where) for name, record in records.items()]


def _stored_tensor(name: str, record: TensorRecord, read: ReadBytes, where: str) -> StoredTensor:
    dtype = record.storage.dtype

    def read_array() -> Array:
        if "float" not in dtype:
            raise WeightsError(f"{where}: {name!r} holds {dtype}, not floating-point numbers")
        size = item_bytes(dtype)
        with damage_named(f"{where}: {name!r}"):
            data = read(record.storage, record.offset * size, record.extent * size)
            if len(data) != record.extent * size:
                raise EOFError("cut short")
            flat = as_numbers(data, dtype)
            strides = [stride * flat.itemsize for stride in record.strides]
            if 0 in record.shape:
                return np.zeros(record.shape, np.float32)
            view: Array = np.lib.stride_tricks.as_strided(flat, record.shape, strides, writeable=False)
            copied: Array = view.copy()
            return copied

    return StoredTensor(name, "", record.shape, read_array)

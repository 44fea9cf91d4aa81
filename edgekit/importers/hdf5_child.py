"""Runs in a process of its own and reads one HDF5 file after another for `hdf5_process`.

The HDF5 library loops for ever or breaks down over some damaged files, and no check made beforehand can tell which. So
it runs here, within limits, and only names, shapes and numbers cross over.

A request is a line of JSON, for "open" perhaps followed by the file's bytes. A reply is a line of JSON, for "array"
followed by the array's bytes; {"problem": why} says that the file is damaged.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

from edgekit.importers.damage import DAMAGE, reason

MAX_OBJECTS = 100_000
MAX_TEXT_BYTES = 64 * 2**20


def main(cpu_seconds: int, memory_bytes: int) -> None:
    """Answer requests on standard input until it ends. memory_bytes: beyond what the process takes to start."""
    import h5py  # noqa: F401  (loaded before the memory is limited)

    _limit(cpu_seconds, memory_bytes)
    reader = _Reader()
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    for line in requests:
        try:
            reply, data = reader.answer(json.loads(line), requests)
        except DAMAGE as problem:
            reply, data = {"problem": reason(problem)}, b""
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.write(data)
        replies.flush()


def _limit(cpu_seconds: int, memory_bytes: int) -> None:
    """Where the system can: Linux both, macOS the time alone, Windows neither."""
    try:
        import resource
    except ImportError:
        return
    statm = Path("/proc/self/statm")
    taken = int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 0
    limits = {"RLIMIT_CPU": cpu_seconds, "RLIMIT_AS": taken + memory_bytes, "RLIMIT_CORE": 0}
    for name, wanted in limits.items():
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, hard))


class _Reader:
    """The open file and what it holds."""

    def __init__(self) -> None:
        self._file: Any = None
        self._items: dict[str, Any] = {}

    def answer(self, request: dict[str, Any], requests: BinaryIO) -> tuple[dict[str, Any], bytes | memoryview]:
        match request["do"]:
            case "open":
                data = requests.read(request["bytes"]) if "bytes" in request else None
                return self._open(request.get("path"), data), b""
            case "strings":
                return {"value": self._strings(request["of"], request["key"])}, b""
            case "text":
                return {"value": self._text(request["of"], request["key"])}, b""
            case "array":
                return self._array(request["of"])
        raise AssertionError(request)

    def _open(self, path: str | None, data: bytes | None) -> dict[str, Any]:
        import io

        import h5py

        if self._file is not None:  # the library would hand out its open file again for the same path
            self._file.close()
        self._file, self._items = None, {}
        if path is not None and not h5py.is_hdf5(path):
            return {"objects": None}
        self._file = h5py.File(io.BytesIO(data) if data is not None else path, "r")
        self._file.visititems(self._note)
        if len(self._items) > MAX_OBJECTS:
            raise ValueError(f"more than {MAX_OBJECTS} objects")
        objects = {name: _describe(item) for name, item in self._items.items()}
        self._items[""] = self._file
        return {"objects": objects}

    def _note(self, name: str | bytes, item: Any) -> bool | None:
        # h5py gives bytes where a name is not UTF-8; Keras writes no such names, so nobody asks for it.
        self._items[name if isinstance(name, str) else name.decode("utf-8", "replace")] = item
        return True if len(self._items) > MAX_OBJECTS else None

    def _strings(self, of: str, key: str) -> list[str] | None:
        attributes = self._items[of].attrs
        if key not in attributes:
            return None
        described = attributes.get_id(key)
        if len(described.shape) != 1 or described.shape[0] * described.dtype.itemsize > MAX_TEXT_BYTES:
            raise ValueError(f"{key} is no list of names")
        return [_decoded(name) for name in attributes[key]] if described.shape[0] else []

    def _text(self, of: str, key: str) -> str | None:
        attributes = self._items[of].attrs
        if key not in attributes:
            return None
        described = attributes.get_id(key)
        if described.shape != () or described.dtype.itemsize > MAX_TEXT_BYTES:
            raise ValueError(f"{key} is no text")
        return _decoded(attributes[key])

    def _array(self, of: str) -> tuple[dict[str, Any], memoryview]:
        import numpy as np

        values = np.ascontiguousarray(self._items[of][()])
        return {"dtype": values.dtype.str, "bytes": values.nbytes}, values.reshape(-1).view(np.uint8).data


def _describe(item: Any) -> dict[str, Any]:
    """Nothing for a group; shape, element type and whether its numbers lie outside the file for a data set."""
    import h5py

    if not isinstance(item, h5py.Dataset):
        return {}
    try:
        outside = bool(item.external) or bool(item.is_virtual)
        return {"shape": list(item.shape), "dtype": item.dtype.str, "outside": outside}
    except DAMAGE as problem:
        return {"problem": reason(problem)}


def _decoded(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)

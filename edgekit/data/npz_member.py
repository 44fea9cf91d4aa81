"""One array of an `.npz` archive, read piece by piece so that it never lies in memory as a whole."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError

Array = npt.NDArray[Any]

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)
"""What zipfile and numpy raise for damaged, encrypted or foreign archives."""


@contextmanager
def open_npz(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, open for reading. Raises DataError for a file that is missing or no `.npz`."""
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGE as error:
        raise DataError(f"{path} is no readable .npz file ({error}); write it with numpy.savez") from error
    with archive:
        yield archive


def array_names(archive: zipfile.ZipFile) -> list[str]:
    """Names of the arrays, in the order of the file."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


class NpzMember:
    """The header of one array, and its items in increasing order; made by `open_member`.

    shape and dtype are the array's; stream holds its .npy file of `file_bytes` bytes, where names it in messages.
    """

    def __init__(self, stream: IO[bytes], file_bytes: int, where: str) -> None:
        self._stream = stream
        self._where = where
        self._next_byte = 0
        with _damage_named(where):
            self.shape, fortran, self.dtype = _read_header(stream)
            self._data_start = stream.tell()
        if self.dtype.hasobject:
            raise DataError(f"{self._where} holds Python objects; save numbers")
        if fortran and len(self.shape) > 1:
            raise DataError(f"{self._where} is in Fortran order; save numpy.ascontiguousarray of it")
        self.item_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        if file_bytes - self._data_start != math.prod(self.shape) * self.dtype.itemsize:
            raise DataError(f"{self._where}: the header says {self.shape} {self.dtype}, which the bytes do not fill")

    def read_items(self, start: int, stop: int) -> Array:
        """Items `start` to `stop` of the first axis, of shape (stop - start, *shape[1:]); `start` never goes back."""
        first, last = start * self.item_bytes, stop * self.item_bytes
        with _damage_named(self._where):
            if first != self._next_byte:
                self._stream.seek(self._data_start + first)
            data = self._stream.read(last - first)
            self._next_byte = last
            if len(data) != last - first:
                raise EOFError("cut short")
        return np.frombuffer(data, self.dtype).reshape((stop - start, *self.shape[1:]))

    def read_all(self) -> Array:
        """The whole array; for the small ones."""
        return self.read_items(0, self.shape[0]).reshape(self.shape) if self.shape else self.read_items(0, 1)


@contextmanager
def open_member(archive: zipfile.ZipFile, path: Path, array: str) -> Iterator[NpzMember]:
    """One array of the archive at `path`, open for reading.

    Raises DataError, naming file and array, for damage, Python objects (which are never unpickled), Fortran order,
    and a header that does not fit the bytes.
    """
    where = f"{path}, array {array!r}"
    with _damage_named(where):
        info = archive.getinfo(f"{array}.npy")
        stream = archive.open(info)
    with stream:
        yield NpzMember(stream, info.file_size, where)


@contextmanager
def _damage_named(where: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise DataError(f"{where} is damaged ({error}); write the file anew") from error


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype of an array in numpy's own format (.npy, versions 1 and 2)."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f".npy version {version}")

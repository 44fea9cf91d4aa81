"""Images in an `.npz` file: pixels, arrays ready for the network, or JPEG files laid end to end."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.data.decode import decode_image
from edgekit.data.npz_member import NpzMember, array_names, open_member, open_npz
from edgekit.data.preprocess import FloatArray, Preprocessing
from edgekit.data.samples import PassLog, Sample, select_evenly
from edgekit.errors import DataError

IMAGE_NAMES = ("x", "images")
LABEL_NAMES = ("y", "labels")
FORMS = "uint8 pixels (n, height, width, 1 or 3) or float32 arrays (n, height, width, channels) ready for the network"

Load = Callable[[NpzMember, int], tuple[bytes, FloatArray]]
"""Reads sample i: its bytes, and the array for the network. Raises DataError, with the reason alone, to skip it."""


class NpzSource:
    """Samples of an `.npz` file; labels, where it has them, are the array `y` or `labels`.

    Images are the array `x`, `images`, or else the first one. uint8 (n, height, width[, channels]) are pixels and are
    preprocessed; float32 (n, height, width, channels) are taken as preprocessed. With an array `jpeg` (uint8, all files
    end to end) image i is the file from `offsets[i]` to `offsets[i + 1]`. Nothing is ever unpickled.
    Raises DataError, naming file and array, for a damaged file, missing arrays, and shapes or dtypes other than these.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = PassLog()
        self._offsets: npt.NDArray[np.int64] | None = None
        with open_npz(path) as archive:
            names = array_names(archive)
            self._array = _image_array(path, names)
            with open_member(archive, path, self._array) as member:
                self._shape, dtype = member.shape, member.dtype
            self._kind = _kind(self._array, dtype)
            if self._kind == "jpeg":
                _check_jpeg(self._shape, dtype, self._where)
                self._offsets = _read_offsets(archive, path, names, self._shape[0])
                self._count = len(self._offsets) - 1
            else:
                _check_images(self._shape, dtype, self._where)
                self._count = self._shape[0]
            self._labels = _read_labels(archive, path, names, self._count)
        if not self._count:
            raise DataError(f"{self._where} holds no images")

    @property
    def _where(self) -> str:
        return f"{self.path}, array {self._array!r}"

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def skipped(self) -> list[str]:
        """`name: reason` of each image that the latest pass could not use (JPEG form only)."""
        return self._log.skipped

    def __len__(self) -> int:
        """Number of images, damaged ones included."""
        return self._count

    def describe(self) -> dict[str, Any]:
        """Kind, path, array, number of images, and what the latest pass used (see `Source.describe`)."""
        own = {"kind": f"npz {self._kind}", "path": str(self.path), "array": self._array, "count": self._count}
        return {**own, **self._log.describe()}

    def samples(self, preprocessing: Preprocessing, limit: int | None = None) -> Iterator[Sample]:
        """Stream the images, or `limit` of them spread evenly; damaged JPEG files are skipped and counted.

        Raises DataError for a limit below 1, for float32 samples of another shape than the network's input or with NaN
        or infinity in them, and, at the end, if not one image could be read.
        """
        chosen = select_evenly(self._count, limit)
        if self._kind == "float32" and self._shape[1:] != preprocessing.input_shape[1:]:
            shapes = f"samples of shape {self._shape[1:]}; the network takes {preprocessing.input_shape[1:]}"
            raise DataError(f"{self._where} has {shapes}. Give uint8 pixels, which are resized, or that shape")
        self._log = PassLog()
        return self._stream(self._loader(preprocessing), chosen, self._log)

    def _loader(self, preprocessing: Preprocessing) -> Load:
        if self._offsets is not None:
            return _jpeg_loader(self._offsets, preprocessing)
        if self._kind == "float32":
            return _ready_loader(self._where)
        return _pixel_loader(preprocessing)

    def _stream(self, load: Load, chosen: list[int], log: PassLog) -> Iterator[Sample]:
        with open_npz(self.path) as archive, open_member(archive, self.path, self._array) as member:
            for index in chosen:
                name = f"{self._array}[{index}]"
                label = None if self._labels is None else int(self._labels[index])
                try:
                    data, array = load(member, index)
                except _UnusableError as error:
                    log.skip(name, str(error))
                    continue
                log.use(name, data)
                yield Sample(array, label, name)
        log.require_some(str(self.path))


class _UnusableError(Exception):
    """One image among others cannot be read: skip it."""


def _jpeg_loader(offsets: npt.NDArray[np.int64], preprocessing: Preprocessing) -> Load:
    def load(member: NpzMember, index: int) -> tuple[bytes, FloatArray]:
        data = member.read_items(int(offsets[index]), int(offsets[index + 1])).tobytes()
        try:
            return data, preprocessing.apply(decode_image(data))
        except DataError as error:
            raise _UnusableError(str(error)) from error

    return load


def _pixel_loader(preprocessing: Preprocessing) -> Load:
    def load(member: NpzMember, index: int) -> tuple[bytes, FloatArray]:
        from PIL import Image

        pixels = member.read_items(index, index + 1)[0]
        grey = pixels.ndim == 3 and pixels.shape[-1] == 1
        image = Image.fromarray(pixels[..., 0] if grey else pixels)
        try:
            return pixels.tobytes(), preprocessing.apply(image)
        except DataError as error:
            raise _UnusableError(str(error)) from error

    return load


def _ready_loader(where: str) -> Load:
    def load(member: NpzMember, index: int) -> tuple[bytes, FloatArray]:
        array = member.read_items(index, index + 1).astype(np.float32)
        if not np.isfinite(array).all():
            raise DataError(f"{where}: sample {index} holds NaN or infinity; leave it out or mend it")
        return array.tobytes(), array

    return load


def _image_array(path: Path, names: list[str]) -> str:
    """The name of the array that holds the images."""
    if "jpeg" in names:
        return "jpeg"
    candidates = [name for name in names if name not in (*LABEL_NAMES, "offsets")]
    named = [name for name in IMAGE_NAMES if name in candidates]
    if not candidates:
        raise DataError(f"{path} has no array of images (only {', '.join(names) or 'nothing'}); add 'x': {FORMS}")
    return (named or candidates)[0]


def _kind(array: str, dtype: np.dtype[Any]) -> str:
    if array == "jpeg":
        return "jpeg"
    return "float32" if dtype.kind == "f" else "uint8"


def _check_jpeg(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    if dtype != np.uint8 or len(shape) != 1:
        raise DataError(f"{where} is {dtype} of shape {shape}; it must be uint8 (bytes,)")


def _check_images(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    """Raise DataError unless the array is one of FORMS."""
    pixels = dtype == np.uint8 and (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3)))
    ready = dtype == np.float32 and len(shape) == 4
    if not pixels and not ready:
        raise DataError(f"{where} is {dtype} of shape {shape}; images are {FORMS}")
    if 0 in shape[1:]:
        raise DataError(f"{where} of shape {shape} holds no pixels")


def _read_offsets(archive: zipfile.ZipFile, path: Path, names: list[str], size: int) -> npt.NDArray[np.int64]:
    """Where each JPEG file begins, and the end of the last: int64 (n + 1,), never falling."""
    if "offsets" not in names:
        raise DataError(f"{path} has an array 'jpeg' but no 'offsets': int64 (n + 1), where each file begins and ends")
    with open_member(archive, path, "offsets") as member:
        if member.dtype.kind not in "iu" or len(member.shape) != 1 or not member.shape[0]:
            found = f"{member.dtype} of shape {member.shape}"
            raise DataError(f"{path}, array 'offsets' is {found}; it must be int64 (n + 1,)")
        offsets = member.read_all().astype(np.int64)
    if offsets[0] < 0 or offsets[-1] > size or (np.diff(offsets) < 0).any():
        raise DataError(f"{path}, array 'offsets' must rise from 0 to at most {size}, the size of 'jpeg'")
    return offsets


def _read_labels(archive: zipfile.ZipFile, path: Path, names: list[str], count: int) -> npt.NDArray[np.int64] | None:
    """The class of each image, int64 (count,), or None if the file has no labels."""
    array = next((name for name in LABEL_NAMES if name in names), None)
    if array is None:
        return None
    with open_member(archive, path, array) as member:
        if member.dtype.kind not in "iu" or member.shape not in ((count,), (count, 1)):
            found = f"{member.dtype} of shape {member.shape}"
            raise DataError(f"{path}, array {array!r} is {found}; labels are {count} integers, one an image")
        labels = member.read_all().astype(np.int64).reshape(count)
    if count and labels.min() < 0:
        raise DataError(f"{path}, array {array!r}: label {labels.min()} of sample {labels.argmin()} is negative")
    return labels

"""A folder of image files: all in one place, or one sub-folder a class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit.data.class_file import find_class_file, read_class_ids
from edgekit.data.decode import decode_image
from edgekit.data.preprocess import Preprocessing
from edgekit.data.samples import PassLog, Sample, select_evenly
from edgekit.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
MAX_FILE_BYTES = 2**28


class ImageFolder:
    """Image files of one folder, sorted by name.

    With sub-folders that hold images, each is a class: its row in the class file where that lists all of them, else its
    place among the sorted names. Without, a file `<id>_<anything>.jpg` has the class of `<id>` in the class file, and
    other files have none. The class file is `classes`, or one that lies beside the folder (see `find_class_file`).
    Raises DataError for a folder without images, with images both in it and in sub-folders, or that `classes` does
    not fit.
    """

    def __init__(self, path: Path, classes: Path | None = None) -> None:
        self.path = path
        self._log = PassLog()
        own = _image_names(path)
        groups = {folder.name: _image_names(folder) for folder in _sub_folders(path)}
        in_groups = any(groups.values())
        if own and in_groups:
            raise DataError(f"{path} holds images and also folders of images; give the one or the other")
        if not own and not in_groups:
            raise DataError(f"no images in {path} nor in its sub-folders; known are {' '.join(sorted(SUFFIXES))}")
        class_file = classes if classes is not None else find_class_file(path)
        ids = read_class_ids(class_file) if class_file is not None else {}
        if own:
            self._entries = [(name, ids.get(_class_id(name))) for name in own]
        else:
            labels = _group_labels(list(groups), ids, path, classes)
            self._entries = [(f"{group}/{name}", labels[group]) for group, names in groups.items() for name in names]
        if classes is not None and all(label is None for _, label in self._entries):
            raise DataError(
                f"no image in {path} is named after a class of {classes}, as in {next(iter(ids))}_photo.jpg"
            )

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def skipped(self) -> list[str]:
        """`name: reason` of each file that the latest pass could not use."""
        return self._log.skipped

    def __len__(self) -> int:
        """Number of image files, damaged ones included."""
        return len(self._entries)

    def describe(self) -> dict[str, Any]:
        """Kind, path, number of files, and what the latest pass used (see `Source.describe`)."""
        return {"kind": "image folder", "path": str(self.path), "count": len(self), **self._log.describe()}

    def samples(self, preprocessing: Preprocessing, limit: int | None = None) -> Iterator[Sample]:
        """Stream the images, or `limit` of them spread evenly; damaged ones are skipped and counted.

        Raises DataError for a limit below 1 and, at the end, if not one image could be read.
        """
        chosen = select_evenly(len(self), limit)
        self._log = PassLog()
        return self._stream(preprocessing, chosen, self._log)

    def _stream(self, preprocessing: Preprocessing, chosen: list[int], log: PassLog) -> Iterator[Sample]:
        for index in chosen:
            name, label = self._entries[index]
            try:
                data = _read_bytes(self.path / name)
                array = preprocessing.apply(decode_image(data))
            except DataError as error:
                log.skip(name, str(error))
                continue
            log.use(name, data)
            yield Sample(array, label, name)
        log.require_some(str(self.path))


def _image_names(folder: Path) -> list[str]:
    """Names of the image files right in `folder`, sorted; hidden files are left out."""
    return sorted(entry.name for entry in _entries(folder) if entry.suffix.lower() in SUFFIXES)


def _sub_folders(folder: Path) -> list[Path]:
    return sorted((entry for entry in _entries(folder) if entry.is_dir()), key=lambda entry: entry.name)


def _entries(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"folder {folder} cannot be listed ({error.strerror})") from error


def _class_id(name: str) -> str:
    """`n01440764` of `n01440764_tench.jpg`."""
    return Path(name).stem.split("_", 1)[0]


def _group_labels(names: list[str], ids: dict[str, int], path: Path, classes: Path | None) -> dict[str, int]:
    """Class index of each sub-folder, given the sorted names."""
    unlisted = next((name for name in names if name not in ids), None)
    if unlisted is None:
        return {name: ids[name] for name in names}
    if classes is not None:
        raise DataError(
            f"sub-folder {unlisted!r} of {path} is no class of {classes}; add its row or leave the file out"
        )
    return {name: index for index, name in enumerate(names)}


def _read_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise DataError("not a file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from error

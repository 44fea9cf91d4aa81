"""Class files: one row `<id> <label>` a class; the row's number is the class index."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import DataError


def read_class_ids(path: Path) -> dict[str, int]:
    """Class index of each id (the first word of each row), e.g. `{"n01440764": 0, ...}`.

    Raises DataError where the file cannot be read, has no rows, an empty row, or an id twice.
    """
    try:
        rows = path.read_text("utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"class file {path} cannot be read as text ({type(error).__name__})") from error
    if not rows:
        raise DataError(f"class file {path} is empty; it needs a row `<id> <label>` a class")
    ids: dict[str, int] = {}
    for index, row in enumerate(rows):
        words = row.split(maxsplit=1)
        if not words:
            raise DataError(f"class file {path}: row {index + 1} is empty, which would shift every class after it")
        if words[0] in ids:
            raise DataError(f"class file {path}: row {index + 1} repeats {words[0]!r} of row {ids[words[0]] + 1}")
        ids[words[0]] = index
    return ids


def find_class_file(folder: Path) -> Path | None:
    """The class file beside a folder of images: `<folder>_classes.txt`, `imagenet_classes.txt` or `classes.txt`."""
    folder = folder.resolve()
    names = (f"{folder.name}_classes.txt", "imagenet_classes.txt", "classes.txt")
    return next((folder.parent / name for name in names if (folder.parent / name).is_file()), None)

"""From what the user typed to a source of images."""

from __future__ import annotations

from pathlib import Path

from edgekit.data.image_folder import ImageFolder
from edgekit.data.npz import NpzSource
from edgekit.data.samples import Source
from edgekit.data.synthetic import SyntheticSource
from edgekit.errors import DataError

KINDS = "a folder of images, an .npz file, `synthetic` or `synthetic:SEED`"


def open_source(spec: str | Path, *, classes: Path | None = None) -> Source:
    """The source that `spec` names: a folder of images, an `.npz` file, `synthetic` or `synthetic:SEED`.

    `classes` is a class file for a folder (see `ImageFolder`). Raises DataError for everything else, and where the
    source's own constructor does.
    """
    word, colon, seed = spec.partition(":") if isinstance(spec, str) else ("", "", "")
    if word == "synthetic":
        _refuse_classes(classes, "synthetic images")
        return SyntheticSource(_read_seed(spec, seed) if colon else 0)
    path = Path(spec)
    if path.is_dir():
        return ImageFolder(path, classes)
    if not path.exists():
        raise DataError(f"{path} does not exist; data is {KINDS}")
    if path.suffix.lower() != ".npz":
        raise DataError(f"{path} is no .npz file; data is {KINDS}")
    _refuse_classes(classes, "an .npz file")
    return NpzSource(path)


def _read_seed(spec: str | Path, seed: str) -> int:
    if not (seed.isascii() and seed.isdigit()):
        raise DataError(f"{spec}: the seed must be a whole number, as in synthetic:7")
    return int(seed)


def _refuse_classes(classes: Path | None, what: str) -> None:
    if classes is not None:
        raise DataError(f"class file {classes} is for a folder of images; {what} cannot use it")

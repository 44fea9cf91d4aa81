"""Images for an exported file: its own metadata says how they are normalized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekit.data.preprocess import Preprocessing
from edgekit.data.samples import Sample
from edgekit.data.sources import open_source
from edgekit.errors import DataError, ImportFileError
from edgekit.pipeline.model import default_preset, preset
from edgekit.pipeline.reading import reading, warn_of_skipped
from edgekit.pipeline.reporter import Reporter
from edgekit.runtime.session import Session, file_format


def read_file_metadata(path: Path) -> Mapping[str, Any] | None:
    """What edgekit wrote into a .tflite or .onnx file about itself; None for other people's files.

    Raises ImportFileError for a file that is missing, damaged or neither.
    """
    read = _read_tflite if file_format(path) == "tflite" else _read_onnx
    try:
        return read(path.read_bytes())
    except ImportFileError as problem:
        raise ImportFileError(f"{path}: {problem}") from problem


def _read_tflite(data: bytes) -> Mapping[str, Any] | None:
    from edgekit.export.tflite_metadata import read_edgekit_metadata

    return read_edgekit_metadata(data)


def _read_onnx(data: bytes) -> Mapping[str, Any] | None:
    from edgekit.export.onnx import read_edgekit_metadata

    return read_edgekit_metadata(data)


def file_preprocessing(path: Path, named: str | None, reporter: Reporter) -> Preprocessing:
    """The named preset, or what the file says, or the usual one with a warning; sized as the file's input."""
    with Session.open(path) as session:
        shape = session.inputs[0].nhwc_shape
    if len(shape) != 4:
        raise DataError(f"{path} takes an input of shape {shape}, not images")
    metadata = None if named else read_file_metadata(path)
    if metadata is not None and "preprocessing" in metadata:
        return Preprocessing.from_metadata(metadata["preprocessing"])
    if named is None:
        named = default_preset(shape[3])
        reporter.warn(f"{path.name} does not say how its images are normalized: taken as --preprocessing {named}")
    return preset(named, shape[1], shape[2], shape[3])


@contextmanager
def file_samples(
    paths: Sequence[str], data: str, limit: int | None, class_file: Path | None, named: str | None, reporter: Reporter
) -> Iterator[Iterator[Sample]]:
    """Samples of a data source, preprocessed for the first of `paths`; the others must be made for the same images.

    Raises DataError where another file says that it takes images normalized or sized in another way.
    """
    source = open_source(data, classes=class_file)
    first, *others = map(Path, paths)
    preprocessing = file_preprocessing(first, named, reporter)
    if named is None:
        for other in others:
            _require_same(other, preprocessing, first)
    with reading(source, preprocessing, limit, "running", reporter) as samples:
        yield samples
    warn_of_skipped(source, reporter)


def _require_same(path: Path, expected: Preprocessing, first: Path) -> None:
    told = (read_file_metadata(path) or {}).get("preprocessing")
    if told is not None and Preprocessing.from_metadata(told) != expected:
        raise DataError(
            f"{path} takes images prepared in another way than {first} (`edgekit inspect` shows both); "
            "run them one by one, or name one way with --preprocessing"
        )

"""Images for an exported file: its own metadata says how they are normalized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekit.data.preprocess import Preprocessing
from edgekit.data.samples import Sample
from edgekit.data.sources import open_source
from edgekit.errors import DataError, ImportFileError
from edgekit.pipeline.model import default_preset, preset
from edgekit.pipeline.reporter import Reporter
from edgekit.runtime.session import Session, file_format


def read_file_metadata(path: Path) -> Mapping[str, Any] | None:
    """What edgekit wrote into a .tflite or .onnx file about itself; None for other people's files."""
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise ImportFileError(f"{path} cannot be read: {problem.strerror}") from None
    if file_format(data) == "tflite":
        from edgekit.export.tflite_metadata import read_edgekit_metadata as read_tflite

        return read_tflite(data)
    from edgekit.export.onnx import read_edgekit_metadata as read_onnx

    return read_onnx(data)


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


def file_samples(
    path: str, data: str, limit: int | None, class_file: Path | None, named: str | None, reporter: Reporter
) -> Iterator[Sample]:
    """Samples of a data source, preprocessed for the file at `path`."""
    source = open_source(data, classes=class_file)
    preprocessing = file_preprocessing(Path(path), named, reporter)
    total = len(source) if limit is None else min(limit, len(source))
    return reporter.track(source.samples(preprocessing, limit), "running", total)

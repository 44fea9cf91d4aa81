"""Weights that an ONNX file keeps in another file beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from edgekit.errors import ImportFileError


def load_external_data(tensors: Iterable[Any], folder: Path | None, source: str) -> list[Path]:
    """Put the bytes of externally stored TensorProtos into them; return the files read, in order of first use.

    Raises ImportFileError for a file that is missing, too short or outside `folder`, or when `folder` is None (bytes
    have no place on disk).
    """
    files: dict[Path, None] = {}
    for tensor in tensors:
        if tensor.data_location != tensor.EXTERNAL:
            continue
        facts = {str(entry.key): str(entry.value) for entry in tensor.external_data}
        path = _locate(facts.get("location", ""), folder, source)
        tensor.raw_data = _read_part(path, facts, f"{source}: weights {tensor.name!r}")
        tensor.data_location = tensor.DEFAULT
        files[path] = None
    return list(files)


def _locate(location: str, folder: Path | None, source: str) -> Path:
    if folder is None:
        raise ImportFileError(f"{source}: its weights lie in another file, {location!r}: give the path, not the bytes")
    names = (PurePosixPath(location), PureWindowsPath(location))
    if not location or any(n.is_absolute() or n.drive or ".." in n.parts for n in names) or "\0" in location:
        raise ImportFileError(f"{source}: refuses weights outside its own folder ({location!r})")
    path = folder / location
    if not path.is_file():
        raise ImportFileError(f"{source}: its weights file {location!r} is missing: put it beside the .onnx file")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ImportFileError(f"{source}: refuses weights outside its own folder ({location!r} is a link)")
    return path


def _read_part(path: Path, facts: dict[str, str], where: str) -> bytes:
    try:
        offset, length = int(facts.get("offset") or 0), int(facts.get("length") or -1)
    except ValueError:
        raise ImportFileError(f"{where}: offset or length in {path.name} is no number; the file is damaged") from None
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if length < 0:
                length = size - offset
            if offset < 0 or length < 0 or offset + length > size:
                raise ImportFileError(f"{where} ends behind the end of {path.name}: the file is truncated or another's")
            file.seek(offset)
            return file.read(length)
    except OSError as problem:
        raise ImportFileError(f"{where}: cannot read {path.name}: {problem.strerror}") from None

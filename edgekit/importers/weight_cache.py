"""Published weights on disk: fetched once, and checked against their hash every time."""

from __future__ import annotations

import os
from pathlib import Path

from edgekit.errors import WeightsError
from edgekit.importers.download import download_weights
from edgekit.importers.published_row import FileHash, PublishedWeights

CACHE_VARIABLE = "EDGEKIT_CACHE"
MIRROR_VARIABLE = "EDGEKIT_WEIGHTS_URL"


def cache_folder(given: Path | None = None) -> Path:
    """Where downloads are kept: `given`, else $EDGEKIT_CACHE, else the platform's folder for caches."""
    if given is not None:
        return given
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    import pooch

    return Path(pooch.os_cache("edgekit"))


def download_url(row: PublishedWeights) -> str:
    """The row's URL, or the same file name under $EDGEKIT_WEIGHTS_URL (a mirror: one flat folder)."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    return f"{mirror.rstrip('/')}/{row.file_name}" if mirror else row.url


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    return FileHash("sha256", "0" * 64).of(path)


def fetch_weights(row: PublishedWeights, folder: Path) -> Path:
    """Path of the row's file in the cache `folder`, downloaded where it is missing or damaged.

    Its hash lies beside it and is checked at each use; a file put there by hand is trusted the first time.
    Raises WeightsError where the file can neither be found nor downloaded.
    """
    path = folder / row.file_name
    state = "not in the cache"
    try:
        if path.is_file():
            if _is_intact(path, row.file_hash):
                return path
            state = "damaged in the cache (its hash has changed)"
        _note_path(path).unlink(missing_ok=True)
    except OSError as problem:
        raise WeightsError(
            f"cannot read the cache {path} ({problem.strerror}); mend it or set {CACHE_VARIABLE}"
        ) from problem
    try:
        digest = download_weights(download_url(row), path, file_hash=row.file_hash)
    except WeightsError as problem:
        remedy = f"put the file into {folder}, or use --weights PATH or none"
        raise WeightsError(f"{row.file_name} is {state} and cannot be downloaded: {problem}; {remedy}") from problem
    _write_note(path, digest)
    return path


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _write_note(path: Path, digest: str) -> None:
    """Keep the hash; a cache that cannot be written (read-only, put there by somebody else) is used without."""
    try:
        _note_path(path).write_text(f"{digest}  {path.name}\n", encoding="ascii")
    except OSError:
        return


def _is_intact(path: Path, published: FileHash | None) -> bool:
    if published is not None:
        return published.of(path) == published.digits
    digest, note = file_sha256(path), _note_path(path)
    if note.is_file():
        return note.read_text(encoding="ascii", errors="replace").split()[:1] == [digest]
    _write_note(path, digest)
    return True

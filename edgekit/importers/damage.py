"""One line for what h5py, zipfile and numpy raise over damaged files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from edgekit.errors import WeightsError

DAMAGE = (
    OSError,
    KeyError,
    RuntimeError,
    ValueError,
    TypeError,
    EOFError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def damage_named(where: str) -> Iterator[None]:
    """Turn a reader's error into WeightsError: what `where` is, and the reader's reason in one line."""
    try:
        yield
    except DAMAGE as problem:
        raise WeightsError(f"{where} is damaged or cut short ({reason(problem)}); fetch or write it anew") from problem


def reason(problem: BaseException) -> str:
    """What an exception says, in one line."""
    return " ".join(str(problem).split())[:160] or type(problem).__name__

"""What every source of images shares: the sample, the protocol, the choice of samples and the record of a pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgekit.data.preprocess import Preprocessing
from edgekit.errors import DataError

FloatArray = npt.NDArray[np.float32]

NAMES_KEPT = 20
"""How many skipped inputs a description names; all of them are counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One preprocessed picture: float32 (1, height, width, channels), its class (None where unknown) and its name."""

    array: FloatArray
    label: int | None
    name: str


class Source(Protocol):
    """Pictures that can be streamed any number of times, always in the same order."""

    @property
    def name(self) -> str:
        """A short name for tables and messages."""

    @property
    def skipped(self) -> list[str]:
        """`name: reason` of each input that the latest pass could not use, up to where it has come."""

    def describe(self) -> dict[str, Any]:
        """Where the pictures come from, JSON-able: kind, path or seed, count, and what the latest pass used.

        `sha256` covers the names and bytes of the inputs used so far, in order; None before the first one.
        """

    def __len__(self) -> int:
        """How many inputs there are, damaged ones included."""

    def samples(self, preprocessing: Preprocessing, limit: int | None = None) -> Iterator[Sample]:
        """Start a pass over all inputs, or over `limit` of them spread evenly; one picture in memory at a time.

        Raises DataError where the limit is below 1, the inputs cannot be what the network takes, or none is usable.
        """


class PassLog:
    """What one pass over a source has read: how many inputs it used, their hash, and which it skipped and why."""

    def __init__(self) -> None:
        self.used = 0
        self.skipped: list[str] = []
        self._hash = hashlib.sha256()

    def use(self, name: str, data: bytes | memoryview) -> None:
        """Record an input that became a sample."""
        encoded = name.encode("utf-8", "surrogateescape")
        self._hash.update(len(encoded).to_bytes(8, "little") + encoded)
        self._hash.update(len(data).to_bytes(8, "little"))
        self._hash.update(data)
        self.used += 1

    def skip(self, name: str, reason: str) -> None:
        """Record an input that could not be used."""
        self.skipped.append(f"{name}: {reason}")

    def require_some(self, where: str) -> None:
        """Raise DataError if the pass ended without a single sample."""
        if not self.used:
            tried = len(self.skipped)
            raise DataError(f"{where}: none of {tried} images can be read; the first: {self.skipped[0]}")

    def describe(self) -> dict[str, Any]:
        """The record as JSON-able values."""
        return {
            "used": self.used,
            "skipped": len(self.skipped),
            "skipped_first": self.skipped[:NAMES_KEPT],
            "sha256": self._hash.hexdigest() if self.used else None,
        }


def check_limit(limit: int | None) -> None:
    """Raise DataError for a number of samples below 1."""
    if limit is not None and limit < 1:
        raise DataError(f"a limit of {limit} samples leaves nothing to read; give at least 1")


def select_evenly(count: int, limit: int | None) -> list[int]:
    """Increasing indices of `limit` of `count` inputs, spread evenly from the first to the last; without a limit, all.

    Raises DataError for a limit below 1.
    """
    check_limit(limit)
    if limit is None or limit >= count:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, limit).round()]

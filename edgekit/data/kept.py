"""A source that decodes a small set of images once, however often it is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgekit.data.preprocess import Preprocessing
from edgekit.data.samples import Sample, Source

KEPT_BYTES = 64_000_000
"""A set that fits stays in memory; of a larger one nothing is kept, so memory does not grow with it."""


class KeptSource:
    """Another source's samples, kept after a whole pass if they are few, and replayed for the same settings."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._settings: tuple[Preprocessing, int | None] | None = None
        self._kept: tuple[Sample, ...] = ()

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    @property
    def skipped(self) -> list[str]:
        """What the latest pass that read the source skipped."""
        return self._source.skipped

    def describe(self) -> dict[str, Any]:
        """The source's own description."""
        return self._source.describe()

    def __len__(self) -> int:
        return len(self._source)

    def samples(self, preprocessing: Preprocessing, limit: int | None = None) -> Iterator[Sample]:
        """The source's samples. Raises what the source raises."""
        if self._settings == (preprocessing, limit):
            return iter(self._kept)
        return self._read(self._source.samples(preprocessing, limit), (preprocessing, limit))

    def _read(self, samples: Iterator[Sample], settings: tuple[Preprocessing, int | None]) -> Iterator[Sample]:
        kept: list[Sample] = []
        room = KEPT_BYTES
        for sample in samples:
            room -= sample.array.nbytes
            if room >= 0:
                kept.append(sample)
            else:
                kept.clear()
            yield sample
        if room >= 0:
            self._settings, self._kept = settings, tuple(kept)

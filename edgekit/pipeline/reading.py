"""Images for a job: read ahead, with progress shown, and nothing left running when the job ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager

from edgekit.data.prefetch import AHEAD, Prefetch
from edgekit.data.preprocess import Preprocessing
from edgekit.data.samples import Sample, Source
from edgekit.pipeline.reporter import Reporter

AHEAD_BYTES = 2**25
"""Images that wait to be used may take this much: on an idle processor they are made while the runtime is loaded."""


@contextmanager
def reading(
    source: Source, preprocessing: Preprocessing, limit: int | None, title: str, reporter: Reporter
) -> Iterator[Iterator[Sample]]:
    """Samples of a source, at most `limit`, read ahead from the block's beginning on.

    The thread and the progress bar end with the block, whatever happens.
    """
    total = len(source) if limit is None else min(limit, len(source))
    image_bytes = 4 * math.prod(preprocessing.input_shape)
    with (
        Prefetch(source.samples(preprocessing, limit), max(AHEAD, AHEAD_BYTES // image_bytes)) as ahead,
        closing(reporter.track(ahead, title, total)) as samples,
    ):
        yield samples


def warn_of_skipped(source: Source, reporter: Reporter) -> None:
    """Say how many images the latest pass over the source could not use."""
    count = len(source.skipped)
    if count:
        images = "1 image" if count == 1 else f"{count} images"
        reporter.warn(f"{images} could not be read and {'was' if count == 1 else 'were'} skipped: {source.skipped[0]}")

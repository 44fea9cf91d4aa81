"""Images for a job: read ahead, with progress shown, and nothing left running when the job ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from edgekit.data.prefetch import prefetch
from edgekit.data.preprocess import Preprocessing
from edgekit.data.samples import Sample, Source
from edgekit.pipeline.reporter import Reporter


@contextmanager
def reading(
    source: Source, preprocessing: Preprocessing, limit: int | None, title: str, reporter: Reporter
) -> Iterator[Iterator[Sample]]:
    """Samples of a source, at most `limit`; the thread and the progress bar end with the block, whatever happens."""
    total = len(source) if limit is None else min(limit, len(source))
    with (
        closing(prefetch(source.samples(preprocessing, limit))) as ahead,
        closing(reporter.track(ahead, title, total)) as samples,
    ):
        yield samples


def warn_of_skipped(source: Source, reporter: Reporter) -> None:
    """Say how many images the latest pass over the source could not use."""
    count = len(source.skipped)
    if count:
        images = "1 image" if count == 1 else f"{count} images"
        reporter.warn(f"{images} could not be read and {'was' if count == 1 else 'were'} skipped: {source.skipped[0]}")

"""Images for a job: everything ends with the block."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TypeVar

import pytest
from command_line import write_photos

from edgekit.data.preprocess import UNIT
from edgekit.data.sources import open_source
from edgekit.pipeline.deflate import deflated_size
from edgekit.pipeline.reading import reading, warn_of_skipped
from edgekit.pipeline.reporter import SilentReporter

T = TypeVar("T")


class Bar(SilentReporter):
    """Notes when the bar is opened and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def track(self, items: Iterable[T], title: str, total: int) -> Generator[T, None, None]:
        self.events.append(f"{title} {total}")
        try:
            yield from items
        finally:
            self.events.append("closed")


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "edgekit-prefetch"]


def test_samples_come_and_all_is_closed_behind(tmp_path: Path) -> None:
    bar = Bar()
    source = open_source(write_photos(tmp_path / "photos", 5))
    with reading(source, UNIT.with_size(8, 8), 3, "looking", bar) as samples:
        found = [sample.name for sample in samples]
    assert found == ["000.png", "002.png", "004.png"]
    assert bar.events == ["looking 3", "closed"]
    assert threads() == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_bar_and_thread_end_before_an_error_goes_on(tmp_path: Path, error: type[BaseException]) -> None:
    bar = Bar()
    source = open_source(write_photos(tmp_path / "photos", 9))
    with pytest.raises(error), reading(source, UNIT.with_size(8, 8), None, "looking", bar) as samples:  # noqa: PT012 - the error is raised in the block
        next(samples)
        assert bar.events == ["looking 9"]
        raise error
    assert bar.events == ["looking 9", "closed"]
    assert threads() == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (0, None),
        (1, "1 image could not be read and was skipped: 000.png"),
        (2, "2 images could not be read and were skipped: 000.png"),
    ],
)
def test_skipped_images_are_told(tmp_path: Path, bad: int, words: str | None) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    for i in range(bad):
        (photos / f"{i:03}.png").write_bytes(b"none")
    source, reporter = open_source(photos), SilentReporter()
    with reading(source, UNIT.with_size(8, 8), None, "looking", reporter) as samples:
        assert len(list(samples)) == 3 - bad
    warn_of_skipped(source, reporter)
    assert [w.partition(": no picture")[0] for w in reporter.warnings] == ([words] if words else [])


def test_deflated_size_is_that_of_a_zip() -> None:
    assert deflated_size(b"") == 2
    assert deflated_size(b"a" * 10_000) < 60

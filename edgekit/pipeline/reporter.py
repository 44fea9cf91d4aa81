"""How a job tells what it does; the command line draws it, a library caller may ignore it."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Reporter(Protocol):
    """Receives a job's messages."""

    def step(self, title: str, text: str) -> None:
        """Say that a step is done, in one line."""

    def warn(self, text: str) -> None:
        """Say something that the user must not miss."""

    def track(self, items: Iterable[T], title: str, total: int) -> Generator[T, None, None]:
        """Hand `items` on while showing progress, until they end or the generator is closed."""


class SilentReporter:
    """Keeps the warnings and shows nothing."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def step(self, title: str, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Keep the warning."""
        self.warnings.append(text)

    def track(self, items: Iterable[T], title: str, total: int) -> Generator[T, None, None]:
        """The items as they are."""
        yield from items

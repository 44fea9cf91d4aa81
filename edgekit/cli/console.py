"""What commands print: tables on standard output, progress and warnings on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

T = TypeVar("T")

PIPE_WIDTH = 1000
"""Columns where standard output is no terminal: tables are never cut there."""

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class ConsoleReporter:
    """Shows a job's steps, warnings and progress on standard error."""

    def step(self, title: str, text: str) -> None:
        """One line a step."""
        err.print(f"[bold]{title:<12}[/bold]{_plain(text)}")

    def warn(self, text: str) -> None:
        """In a colour that is seen."""
        err.print(f"[bold yellow]{'warning':<12}[/bold yellow][yellow]{_plain(text)}[/yellow]")

    def track(self, items: Iterable[T], title: str, total: int) -> Iterator[T]:
        """A bar that goes away when it is full; none where standard error is no terminal."""
        columns = (
            TextColumn(f"{title:<11}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
            task = progress.add_task(title, total=total)
            for item in items:
                yield item
                progress.advance(task)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(document, indent=2))


def print_table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; the first column is text, the others are numbers. Cells that do not fit a terminal are wrapped."""
    table = Table(
        title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0)
    )
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    out.print(table)


def size_text(size: int) -> str:
    """Bytes as people say them (1 MB = 1,000,000 bytes)."""
    if size >= 1_000_000:
        return f"{size / 1e6:.2f} MB"
    return f"{size / 1e3:.1f} kB" if size >= 1000 else f"{size} B"


def _plain(text: str) -> str:
    return text.replace("[", "\\[")

"""What commands print: tables on standard output, progress and warnings on standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Generator, Iterable, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

T = TypeVar("T")

PIPE_WIDTH = 1000
"""Columns where standard output is no terminal: tables are never cut there."""

# No markup and no emoji codes: what is printed holds file names, which may well contain [brackets] and :colons:.
out = Console(
    markup=False, emoji=False, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH
)
err = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)


class ConsoleReporter:
    """Shows a job's steps, warnings and progress on standard error."""

    def step(self, title: str, text: str) -> None:
        """One line a step."""
        err.print(Text.assemble((f"{title:<12}", "bold"), text))

    def warn(self, text: str) -> None:
        """In a colour that is seen."""
        err.print(Text.assemble((f"{'warning':<12}", "bold yellow"), (text, "yellow")))

    def track(self, items: Iterable[T], title: str, total: int) -> Generator[T, None, None]:
        """A bar that goes away when it is full or closed; none where standard error is no terminal."""
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
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], text: Collection[str] = ()) -> None:
    """A table; the first column and those named in `text` are text, the others numbers.

    Where they do not fit a terminal, texts and headings are wrapped and numbers stay whole.
    """
    cells = [tuple(row) for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for position, column in enumerate(columns):
        if position == 0 or column in text:
            table.add_column(column, overflow="fold")
        else:
            width = max((len(row[position]) for row in cells), default=0)
            table.add_column(column, justify="right", overflow="fold", min_width=width)
    for row in cells:
        table.add_row(*row)
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as captured:  # a file or the next program gets no blanks up to the width of the table
        out.print(table)
    out.print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def size_text(size: int) -> str:
    """Bytes as people say them (1 MB = 1,000,000 bytes)."""
    if size >= 1_000_000:
        return f"{size / 1e6:.2f} MB"
    return f"{size / 1e3:.1f} kB" if size >= 1000 else f"{size} B"


def share_text(share: float, decimals: int = 1) -> str:
    """A share of 0 to 1 in percent, rounded down: only what is whole reads 100 %."""
    steps = 10**decimals
    return f"{math.floor(share * 100 * steps + 1e-6) / steps:.{decimals}f}%"

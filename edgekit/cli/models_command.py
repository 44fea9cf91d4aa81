"""`edgekit models`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import json_option
from edgekit.errors import ModelError

if TYPE_CHECKING:
    from edgekit.zoo.rows import ModelRow


@click.command(name="models")
@click.argument("words", metavar="[WORD]...", nargs=-1)
@json_option
def command(words: tuple[str, ...], as_json: bool) -> None:
    """List the zoo: variants, parameters, MACs, and what the sources print of size and accuracy.

    With WORDs, only models whose name or paper holds one of them: `edgekit models shufflenet igcv3`.
    """
    from edgekit.cli.console import out, print_json
    from edgekit.zoo.rows import model_rows

    rows = [row for row in model_rows() if not words or any(_matches(row, word) for word in words)]
    if not rows:
        raise ModelError(f"no model is called like {' or '.join(words)}; `edgekit models` lists all")
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    for model in dict.fromkeys(row.model for row in rows):
        _print_model([row for row in rows if row.model == model])
    if any(row.published.hypothesis for row in rows):
        out.print("H: a hypothesis. The sources do not settle the structure, ours is one reading of them.")
    out.print(
        "parameters and M MACs are ours; `printed`: what the source prints of them, in millions; top-1, top-5 in %"
    )


def _matches(row: ModelRow, word: str) -> bool:
    wanted = word.lower().replace("-", "_")
    return wanted in row.model or word.lower() in row.paper.lower()


def _print_model(rows: Sequence[ModelRow]) -> None:
    """The model's name and summary, one row a variant, and the sources that the rows refer to by letter."""
    from edgekit.cli.console import out, print_table
    from edgekit.zoo.registry import model_spec

    spec = model_spec(rows[0].model)
    sources = {source: _letters(i) for i, source in enumerate(dict.fromkeys(row.published.source for row in rows))}
    defaults = {option.name: option.default for option in spec.options}
    out.print(f"{spec.name}: {spec.summary}", style="bold")
    print_table(
        ["variant", "parameters", "printed", "M MACs", "printed", "top-1", "top-5", "source"],
        [
            (
                " ".join(_option(k, v) for k, v in row.published.options.items() if v != defaults[k]) or "(defaults)",
                f"{row.parameters:,}",
                _number(row.published.parameters_millions),
                f"{row.macs / 1e6:,.1f}",
                _number(row.published.macs_millions),
                _percent(row.published.top1_percent),
                _percent(row.published.top5_percent),
                f"{sources[row.published.source]}{' H' if row.published.hypothesis else ''}",
            )
            for row in rows
        ],
        text=("source",),
    )
    for source, letter in sources.items():
        out.print(f"{letter}: {source}")
    out.print()


def _letters(position: int) -> str:
    return chr(ord("a") + position) if position < 26 else f"a{position}"


def _option(name: str, value: int | float | str) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"--{name.replace('_', '-')}={text}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"

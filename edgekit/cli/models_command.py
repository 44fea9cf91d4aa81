"""`edgekit models`."""

from __future__ import annotations

import click

from edgekit.cli.options import json_option


@click.command(name="models")
@json_option
def command(as_json: bool) -> None:
    """List the zoo: variants, parameters, MACs, and what the sources print of size and accuracy."""
    from edgekit.cli.console import print_json, print_table
    from edgekit.zoo.rows import model_rows

    rows = model_rows()
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    columns = ["model", "options", "parameters", "M MACs", "top-1", "top-5", "source"]
    print_table(
        columns,
        [
            (
                row.model,
                " ".join(_option(name, value) for name, value in row.published.options.items()),
                f"{row.parameters:,}",
                f"{row.macs / 1e6:,.1f}",
                _percent(row.published.top1_percent),
                _percent(row.published.top5_percent),
                f"{row.published.source}{' (hypothesis)' if row.published.hypothesis else ''}",
            )
            for row in rows
        ],
        text=("options", "source"),
    )


def _option(name: str, value: int | float | str) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"--{name.replace('_', '-')} {text}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"

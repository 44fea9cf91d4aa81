"""`edgekit decompress`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import json_option


@click.command(name="decompress")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(("tflite", "onnx")), help="Which file, where there is a choice.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to (default: beside FILE, under its first name).")
@json_option
def command(file: Path, to: str | None, out: Path | None, as_json: bool) -> None:
    """Restore the .tflite or .onnx file (or whatever file it was) from the container FILE (.ekz)."""
    from edgekit.cli.console import out as console
    from edgekit.cli.console import print_json, size_text
    from edgekit.pipeline.container_file import decompress

    target = decompress(file, to, out)
    if as_json:
        print_json({"path": str(target), "bytes": target.stat().st_size})
        return
    console.print(f"wrote {target}, {size_text(target.stat().st_size)}", soft_wrap=True, highlight=False)

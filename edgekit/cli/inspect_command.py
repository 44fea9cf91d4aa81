"""`edgekit inspect`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import json_option

if TYPE_CHECKING:
    from edgekit.pipeline.inspect_container import ContainerDescription
    from edgekit.pipeline.inspect_file import FileDescription
    from edgekit.runtime.io_spec import IoSpec


@click.command(name="inspect")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def command(file: Path, as_json: bool) -> None:
    """Show what is inside FILE (.tflite, .onnx or .ekz).

    Of a model file: inputs, outputs, ops, sizes, how it was made. Of a container: each tensor's sparsity, bits, coded
    bytes and ratio.
    """
    from edgekit.cli.console import print_json
    from edgekit.pipeline.inspect_container import inspect_container, is_container
    from edgekit.pipeline.inspect_file import inspect_file

    if is_container(file):
        container = inspect_container(file)
        if as_json:
            print_json(container.to_json())
        else:
            _print_container(container)
        return

    description = inspect_file(file)
    if as_json:
        print_json(description.to_json())
        return
    _print(description)


def _print(description: FileDescription) -> None:
    from edgekit.cli.console import out, print_table, size_text

    rows = [
        ("format", description.format),
        ("runtime", description.runtime),
        ("size", size_text(description.file_bytes)),
        ("zipped", size_text(description.zipped_bytes)),
    ]
    rows += [(f"input {io.name}", _io_text(io)) for io in description.inputs]
    rows += [(f"output {io.name}", _io_text(io)) for io in description.outputs]
    if description.coverage is not None:
        coverage = description.coverage
        rows.append(("XNNPACK", f"takes {coverage.delegated} of {coverage.total} ops"))
    print_table([str(description.path), ""], rows, text=("",))
    out.print()
    print_table(["op", "count"], [(op, str(count)) for op, count in description.ops.items()])
    if description.metadata:
        out.print()
        print_table(["made by edgekit", ""], _metadata_rows(description.metadata), text=("",))


def _print_container(container: ContainerDescription) -> None:
    from edgekit.cli.console import out, print_table, share_text, size_text

    sizes = container.sizes
    rows = [
        ("holds", ", ".join([*container.files, *(["a graph"] if container.nodes else [])])),
        ("file" if container.files else "float weights", size_text(sizes.file_bytes)),
        *([("zipped", size_text(sizes.zipped_bytes))] if container.files else []),
        (".ekz", size_text(sizes.ekz_bytes)),
        ("weights in memory", size_text(sizes.memory_bytes)),
        ("beside AlexNet's 240 MB", f"{sizes.under_alexnet:,.0f}x smaller"),
    ]
    print_table([str(container.path), ""], rows, text=("",))
    out.print()
    columns = ["tensor", "shape", "dtype", "zeros", "values", "bits", "bytes", "coded", "ratio", "method"]
    cells = [
        (
            *(row.name, "x".join(map(str, row.shape)) or "scalar", row.dtype, share_text(row.sparsity)),
            *(str(row.distinct), str(row.bits), f"{row.nbytes:,}", f"{row.coded_bytes:,.0f}"),
            *(f"{row.ratio:.2f}", row.method),
        )
        for row in container.rows
    ]
    cells.append(("all else", "", "", "", "", "", "", f"{container.rest_bytes:,}", "", ""))
    print_table(columns, cells, text=("shape", "dtype", "method"))


def _io_text(spec: IoSpec) -> str:
    shape = "x".join(str(d) for d in spec.shape)
    quantized = "" if spec.scale is None else f", scale {spec.scale:.6g}, zero point {spec.zero_point}"
    return f"{spec.dtype} {shape}{quantized}"


def _metadata_rows(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One row a key, and one a step; the labels are only counted."""
    rows = []
    for key, value in sorted(metadata.items()):
        if key == "steps":
            rows += [(f"step {s['step']}", _words({k: v for k, v in s.items() if k != "step"})) for s in value]
        elif key == "labels":
            rows.append((key, f"{len(value)}, from {value[0]!r} to {value[-1]!r}"))
        else:
            rows.append((key, _words(value)))
    return rows


def _words(value: Any) -> str:
    """Nested values without the brackets and quotes of the JSON that they come from."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(part)}" for key, part in value.items())
    if isinstance(value, list):
        return " ".join(_words(part) for part in value) or "none"
    return "none" if value is None else str(value)

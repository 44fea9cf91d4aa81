"""What exported files are called: exports that differ in an option lie side by side in one folder."""

from __future__ import annotations

from typing import Literal

from edgekit.graph.ir import Graph

Precision = Literal["float32", "float16", "int8"]
SUFFIXES: dict[Precision, str] = {"float32": "fp32", "float16": "fp16", "int8": "int8"}


def export_stem(
    graph: Graph,
    precision: Precision,
    *,
    io: str = "int8",
    fuse: bool = True,
    sized: bool = False,
    device: str | None = None,
) -> str:
    """The graph's name, the precision, and what is not the default: `lenet5_28_12classes_int8_uint8io_unfused`.

    io: inputs and outputs of int8 files; the others have float ones anyway. sized: the input's size was an option of a
    model whose name does not tell it. device: the one whose prices fusion went by.
    """
    ends = f"{io}io" if precision == "int8" and io != "int8" else ""
    size = "x".join(map(str, graph.shape(graph.inputs[0])[1:3])) if sized else ""
    parts = (graph.name, size, _classes(graph), SUFFIXES[precision], ends, "" if fuse else "unfused", device or "")
    return "_".join(part for part in parts if part)


def _classes(graph: Graph) -> str:
    """The number of classes of a zoo model that has not its usual one: the names of graphs leave it out."""
    from edgekit.zoo.registry import model_spec

    model = graph.metadata.get("model", {})
    if "classes" not in model:  # an imported file
        return ""
    usual = next(option.default for option in model_spec(model["name"]).options if option.name == "classes")
    return f"{model['classes']}classes" if model["classes"] != usual else ""

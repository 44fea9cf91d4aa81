"""Padding nodes into the padding of the windows that read them."""

from __future__ import annotations

import math
from dataclasses import replace

from edgekit.errors import ShapeError
from edgekit.graph import Graph, Node
from edgekit.graph.ops import infer_shapes
from edgekit.graph.signs import is_non_negative
from edgekit.passes.refusals import refuse
from edgekit.passes.rewriting import rewrite_each


def fold_padding(graph: Graph) -> int:
    """Fold each pad of H and W into all of its readers, where every one can take it exactly; return how many.

    conv2d takes zeros. max_pool takes what never wins: minus infinity, or 0 and less around an input that is known to
    hold nothing negative. avg_pool takes none, for it does not count its padding.
    """
    return rewrite_each(graph, ("pad",), _fold)


def _fold(graph: Graph, pad: Node) -> bool:
    readers = graph.consumers(pad.output)
    reason = _blocked(graph, pad, readers)
    if reason:
        refuse(pad, reason)
        return False
    for reader in readers:
        merged = replace(_with_padding(reader, pad), inputs=(pad.inputs[0], *reader.inputs[1:]))
        graph.replace_node(reader, merged)
    graph.remove_node(pad)
    return True


def _blocked(graph: Graph, pad: Node, readers: tuple[Node, ...]) -> str | None:
    """Why this pad must stay; None if it need not."""
    before, after = pad.attrs["before"], pad.attrs["after"]
    if len(before) != 4 or any((before[0], after[0], before[3], after[3])):
        return f"pads other axes than H and W: {before}, {after}"
    if pad.output in graph.outputs:
        return f"{pad.output!r} is a graph output"
    reasons = (_refusal(graph, pad, reader) for reader in readers)
    return next((r for r in reasons if r is not None), None) if readers else "nobody reads it"


def _refusal(graph: Graph, pad: Node, reader: Node) -> str | None:
    """Why `reader` cannot take the padding; None if it can."""
    value = pad.attrs["value"]
    if reader.op == "avg_pool":
        return f"{reader.name} (avg_pool) does not count its own padding"
    if reader.op not in ("conv2d", "max_pool"):
        return f"{reader.name} ({reader.op}) has no padding"
    if pad.output in reader.inputs[1:]:
        return f"{reader.name} reads it as weights"
    if reader.op == "conv2d":
        return None if value == 0 else f"{reader.name} pads with 0, not {value:g}"
    if not (value == -math.inf or (value <= 0 and is_non_negative(graph, pad.inputs[0]))):
        return f"{pad.inputs[0]!r} may be negative, so that padding with {value:g} can win in {reader.name}"
    try:
        infer_shapes("max_pool", [graph.shape(pad.inputs[0])], _with_padding(reader, pad).attrs)
    except ShapeError as problem:
        return f"{reader.name}: {problem}"
    return None


def _with_padding(reader: Node, pad: Node) -> Node:
    (_, top, left, _), (_, bottom, right, _) = pad.attrs["before"], pad.attrs["after"]
    own = reader.attrs["padding"]
    return reader.with_attrs(padding=tuple(a + b for a, b in zip(own, (top, bottom, left, right), strict=True)))

"""Which tensors can hold no negative value."""

from __future__ import annotations

from edgekit.graph.ir import Graph, Node
from edgekit.graph.ops import op_spec

_NEVER_NEGATIVE = ("relu", "relu6", "sigmoid", "hard_sigmoid", "softmax")
_KEEPS_SIGN = ("max_pool", "avg_pool", "global_avg_pool", "dropout")
_ARITHMETIC = ("add", "mul")


def is_non_negative(graph: Graph, name: str) -> bool:
    """Whether every element of tensor `name` is known to be at least 0 (False where it is not known)."""
    known = {t.name: bool((t.array >= 0).all()) for t in graph.constants()}
    for node in graph.nodes:
        result = _makes_non_negative(node, [known.get(i, False) for i in node.inputs])
        known.update(dict.fromkeys(node.outputs, result))
        if name in node.outputs:
            break
    return known.get(name, False)


def _makes_non_negative(node: Node, inputs: list[bool]) -> bool:
    if node.op in _NEVER_NEGATIVE or node.attrs.get("activation", "none") != "none":
        return True
    if node.op == "pad" and node.attrs["value"] < 0:
        return False
    inherits = node.op in (*_KEEPS_SIGN, *_ARITHMETIC) or op_spec(node.op).moves_data
    return inherits and all(inputs)

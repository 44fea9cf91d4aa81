"""Layer names from ONNX names: the weights' name, the node's or the output's, whichever a person would know."""

from __future__ import annotations

import re

from edgekit.importers.onnx_model import OnnxNode

_WEIGHT_ENDINGS = (".weight", ".kernel", "/kernel", "/depthwise_kernel", ".gamma", "/gamma")
_GENERATED = re.compile(r"(n\d+|node_.*)?")
"""PyTorch's dynamo exporter makes up node names; its output names are better."""


def layer_name(node: OnnxNode, graph_outputs: frozenset[str]) -> str:
    """A name for the layer that a node becomes (not yet unique).

    A node that makes a graph output bears its name; weights `features.0.weight` make the layer `features.0`; the node
    `/features/0/Conv` makes `features/0`.
    """
    leaving = [o for o in node.outputs if o in graph_outputs and not o.isdigit()]
    if leaving:
        return clean(leaving[0])
    for name in node.inputs[1:2]:
        ending = next((e for e in _WEIGHT_ENDINGS if name.endswith(e) and len(name) > len(e)), None)
        if ending and "::" not in name:
            return clean(name[: -len(ending)])
    if _GENERATED.fullmatch(node.name):
        output = next((o for o in node.outputs if o), "")
        return clean(output) if output and not output.isdigit() else f"{node.op}_{output}".rstrip("_")
    return _without_op(clean(node.name), node.op)


def clean(name: str) -> str:
    """Without a leading slash and TensorFlow's output number; control characters and blanks become `_`."""
    plain = re.sub(r"[\x00-\x20\x7f]+", "_", re.sub(r":\d+$", "", name)).strip("/")
    return plain or "unnamed"


def _without_op(name: str, op: str) -> str:
    head, _, tail = name.rpartition("/")
    return head if head and re.fullmatch(rf"{re.escape(op)}(_\d+)?", tail) else name

"""A stable text form of a graph, for golden tests, diffs and `edgekit inspect`."""

from __future__ import annotations

import hashlib
from typing import Any

from edgekit.graph.ir import Graph, Node, Tensor
from edgekit.graph.ops import Required, op_spec


def graph_text(graph: Graph, *, weights: bool = True) -> str:
    """One line a node, in order; with `weights`, constants carry the first hex digits of their sha256.

    Attributes at their default are left out. Equal graphs give equal text on every machine.
    """
    lines = [f"graph {graph.name}"]
    lines += [f"  input {_tensor_text(graph.tensor(name), weights)}" for name in graph.inputs]
    lines += [f"  {_node_text(graph, node, weights)}" for node in graph.nodes]
    lines += [f"  output {name}" for name in graph.outputs]
    return "\n".join(lines) + "\n"


def form_text(graph: Graph, node: Node) -> str:
    """A node's window, stride, dilation and groups, in short: `3x3/2 g8`, `dw` for depthwise; empty without these."""
    attrs = node.attrs
    convolves = node.op == "conv2d"
    window = graph.shape(node.inputs[1])[:2] if convolves else attrs.get("kernel")
    words = []
    if window is not None:
        strides = dict.fromkeys(attrs["strides"])
        words.append(f"{window[0]}x{window[1]}" + (f"/{'x'.join(map(str, strides))}" if max(strides) > 1 else ""))
    if max(attrs.get("dilation", (1,))) > 1:
        words.append(f"d{'x'.join(map(str, dict.fromkeys(attrs['dilation'])))}")
    if attrs.get("groups", 1) > 1:
        depthwise = convolves and attrs["groups"] == graph.shape(node.inputs[0])[3]
        words.append("dw" if depthwise else f"g{attrs['groups']}")
    return " ".join(words)


def _node_text(graph: Graph, node: Node, weights: bool) -> str:
    results = ", ".join(_tensor_text(graph.tensor(name), weights) for name in node.outputs)
    inputs = ", ".join(
        _tensor_text(graph.tensor(name), weights) if graph.tensor(name).is_constant else name for name in node.inputs
    )
    defaults = op_spec(node.op).attrs
    changed = {k: v for k, v in sorted(node.attrs.items()) if isinstance(defaults[k], Required) or v != defaults[k]}
    attrs = "".join(f" {key}={_value_text(value)}" for key, value in changed.items())
    return f"{results} = {node.op}({inputs}){attrs}"


def _tensor_text(tensor: Tensor, weights: bool) -> str:
    text = f"{tensor.name}: {tensor.dtype}[{'x'.join(map(str, tensor.shape))}]"
    if tensor.quant is not None:
        scales = tensor.quant.scale
        scale = f"{scales[0]:.9g}" if len(scales) == 1 else f"{len(scales)} scales on axis {tensor.quant.axis}"
        text += f" q({scale}, {tensor.quant.zero_point[0]})"
    if tensor.is_constant and weights:
        text += f" #{hashlib.sha256(tensor.array.tobytes()).hexdigest()[:8]}"
    return text


def _value_text(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ",".join(_value_text(v) for v in value) + ")"
    return f"{value:.9g}" if isinstance(value, float) else str(value)

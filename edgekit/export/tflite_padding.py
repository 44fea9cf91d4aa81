"""Explicit padding in a format that knows only SAME and VALID: the exact name where there is one, else a PAD before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgekit.export.tflite_model import TfliteModel
from edgekit.graph.builder import same_padding
from edgekit.graph.ir import Graph, Node
from edgekit.graph.ops import OPS, conv_output_size

Padding = tuple[int, int, int, int]

NON_NEGATIVE = frozenset({"relu", "relu6", "sigmoid", "softmax", "hard_sigmoid"})
MOVES_DATA = frozenset(row.name for row in OPS.values() if row.moves_data)
KEEPS_SIGN = MOVES_DATA | {"max_pool", "avg_pool", "global_avg_pool", "quantize", "dequantize"}
"""Ops whose outputs are non-negative where all inputs are."""


def used_padding(shape: Sequence[int], kernel: Sequence[int], attrs: Mapping[str, Any]) -> Padding:
    """The node's padding without the rows and columns at the end that no window reaches."""
    top, bottom, left, right = attrs["padding"]
    pairs = []
    for axis, (before, after) in enumerate(((top, bottom), (left, right))):
        size, stride = shape[axis + 1], attrs["strides"][axis]
        dilation = attrs.get("dilation", (1, 1))[axis]
        out = conv_output_size(size, kernel[axis], stride, before, after, dilation)
        reached = (out - 1) * stride + (kernel[axis] - 1) * dilation + 1
        pairs.append((before, max(reached - size - before, 0)))
    return (*pairs[0], *pairs[1])


def padding_name(shape: Sequence[int], kernel: Sequence[int], attrs: Mapping[str, Any]) -> str | None:
    """VALID or SAME where TFLite's rule of that name does exactly what the padding says; else None."""
    used = used_padding(shape, kernel, attrs)
    if not any(used):
        return "VALID"
    dilation = attrs.get("dilation", (1, 1))
    same = [same_padding(shape[a + 1], kernel[a], attrs["strides"][a], dilation[a]) for a in (0, 1)]
    return "SAME" if used == (*same[0], *same[1]) else None


def is_non_negative(graph: Graph, name: str) -> bool:
    """Whether a tensor certainly holds no negative numbers, by its zero point or by the ops that lead to it.

    The zero point does not always tell: a ReLU's output may share a scale with tensors that do hold some.
    """
    tensor = graph.tensor(name)
    quant = tensor.quant
    if quant is not None and quant.zero_point[0] == np.iinfo(tensor.dtype).min:
        return True
    node = graph.producer(name)
    if node is None:
        return tensor.is_constant and bool((tensor.array >= (quant.zero_point[0] if quant else 0)).all())
    if node.op in NON_NEGATIVE or node.attrs.get("activation", "none") != "none":
        return True
    keeps_sign = node.op in KEEPS_SIGN and node.attrs.get("value", 0.0) >= 0
    return keeps_sign and all(is_non_negative(graph, source) for source in node.inputs)


def add_spatial_pad(model: TfliteModel, node: Node, padding: Padding) -> int:
    """Append a PAD with zeros around H and W of the node's first input; return the padded tensor's index."""
    shape, paddings = _padded(model, node, padding)
    out = model.between(f"{node.name}/pad", shape, model.graph.tensor(node.inputs[0]))
    model.add("PAD", [model.tensor(node.inputs[0]), paddings], [out], "PadOptions")
    return out


def add_lowest_pad(model: TfliteModel, node: Node, padding: Padding) -> int:
    """Append a PADV2 with the lowest value that the dtype has; return the padded tensor's index."""
    source = model.graph.tensor(node.inputs[0])
    dtype = np.dtype(source.dtype)
    lowest = np.finfo(dtype).min if dtype.kind == "f" else np.iinfo(dtype).min
    shape, paddings = _padded(model, node, padding)
    value = model.new_constant(f"{node.name}/lowest", np.asarray(lowest, dtype), source.quant)
    out = model.between(f"{node.name}/pad", shape, source)
    model.add("PADV2", [model.tensor(node.inputs[0]), paddings, value], [out], "PadV2Options")
    return out


def _padded(model: TfliteModel, node: Node, padding: Padding) -> tuple[tuple[int, ...], int]:
    """Shape of the padded input, and the index of the constant that says how much is added where."""
    n, height, width, channels = model.graph.shape(node.inputs[0])
    top, bottom, left, right = padding
    widths = ((0, 0), (top, bottom), (left, right), (0, 0))
    return (n, height + top + bottom, width + left + right, channels), model.integers(f"{node.name}/paddings", widths)

"""Puts together what exporters took apart: hard-sigmoid, hard-swish, swish, biases, pools, broadcasts, splits."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgekit.graph.ir import Graph, Node, Tensor
from edgekit.graph.ops import complete_attrs
from edgekit.importers.onnx_slices import join_slices

HARD_SIGMOID = {"slope": 1 / 6, "offset": 0.5}


def near_sixth(slope: float) -> float:
    """1/6 where a file's float32 means it."""
    return 1 / 6 if math.isclose(slope, 1 / 6, rel_tol=1e-6) else slope


def recognise_patterns(graph: Graph) -> int:
    """Rewrite every pattern in place; return how many. Nodes left without readers are dropped."""
    count = 0
    for rule in RULES:
        count += sum(rule(graph, node) for node in graph.nodes)
    graph.drop_unused()
    return count + join_slices(graph)


def _hard_sigmoid(graph: Graph, node: Node) -> bool:
    """relu6(x + 3) / 6."""
    inner = _scaled(graph, node, 1 / 6)
    base = _relu6_of_plus_three(graph, inner) if inner else None
    return base is not None and _instead(graph, node, "hard_sigmoid", base, **HARD_SIGMOID)


def _shifted_gate(graph: Graph, node: Node) -> bool:
    """hard_sigmoid of x * a, or of x + b: a clip to 0..1 of what a hard sigmoid is made of."""
    if node.op != "hard_sigmoid":
        return False
    inner = graph.producer(node.inputs[0])
    constant, x = _constant_and_other(graph, inner) if inner else (None, "")
    if inner is None or constant is None or constant.size != 1 or inner.op not in ("add", "mul"):
        return False
    number, slope, offset = float(constant.array.reshape(())), node.attrs["slope"], node.attrs["offset"]
    if inner.attrs["activation"] != "none" or graph.shape(x) != graph.shape(node.output):
        return False
    if inner.op == "add":
        return _instead(graph, node, "hard_sigmoid", x, slope=slope, offset=offset + slope * number)
    if number <= 0:
        return False
    return _instead(graph, node, "hard_sigmoid", x, slope=near_sixth(slope * number), offset=offset)


def _scaled_hard_swish(graph: Graph, node: Node) -> bool:
    """(x * relu6(x + 3)) / 6."""
    inner = _scaled(graph, node, 1 / 6)
    product = graph.producer(inner) if inner else None
    if product is None or product.op != "mul" or product.attrs["activation"] != "none":
        return False
    for x, gate in (product.inputs, product.inputs[::-1]):
        if _relu6_of_plus_three(graph, gate) == x:
            return _instead(graph, node, "hard_swish", x)
    return False


def _hard_swish_of_sixth(graph: Graph, node: Node) -> bool:
    """(x / 6) * relu6(x + 3)."""
    if node.op != "mul" or node.attrs["activation"] != "none":
        return False
    for sixth, gate in (node.inputs, node.inputs[::-1]):
        producer, x = graph.producer(sixth), _relu6_of_plus_three(graph, gate)
        if producer and x and _scaled(graph, producer, 1 / 6) == x:
            return _instead(graph, node, "hard_swish", x)
    return False


def _hard_swish(graph: Graph, node: Node) -> bool:
    """x * hard_sigmoid(x)."""
    return _gated(graph, node, "hard_sigmoid", "hard_swish", HARD_SIGMOID)


def _swish(graph: Graph, node: Node) -> bool:
    """x * sigmoid(x)."""
    return _gated(graph, node, "sigmoid", "swish", {})


def _gated(graph: Graph, node: Node, gate: str, result: str, attrs: dict[str, float]) -> bool:
    if node.op != "mul" or node.attrs["activation"] != "none":
        return False
    for x, other in (node.inputs, node.inputs[::-1]):
        producer = graph.producer(other)
        if producer and producer.op == gate and producer.inputs == (x,) and dict(producer.attrs) == attrs:
            return _instead(graph, node, result, x)
    return False


def _bias(graph: Graph, node: Node) -> bool:
    """A per-channel constant added to a convolution or dense layer that has no bias and no other reader."""
    constant, x = _constant_and_other(graph, node)
    if node.op != "add" or constant is None:
        return False
    layer = graph.producer(x)
    if layer is None or layer.op not in ("conv2d", "dense") or len(layer.inputs) != 2:
        return False
    if constant.shape != graph.shape(x)[-1:] or graph.only_consumer(x) != node:
        return False
    name = graph.unique_name(f"{layer.name}/bias")
    graph.add_tensor(Tensor.constant(name, constant.array))
    graph.replace_uses(node.output, layer.output)
    graph.remove_node(node)
    graph.replace_node(layer, Node(layer.name, layer.op, (*layer.inputs, name), layer.outputs, layer.attrs))
    return True


def _pooled_vector(graph: Graph, node: Node) -> bool:
    """A global pool that keeps its axes, only to be reshaped to (N, C)."""
    pool = graph.producer(node.inputs[0]) if node.op == "reshape" else None
    if pool is None or pool.op != "global_avg_pool" or not pool.attrs["keep_dims"]:
        return False
    n, _, _, c = graph.shape(pool.output)
    if node.attrs["shape"] != (n, c) or graph.only_consumer(pool.output) != node:
        return False
    graph.set_tensor(Tensor(pool.output, (n, c)))
    graph.replace_uses(node.output, pool.output)
    graph.remove_node(node)
    graph.replace_node(pool, pool.with_attrs(keep_dims=False))
    return True


def _twice_clipped(graph: Graph, node: Node) -> bool:
    """relu6 of relu, or relu of relu6: how Min and Max write relu6."""
    inner = graph.producer(node.inputs[0])
    if inner is None or {node.op, inner.op} != {"relu", "relu6"}:
        return False
    return _instead(graph, node, "relu6", inner.inputs[0])


def _broadcast(graph: Graph, node: Node) -> bool:
    """A sum or product with an activation that was expanded first (a product with ones), which broadcasts by itself."""
    if node.op not in ("add", "mul"):
        return False
    for position, name in enumerate(node.inputs):
        product, other = graph.producer(name), graph.tensor(node.inputs[1 - position])
        if product is None or product.op != "mul" or product.attrs["activation"] != "none" or other.is_constant:
            continue
        ones, x = _constant_and_other(graph, product)
        if ones is None or other.shape != graph.shape(name) or len(graph.shape(x)) != len(other.shape):
            continue
        if (ones.array == 1).all():
            inputs = tuple(x if i == position else n for i, n in enumerate(node.inputs))
            graph.replace_node(node, Node(node.name, node.op, inputs, node.outputs, node.attrs))
            return True
    return False


def _scaled(graph: Graph, node: Node, factor: float) -> str | None:
    """x, if the node is x * factor."""
    return _with_scalar(graph, node, "mul", factor)


def _relu6_of_plus_three(graph: Graph, tensor: str) -> str | None:
    """x, if the tensor is relu6(x + 3)."""
    clipped = graph.producer(tensor)
    if clipped is None or clipped.op != "relu6":
        return None
    shifted = graph.producer(clipped.inputs[0])
    return _with_scalar(graph, shifted, "add", 3.0) if shifted else None


def _with_scalar(graph: Graph, node: Node, op: str, value: float) -> str | None:
    constant, x = _constant_and_other(graph, node)
    if node.op != op or constant is None or constant.size != 1 or node.attrs["activation"] != "none":
        return None
    return x if math.isclose(float(constant.array.reshape(())), value, rel_tol=1e-6) else None


def _constant_and_other(graph: Graph, node: Node) -> tuple[Tensor | None, str]:
    if len(node.inputs) == 2:
        for x, other in (node.inputs, node.inputs[::-1]):
            if graph.tensor(other).is_constant:
                return graph.tensor(other), x
    return None, ""


def _instead(graph: Graph, node: Node, op: str, x: str, **attrs: float) -> bool:
    graph.replace_node(node, Node(node.name, op, (x,), node.outputs, complete_attrs(op, attrs)))
    return True


RULES: tuple[Callable[[Graph, Node], bool], ...] = (
    _twice_clipped,
    _broadcast,
    _hard_sigmoid,
    _shifted_gate,
    _shifted_gate,
    _scaled_hard_swish,
    _hard_swish_of_sixth,
    _hard_swish,
    _swish,
    _bias,
    _pooled_vector,
)
"""In order: later ones see what earlier ones made."""

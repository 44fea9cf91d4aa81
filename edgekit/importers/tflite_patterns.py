"""Puts together what TFLite files take apart: moves of memory, shuffles, dense layers over pixels, counted padding."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgekit.graph.ir import Array, Graph, Node, Tensor
from edgekit.graph.ops import complete_attrs
from edgekit.importers.onnx_patterns import recognise_patterns
from edgekit.importers.onnx_view import NHWC_OF_NCHW, View, last_axis_permutation, split_factors

MOVES = ("reshape", "transpose")
LONGEST_CHAIN = 16
"""A shuffle between layouts takes five moves."""


def recognise_tflite_patterns(graph: Graph) -> int:
    """Rewrite every pattern in place; return how many. Nodes left without readers are dropped."""
    count = sum(_nhwc_input(graph, name) for name in graph.inputs)
    for rule in (_pixel_dense, _moves, _counted_padding, _shifted_hard_sigmoid):
        for stale in graph.nodes:
            node = graph.producer(stale.output)  # as earlier rewrites have left it, if they have
            count += node is not None and rule(graph, node)
        graph.drop_unused()
    return count + recognise_patterns(graph)


def _nhwc_input(graph: Graph, name: str) -> bool:
    """An NCHW input (of a file from PyTorch) that is brought to NHWC by all that reads it becomes NHWC itself."""
    readers, shape = graph.consumers(name), graph.shape(name)
    if len(shape) != 4 or not readers or name in graph.outputs:
        return False
    turned = tuple(shape[axis] for axis in NHWC_OF_NCHW)
    if not all(_turns(node, turned) and node.output not in graph.outputs for node in readers):
        return False
    graph.set_tensor(Tensor(name, turned))
    for node in readers:
        graph.replace_uses(node.output, name)
        graph.remove_node(node)
    return True


def _turns(node: Node, turned: tuple[int, ...]) -> bool:
    """Whether a node brings NCHW to NHWC; of one channel, a reshape does."""
    if node.op == "transpose":
        return tuple(node.attrs["perm"]) == NHWC_OF_NCHW
    return node.op == "reshape" and turned[3] == 1 and tuple(node.attrs["shape"]) == turned


def _pixel_dense(graph: Graph, node: Node) -> bool:
    """A dense layer over the channels of each pixel of an image is a convolution by one pixel."""
    cut = graph.producer(node.inputs[0]) if node.op == "dense" else None
    if cut is None or cut.op != "reshape":
        return False
    shape = graph.shape(cut.inputs[0])
    if len(shape) != 4 or shape[1] * shape[2] == 1 or graph.shape(cut.output) != (math.prod(shape[:3]), shape[3]):
        return False
    kernel = graph.tensor(node.inputs[1])
    name, image = graph.unique_name(f"{node.name}/pixels"), (*shape[:3], kernel.shape[1])
    weights = graph.add_tensor(Tensor.constant(graph.unique_name(f"{name}/kernel"), kernel.array[None, None])).name
    graph.add_tensor(Tensor(name, image))
    inputs = (cut.inputs[0], weights, *node.inputs[2:])
    attrs = complete_attrs("conv2d", {"activation": node.attrs["activation"]})
    back = complete_attrs("reshape", {"shape": graph.shape(node.output)})
    graph.replace_node(
        node, Node(name, "conv2d", inputs, (name,), attrs), Node(node.name, "reshape", (name,), node.outputs, back)
    )
    return True


# -- reshapes and transposes in a row ----------------------------------------------------------------------------------


def _moves(graph: Graph, node: Node) -> bool:
    """Reshapes and transposes in a row that together do nothing, reshape, or move channels alone."""
    is_read = node.output in graph.outputs or any(r.op not in MOVES for r in graph.consumers(node.output))
    if node.op not in MOVES or not is_read:
        return False
    chain = [node]
    while len(chain) < LONGEST_CHAIN:
        before = graph.producer(chain[0].inputs[0])
        if before is None or before.op not in MOVES:
            break
        chain.insert(0, before)
    source = chain[0].inputs[0]
    view = _view_of(graph, source, chain) if len(chain) > 1 else None
    if view is None:
        return False
    order = tuple(range(view.rank))
    if view.is_free(order):
        return _as_reshape(graph, node, source)
    channels = last_axis_permutation(view, graph.shape(source), order)
    if channels is None or graph.shape(source)[-1] != graph.shape(node.output)[-1]:
        return False
    return _as_channel_move(graph, node, source, view, channels)


def _view_of(graph: Graph, source: str, chain: list[Node]) -> View | None:
    """How the chain's result lies in its source; None where the memory cannot be cut that way."""
    shape = graph.shape(source)
    view: View | None = View.of(source, shape, tuple(range(len(shape))))
    for node in chain:
        if view is not None:
            view = view.transpose(node.attrs["perm"]) if node.op == "transpose" else view.reshape(node.attrs["shape"])
    return view


def _as_reshape(graph: Graph, node: Node, source: str) -> bool:
    shape = graph.shape(node.output)
    if shape != graph.shape(source) or node.output in graph.outputs:
        attrs = complete_attrs("reshape", {"shape": shape})
        graph.replace_node(node, Node(node.name, "reshape", (source,), node.outputs, attrs))
    else:
        graph.remove_node(node)
        graph.replace_uses(node.output, source)
    return True


def _as_channel_move(graph: Graph, node: Node, source: str, view: View, channels: tuple[int, ...]) -> bool:
    """A channel shuffle where the channels' factors rotate, a gather where they move otherwise; then a reshape."""
    shape = graph.shape(source)
    factors = split_factors(view.sizes, shape)
    sizes = [view.sizes[f] for f in factors[-1]] if factors else []
    first = channels[0]
    if channels == (*range(first, len(channels)), *range(first)):
        op, attrs = "channel_shuffle", complete_attrs("channel_shuffle", {"groups": math.prod(sizes[:first])})
    else:
        indices = np.arange(shape[-1]).reshape(sizes).transpose(channels).reshape(-1)
        given = {"axis": len(shape) - 1, "indices": tuple(int(i) for i in indices)}
        op, attrs = "gather", complete_attrs("gather", given)
    target = graph.shape(node.output)
    if target == shape:
        graph.replace_node(node, Node(node.name, op, (source,), node.outputs, attrs))
        return True
    name = graph.unique_name(f"{node.name}/{op}")
    graph.add_tensor(Tensor(name, shape))
    last = Node(node.name, "reshape", (name,), node.outputs, complete_attrs("reshape", {"shape": target}))
    graph.replace_node(node, Node(name, op, (source,), (name,), attrs), last)
    return True


# -- arithmetic --------------------------------------------------------------------------------------------------------


def _counted_padding(graph: Graph, node: Node) -> bool:
    """An average over zeros around the image, times window / counted positions: the average that counts no padding."""
    factor = _constant(graph, node, "mul")
    pool = graph.producer(node.inputs[0])
    pad = graph.producer(pool.inputs[0]) if pool is not None and pool.op == "avg_pool" else None
    if factor is None or pool is None or pad is None or pad.op != "pad" or any(pool.attrs["padding"]):
        return False
    (n, top, left, c), (m, bottom, right, d) = pad.attrs["before"], pad.attrs["after"]
    shared = graph.only_consumer(pad.output) != pool or graph.only_consumer(pool.output) != node
    if any((n, m, c, d, pad.attrs["value"])) or shared or node.attrs["activation"] != "none":
        return False
    (kh, kw), (sh, sw) = pool.attrs["kernel"], pool.attrs["strides"]
    _, height, width, _ = graph.shape(pad.inputs[0])
    _, rows, columns, _ = graph.shape(pool.output)
    if (
        factor.shape not in ((rows, columns, 1), (1, rows, columns, 1))
        or max(top, bottom) >= kh
        or max(left, right) >= kw
    ):
        return False
    counts = np.outer(_covered(height, kh, sh, top, rows), _covered(width, kw, sw, left, columns))
    if not counts.all() or not np.allclose(factor.array.reshape(rows, columns) * counts, kh * kw, rtol=1e-5):
        return False
    attrs = {**pool.attrs, "padding": (top, bottom, left, right)}
    graph.replace_node(node, Node(node.name, "avg_pool", (pad.inputs[0],), node.outputs, attrs))
    return True


def _covered(size: int, window: int, stride: int, before: int, count: int) -> Array:
    """How many positions of an axis each of `count` windows covers, padding left out."""
    starts = np.arange(count) * stride - before
    covered: Array = np.minimum(starts + window, size) - np.maximum(starts, 0)
    return covered


def _shifted_hard_sigmoid(graph: Graph, node: Node) -> bool:
    """relu6(layer) / 6, where the + 3 of a hard-sigmoid has gone into the layer's bias: take it out again."""
    sixth = _constant(graph, node, "mul")
    clipped = graph.producer(node.inputs[0])
    layer = graph.producer(clipped.inputs[0]) if clipped is not None and clipped.op == "relu6" else None
    if sixth is None or sixth.size != 1 or clipped is None or layer is None or layer.op not in ("conv2d", "dense"):
        return False
    shared = graph.only_consumer(layer.output) != clipped or graph.only_consumer(clipped.output) != node
    if shared or len(layer.inputs) != 3 or not math.isclose(float(sixth.array.reshape(())), 1 / 6, rel_tol=1e-6):
        return False
    if node.attrs["activation"] != "none" or layer.attrs["activation"] != "none":
        return False
    bias = graph.tensor(layer.inputs[2])
    name = graph.unique_name(f"{layer.name}/bias")
    graph.add_tensor(Tensor.constant(name, bias.array - np.float32(3)))
    graph.replace_node(layer, replace(layer, inputs=(*layer.inputs[:2], name)))
    attrs = complete_attrs("hard_sigmoid", {"slope": 1 / 6, "offset": 0.5})
    graph.replace_node(node, Node(node.name, "hard_sigmoid", (layer.output,), node.outputs, attrs))
    return True


def _constant(graph: Graph, node: Node, op: str) -> Tensor | None:
    """The constant that is a node's second input."""
    found = graph.tensor(node.inputs[1]) if node.op == op else None
    return found if found is not None and found.is_constant else None

"""One row for each op: the Keras layers that a node becomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from edgekit.errors import UnsupportedOpError
from edgekit.graph.builder import same_padding
from edgekit.graph.ir import Graph, Node
from edgekit.graph.signs import is_non_negative
from edgekit.train.keras_layers import Combine, HardSigmoid, Pad, PaddedAveragePool, Slice, Split, Take
from edgekit.train.layer_names import layer_name

Layers = tuple[Any, ...]
"""Applied one after another. The one that bears the node's name has the weights."""

_LAST = {"data_format": "channels_last"}


@dataclass(frozen=True, slots=True)
class Site:
    """A node in its graph. momentum: of a batch norm."""

    graph: Graph
    node: Node
    momentum: float = 0.99

    @property
    def name(self) -> str:
        """The layer's."""
        return layer_name(self.node.name)

    @property
    def activations(self) -> tuple[str, ...]:
        """The inputs that are computed."""
        return tuple(name for name in self.node.inputs if not self.graph.tensor(name).is_constant)

    @property
    def constants(self) -> tuple[str, ...]:
        """The inputs that are weights."""
        return tuple(name for name in self.node.inputs if self.graph.tensor(name).is_constant)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first input that is computed."""
        return self.graph.shape(self.activations[0])

    @property
    def kind(self) -> tuple[Any, ...]:
        """What two nodes must have in common to be one layer, besides weights."""
        return self.node.op, tuple(sorted(self.node.attrs.items())), [self.graph.shape(n) for n in self.activations]

    def attr(self, name: str) -> Any:
        """An attribute of the node."""
        return self.node.attrs[name]

    def helper(self, word: str) -> str:
        """A layer's name that no node's can be."""
        return f"{self.name}->{word}"

    def refuse(self, remedy: str) -> UnsupportedOpError:
        """The error that says why this node is no Keras layer."""
        return UnsupportedOpError(self.node.op, self.node.name, "a Keras model", remedy)


def make_layers(site: Site) -> Layers:
    """The layers of a node. Raises UnsupportedOpError, with the reason, where there are none."""
    op = site.node.op
    tensors = [site.graph.tensor(name) for name in (*site.node.inputs, *site.node.outputs)]
    if op in REFUSED or any(t.quant is not None for t in tensors):
        raise site.refuse(REFUSED.get(op, "the graph is quantized; make the model of the float graph"))
    if not site.activations:
        raise site.refuse("it reads only constants; run the passes on the graph, they compute it")
    if any(site.graph.shape(name)[:1] != site.shape[:1] for name in site.node.outputs):
        raise site.refuse("it changes the batch, which is open in Keras")
    if site.constants and op not in WITH_CONSTANTS:
        raise site.refuse(f"its input {site.constants[0]!r} is a constant")
    return ROWS[op](site)


def _same_or_none(site: Site, kernel: tuple[int, int]) -> str | None:
    """Keras's word for the node's padding: valid or same; None where it is neither."""
    padding, (sh, sw) = tuple(site.attr("padding")), site.attr("strides")
    if not any(padding):
        return "valid"
    dh, dw = site.node.attrs.get("dilation", (1, 1))
    same = (*same_padding(site.shape[1], kernel[0], sh, dh), *same_padding(site.shape[2], kernel[1], sw, dw))
    return "same" if padding == same else None


def _zeros(site: Site) -> Any:
    top, bottom, left, right = site.attr("padding")
    return keras.layers.ZeroPadding2D(((top, bottom), (left, right)), **_LAST, name=site.helper("pad"))


def _conv2d(site: Site) -> Layers:
    kernel = _weights(site)
    kh, kw, per_group, filters = site.graph.shape(kernel)
    (sh, sw), dilation = site.attr("strides"), tuple(site.attr("dilation"))
    if max(sh, sw) > 1 and max(dilation) > 1:
        raise site.refuse("Keras has no dilated convolution with strides")
    word = _same_or_none(site, (kh, kw))
    options = {
        "kernel_size": (kh, kw),
        "strides": (sh, sw),
        "dilation_rate": dilation,
        "padding": word or "valid",
        "use_bias": len(site.constants) == 2,
        "activation": _activation(site),
        "name": site.name,
        **_LAST,
    }
    groups = site.attr("groups")
    if groups > 1 and per_group == 1 and sh == sw:  # TensorFlow's has one stride for both axes
        layer = keras.layers.DepthwiseConv2D(depth_multiplier=filters // groups, **options)
    else:
        layer = keras.layers.Conv2D(filters, groups=groups, **options)
    return (layer,) if word else (_zeros(site), layer)


def _weights(site: Site) -> str:
    """The kernel's name. Raises UnsupportedOpError for weights that are computed."""
    if len(site.activations) != 1:
        raise site.refuse("its weights are computed")
    return site.node.inputs[1]


def _activation(site: Site) -> str | None:
    fused = str(site.attr("activation"))
    return None if fused == "none" else fused


def _dense(site: Site) -> Layers:
    units = site.graph.shape(_weights(site))[1]
    options = {"use_bias": len(site.constants) == 2, "activation": _activation(site)}
    return (keras.layers.Dense(units, **options, name=site.name),)


def _batch_norm(site: Site) -> Layers:
    _weights(site)
    return (
        keras.layers.BatchNormalization(axis=-1, epsilon=site.attr("epsilon"), momentum=site.momentum, name=site.name),
    )


def _combine(op: str, layer: Callable[..., Any]) -> Callable[[Site], Layers]:
    def row(site: Site) -> Layers:
        fused = _activation(site)
        after = (keras.layers.Activation(fused, name=site.helper(fused)),) if fused else ()
        shapes = [site.graph.shape(name) for name in site.node.inputs]
        if site.constants:
            constant = site.graph.shape(site.constants[0])
            if len(constant) > len(site.shape) or (len(constant) == len(site.shape) and constant[0] != 1):
                raise site.refuse(f"its constant of shape {constant} has a batch of its own")
            return (Combine(op, constant, name=site.name), *after)
        if len(shapes[0]) != len(shapes[1]):
            raise site.refuse(f"its inputs {shapes[0]} and {shapes[1]} have not equally many axes")
        return (layer(name=site.name), *after)

    return row


def _max_pool(site: Site) -> Layers:
    kernel = tuple(site.attr("kernel"))
    word = _same_or_none(site, kernel)
    pool = keras.layers.MaxPooling2D(kernel, site.attr("strides"), word or "valid", **_LAST, name=site.name)
    if word:
        return (pool,)
    if is_non_negative(site.graph, site.activations[0]):
        return _zeros(site), pool
    top, bottom, left, right = site.attr("padding")
    lowest = float(np.finfo(np.float32).min)
    return Pad(((top, bottom), (left, right), (0, 0)), lowest, name=site.helper("pad")), pool


def _avg_pool(site: Site) -> Layers:
    kernel, strides = tuple(site.attr("kernel")), tuple(site.attr("strides"))
    word = _same_or_none(site, kernel)
    if word is None or (word == "same" and keras.backend.backend() == "torch"):  # which repeats the borders
        return (PaddedAveragePool(kernel, strides, site.attr("padding"), name=site.name),)
    return (keras.layers.AveragePooling2D(kernel, strides, word, **_LAST, name=site.name),)


def _global_avg_pool(site: Site) -> Layers:
    return (keras.layers.GlobalAveragePooling2D(**_LAST, keepdims=site.attr("keep_dims"), name=site.name),)


def _concat(site: Site) -> Layers:
    if len(site.activations) == 1:
        return (keras.layers.Identity(name=site.name),)
    return (keras.layers.Concatenate(axis=_axis(site), name=site.name),)


def _axis(site: Site) -> int:
    """The node's axis. Raises UnsupportedOpError for the batch."""
    if site.attr("axis") == 0:
        raise site.refuse("it works along the batch, which is open in Keras")
    return int(site.attr("axis"))


def _slice(site: Site) -> Layers:
    begin, end, strides = (site.attr(key) for key in ("begin", "end", "strides"))
    return (Slice(begin[1:], end[1:], strides[1:], name=site.name),)


def _pad(site: Site) -> Layers:
    widths, value = list(zip(site.attr("before"), site.attr("after"), strict=True))[1:], site.attr("value")
    if len(widths) == 3 and widths[2] == (0, 0) and value == 0:
        return (keras.layers.ZeroPadding2D(widths[:2], **_LAST, name=site.name),)
    return (Pad(widths, value, name=site.name),)


def _transpose(site: Site) -> Layers:
    perm = site.attr("perm")
    if perm[0] != 0:
        raise site.refuse("it moves the batch, which is open in Keras")
    return (keras.layers.Permute(tuple(perm[1:]), name=site.name),)


def _channel_shuffle(site: Site) -> Layers:
    """Reshape, permute, reshape, as it is usually written."""
    *_, channels = images = site.shape[1:]
    groups, block = site.attr("groups"), site.attr("block")
    parts = (groups, channels // groups // block, *([block] if block > 1 else []))
    axis = len(images)
    perm = (*range(1, axis), axis + 1, axis, *([axis + 2] if block > 1 else []))
    return (
        keras.layers.Reshape((*images[:-1], *parts), name=site.helper("split")),
        keras.layers.Permute(perm, name=site.helper("swap")),
        keras.layers.Reshape(images, name=site.name),
    )


def _hard_sigmoid(site: Site) -> Layers:
    slope, offset = site.attr("slope"), site.attr("offset")
    if math.isclose(slope, 1 / 6) and offset == 0.5:
        return (keras.layers.Activation("hard_sigmoid", name=site.name),)
    return (HardSigmoid(slope, offset, name=site.name),)


def _activation_row(name: str) -> Callable[[Site], Layers]:
    return lambda site: (keras.layers.Activation(name, name=site.name),)


ROWS: Mapping[str, Callable[[Site], Layers]] = {
    "conv2d": _conv2d,
    "dense": _dense,
    "batch_norm": _batch_norm,
    "relu": lambda site: (keras.layers.ReLU(name=site.name),),
    "relu6": lambda site: (keras.layers.ReLU(6.0, name=site.name),),
    "hard_swish": _activation_row("hard_swish"),
    "swish": _activation_row("silu"),
    "sigmoid": _activation_row("sigmoid"),
    "hard_sigmoid": _hard_sigmoid,
    "softmax": lambda site: (keras.layers.Softmax(axis=-1, name=site.name),),
    "add": _combine("add", keras.layers.Add),
    "mul": _combine("multiply", keras.layers.Multiply),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_avg_pool": _global_avg_pool,
    "concat": _concat,
    "split": lambda site: (Split(site.attr("sizes"), _axis(site), name=site.name),),
    "slice": _slice,
    "gather": lambda site: (Take(site.attr("indices"), _axis(site), name=site.name),),
    "pad": _pad,
    "reshape": lambda site: (keras.layers.Reshape(tuple(site.attr("shape")[1:]), name=site.name),),
    "transpose": _transpose,
    "channel_shuffle": _channel_shuffle,
    "identity": lambda site: (keras.layers.Identity(name=site.name),),
    "dropout": lambda site: (keras.layers.Dropout(site.attr("rate"), name=site.name),),
}
"""By op: the layers of a node."""

REFUSED: Mapping[str, str] = dict.fromkeys(
    ("quantize", "dequantize"), "integers are not trained; make the model of the float graph"
)
"""By op: why it is no layer."""

WITH_CONSTANTS = ("conv2d", "dense", "batch_norm", "add", "mul")
"""Ops whose constants are weights of their layer."""

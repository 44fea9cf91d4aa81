"""Builds graphs op by op: names, shapes, seeded weights."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from edgekit.errors import ModelError, ShapeError
from edgekit.graph.deferred import Deferred
from edgekit.graph.ir import Array, Graph, Node, Tensor
from edgekit.graph.ops import complete_attrs, infer_shapes
from edgekit.graph.validate import validate

Padding = str | int | Sequence[int]
"""'same' or 'valid' as Keras means them, one number for all sides, or (top, bottom, left, right)."""

CLASSIFIER_GAIN = 4.0
"""Random classifiers get logits of about this standard deviation, so that their softmax is not flat."""

RANDOM_BITS = 23
"""Random weights are multiples of bound / 2 ** 23, as many as float32 holds apart."""

RANDOM_PIECE = 2**16
"""How many are drawn at a time: even, and few enough to stay in the processor's cache."""


CORRELATION = 0.3
"""About that of neighbouring inputs of a convolution: what random filters do to them depends on it."""


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """An int for both axes, or (vertical, horizontal)."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Keras's and TFLite's SAME: (before, after), the odd one after."""
    total = max((math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def ceil_padding(size: int, kernel: int, stride: int, pad: int) -> tuple[int, int]:
    """Caffe's ceil mode as explicit padding: (before, after) such that the last, partial window is kept.

    A window that would start in the padding behind the input is dropped, as Caffe and PyTorch do.
    """
    out = math.ceil((size + 2 * pad - kernel) / stride) + 1
    if (out - 1) * stride >= size + pad:
        out -= 1
    return pad, max((out - 1) * stride + kernel - size - pad, 0)


def _uniform(key: tuple[int, int], shape: tuple[int, ...], bound: float) -> Array:
    """float32 numbers in [-bound, bound) from the generator of that key.

    Just what `(2 * generator.random(shape, float32) - 1) * bound` is, but piece by piece and in place: several times as
    fast where there are a hundred million of them.
    """
    generator = np.random.default_rng(key)
    values = np.empty(math.prod(shape), np.float32)
    step = np.float32(bound) * np.float32(2.0**-RANDOM_BITS)
    for start in range(0, values.size, RANDOM_PIECE):
        piece = values[start : start + RANDOM_PIECE]
        draws = generator.integers(0, 2**64 - 1, (piece.size + 1) // 2, np.uint64, endpoint=True)
        bits = draws.astype("<u8", copy=False).view("<u4")[: piece.size] >> np.uint32(31 - RANDOM_BITS)
        np.copyto(piece, bits, casting="unsafe")  # exact: they have 24 bits
        piece -= np.float32(2**RANDOM_BITS)
        piece *= step
    return values.reshape(shape)


def _even(draw: Callable[[], Array], gain: float) -> Array:
    """Filters drawn as (kh, kw, inputs, filters), each scaled so that its output has `gain` times its inputs' variance.

    Sum of k_i x_i, where any two x of variance 1 have correlation r: variance (1 - r) sum(k_i^2) + r sum(k_i)^2.
    """
    kernel = draw().astype(np.float64)
    axes = (0, 1, 2)
    power = (1 - CORRELATION) * (kernel**2).sum(axes) + CORRELATION * kernel.sum(axes) ** 2
    even: Array = (kernel * np.sqrt(gain / power)).astype(np.float32)
    return even


class GraphBuilder:
    """Adds ops to a graph under construction; methods take and return tensor names.

    Shapes are NHWC. Each tensor's weights are drawn from a generator of its own, keyed by `seed` and the tensor's name:
    they do not depend on the order of building. `finish` validates.
    """

    def __init__(self, name: str, input_shape: Sequence[int] | None = None, *, seed: int = 0) -> None:
        self.graph = Graph(name)
        self.seed = seed
        if input_shape is not None:
            self.input("input", input_shape)

    def input(self, name: str, shape: Sequence[int]) -> str:
        """Add a graph input of that shape."""
        self.graph.add_tensor(Tensor(name, tuple(int(d) for d in shape)))
        self.graph.inputs = (*self.graph.inputs, name)
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self.graph.shape(name)

    def channels(self, name: str) -> int:
        """Size of a tensor's last axis."""
        return self.graph.shape(name)[-1]

    def constant(self, name: str, data: Array) -> str:
        """Add a constant; returns its name."""
        return self.graph.add_tensor(Tensor.constant(name, data)).name

    def op(self, op: str, inputs: Sequence[str], attrs: Mapping[str, Any] | None = None, *, name: str) -> str:
        """Add a node with one output, called like the node. Raises GraphError or ShapeError where it does not fit."""
        return self.op_many(op, inputs, attrs or {}, (name,), name=name)[0]

    def op_many(
        self, op: str, inputs: Sequence[str], attrs: Mapping[str, Any], outputs: Sequence[str], *, name: str
    ) -> tuple[str, ...]:
        """Add a node with several outputs."""
        complete = complete_attrs(op, attrs)
        try:
            shapes = infer_shapes(op, [self.graph.shape(i) for i in inputs], complete)
        except ShapeError as problem:
            raise ShapeError(f"node {name!r} ({op}): {problem}") from None
        dtype = self.graph.tensor(inputs[0]).dtype
        for output, shape in zip(outputs, shapes, strict=True):
            self.graph.add_tensor(Tensor(output, shape, dtype))
        self.graph.add_node(Node(name, op, tuple(inputs), tuple(outputs), complete))
        return tuple(outputs)

    # -- weights ---------------------------------------------------------------------------------------------------

    def random(self, name: str, shape: Sequence[int], variance: float, *, even: bool = False) -> str:
        """Add a constant of seeded uniform numbers around 0: no outliers, so int8 loses less than with normal ones.

        even: filters, the last axis, are scaled to have the same effect; few weights make theirs a matter of chance.
        They are drawn when the constant's value is first asked for.
        """
        whole, key = tuple(int(d) for d in shape), (self.seed, zlib.crc32(name.encode()))
        draw = partial(_uniform, key, whole, math.sqrt(3 * variance))
        if even:
            draw = partial(_even, draw, variance * math.prod(whole[:-1]))
        return self.graph.add_tensor(Tensor(name, whole, "float32", Deferred(whole, "float32", draw))).name

    def full(self, name: str, size: int, value: float) -> str:
        """Add a constant vector."""
        return self.constant(name, np.full(size, value, np.float32))

    # -- layers ----------------------------------------------------------------------------------------------------

    def conv2d(
        self,
        x: str,
        filters: int,
        kernel: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: Padding = "same",
        groups: int = 1,
        dilation: int | Sequence[int] = 1,
        bias: bool = False,
        gain: float = 2.0,
        even: bool = False,
        name: str,
    ) -> str:
        """Convolution with random weights of variance gain / fan_in (2 where a ReLU follows, 1 where none does).

        even: see `random`.
        """
        (kh, kw), strides, dilations = pair(kernel), pair(stride), pair(dilation)
        channels = self.channels(x)
        if groups < 1 or channels % groups or filters % groups:
            raise ModelError(
                f"layer {name}: {channels} input and {filters} output channels do not divide into {groups} groups"
            )
        shape = (kh, kw, channels // groups, filters)
        inputs = [x, self.random(f"{name}/kernel", shape, gain / math.prod(shape[:3]), even=even)]
        if bias:
            inputs.append(self.full(f"{name}/bias", filters, 0.0))
        attrs = {
            "strides": strides,
            "padding": self.resolve_padding(x, (kh, kw), strides, padding, dilations),
            "dilation": dilations,
            "groups": groups,
        }
        return self.op("conv2d", inputs, attrs, name=name)

    def depthwise(
        self,
        x: str,
        kernel: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: Padding = "same",
        name: str,
        gain: float = 2.0,
        even: bool = False,
    ) -> str:
        """Depthwise convolution: one filter a channel."""
        c = self.channels(x)
        return self.conv2d(x, c, kernel, stride=stride, padding=padding, groups=c, gain=gain, even=even, name=name)

    def dense(self, x: str, units: int, *, bias: bool = True, gain: float = CLASSIFIER_GAIN**2, name: str) -> str:
        """Fully connected layer with random weights of variance gain / fan_in."""
        fan_in = self.channels(x)
        inputs = [x, self.random(f"{name}/kernel", (fan_in, units), gain / fan_in)]
        if bias:
            inputs.append(self.full(f"{name}/bias", units, 0.0))
        return self.op("dense", inputs, name=name)

    def batch_norm(self, x: str, *, epsilon: float = 1e-3, name: str) -> str:
        """Batch norm with gamma 1, beta 0, mean 0, variance 1."""
        values = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1.0}
        statistics = [self.full(f"{name}/{key}", self.channels(x), value) for key, value in values.items()]
        return self.op("batch_norm", [x, *statistics], {"epsilon": epsilon}, name=name)

    def activation(self, x: str, kind: str, *, name: str) -> str:
        """relu, relu6, hard_swish, swish, sigmoid, hard_sigmoid or softmax."""
        return self.op(kind, [x], name=name)

    def add(self, x: str, y: str, *, name: str) -> str:
        """Broadcasting sum."""
        return self.op("add", [x, y], name=name)

    def mul(self, x: str, y: str, *, name: str) -> str:
        """Broadcasting product."""
        return self.op("mul", [x, y], name=name)

    def concat(self, xs: Sequence[str], *, axis: int = 3, name: str) -> str:
        """Join along an axis."""
        return self.op("concat", xs, {"axis": axis}, name=name)

    def split(self, x: str, sizes: Sequence[int], *, axis: int = 3, name: str) -> tuple[str, ...]:
        """Consecutive pieces of the channels."""
        outputs = [f"{name}/{i}" for i in range(len(sizes))]
        return self.op_many("split", [x], {"axis": axis, "sizes": tuple(sizes)}, outputs, name=name)

    def gather(self, x: str, indices: Sequence[int], *, axis: int = 3, name: str) -> str:
        """Pick channels by index."""
        return self.op("gather", [x], {"axis": axis, "indices": tuple(int(i) for i in indices)}, name=name)

    def channel_shuffle(self, x: str, groups: int, *, name: str) -> str:
        """ShuffleNet's shuffle."""
        return self.op("channel_shuffle", [x], {"groups": groups}, name=name)

    def pool(
        self,
        x: str,
        kind: str,
        kernel: int | Sequence[int],
        *,
        stride: int | Sequence[int],
        padding: Padding = "valid",
        ceil: bool = False,
        name: str,
    ) -> str:
        """`kind`: max_pool or avg_pool (padding not counted). `ceil`: Caffe's mode (padding: one int, or none)."""
        window, strides = pair(kernel), pair(stride)
        if ceil:
            pad = 0 if padding == "valid" else padding
            if not isinstance(pad, int):
                raise ModelError(f"layer {name}: ceil mode takes one number as padding, not {padding!r}")
            _, h, w, _ = self.shape(x)
            vertical = ceil_padding(h, window[0], strides[0], pad)
            explicit = (*vertical, *ceil_padding(w, window[1], strides[1], pad))
        else:
            explicit = self.resolve_padding(x, window, strides, padding, (1, 1))
        return self.op(kind, [x], {"kernel": window, "strides": strides, "padding": explicit}, name=name)

    def global_avg_pool(self, x: str, *, keep_dims: bool = False, name: str) -> str:
        """Mean over H and W."""
        return self.op("global_avg_pool", [x], {"keep_dims": keep_dims}, name=name)

    def pad(self, x: str, padding: Sequence[int], *, name: str) -> str:
        """Zeros around H and W: (top, bottom, left, right)."""
        top, bottom, left, right = padding
        return self.op("pad", [x], {"before": (0, top, left, 0), "after": (0, bottom, right, 0)}, name=name)

    def reshape(self, x: str, shape: Sequence[int], *, name: str) -> str:
        """Same elements, another shape."""
        return self.op("reshape", [x], {"shape": tuple(int(d) for d in shape)}, name=name)

    def transpose(self, x: str, perm: Sequence[int], *, name: str) -> str:
        """Reorder axes."""
        return self.op("transpose", [x], {"perm": tuple(perm)}, name=name)

    def dropout(self, x: str, rate: float, *, name: str) -> str:
        """Dropout: nothing at inference."""
        return self.op("dropout", [x], {"rate": rate}, name=name)

    def finish(self, *outputs: str) -> Graph:
        """Set the outputs, validate, return the graph."""
        self.graph.outputs = outputs
        return validate(self.graph)

    def resolve_padding(
        self, x: str, kernel: Sequence[int], strides: Sequence[int], padding: Padding, dilation: Sequence[int]
    ) -> tuple[int, int, int, int]:
        """Padding in any accepted form as (top, bottom, left, right)."""
        if isinstance(padding, int):
            return (padding,) * 4
        if not isinstance(padding, str):
            top, bottom, left, right = padding
            return (top, bottom, left, right)
        if padding == "valid":
            return (0, 0, 0, 0)
        if padding != "same":
            raise ModelError(f"padding {padding!r} is neither 'same' nor 'valid'")
        _, h, w, _ = self.shape(x)
        vertical = same_padding(h, kernel[0], strides[0], dilation[0])
        return (*vertical, *same_padding(w, kernel[1], strides[1], dilation[1]))

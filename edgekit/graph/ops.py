"""The op table: arity, attributes, shape rule, MAC rule and numpy reference of every op.

Adding an op is one row here and one row in each writer; a test fails where a row is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit.errors import GraphError, ShapeError
from edgekit.graph import kernels
from edgekit.graph.kernels import Kernel

Shape = tuple[int, ...]
Attrs = Mapping[str, Any]
ShapeRule = Callable[[Sequence[Shape], Attrs], list[Shape]]
MacRule = Callable[[Sequence[Shape], Sequence[Shape]], int]

ACTIVATIONS = ("none", "relu", "relu6")


@dataclass(frozen=True, slots=True)
class Required:
    """Marks an attribute without a default; `kind` is the type that it must have."""

    kind: type


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One row of the table.

    inputs: least and greatest number of inputs. attrs: defaults, or `Required`. macs: multiply-adds from input and
    output shapes. same_scale: int8 output has the input's scale by TFLite's rules. fixed_scale: (scale, zero point)
    that TFLite prescribes for the int8 output. moves_data: no arithmetic at all.
    """

    name: str
    inputs: tuple[int, int]
    shape: ShapeRule
    reference: Kernel | None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    macs: MacRule | None = None
    same_scale: bool = False
    fixed_scale: tuple[float, int] | None = None
    moves_data: bool = False


def conv_output_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int = 1) -> int:
    """Output length of a window op along one axis."""
    return (size + before + after - (kernel - 1) * dilation - 1) // stride + 1


def _window_shape(shape: Shape, kernel: Sequence[int], attrs: Attrs, channels: int) -> Shape:
    if len(shape) != 4:
        raise ShapeError(f"needs an input (N, H, W, C), got {shape}")
    _check_window(kernel, attrs)
    top, bottom, left, right = attrs["padding"]
    (sh, sw), (dh, dw) = attrs["strides"], attrs.get("dilation", (1, 1))
    height = conv_output_size(shape[1], kernel[0], sh, top, bottom, dh)
    width = conv_output_size(shape[2], kernel[1], sw, left, right, dw)
    if height < 1 or width < 1:
        raise ShapeError(
            f"window {tuple(kernel)} does not fit into {shape[1]}x{shape[2]} with padding {attrs['padding']}"
        )
    return (shape[0], height, width, channels)


def _check_window(kernel: Sequence[int], attrs: Attrs) -> None:
    """Two sizes, strides and dilations of at least 1; four paddings of at least 0."""
    for name, values, count, least in (
        ("kernel", kernel, 2, 1),
        ("strides", attrs["strides"], 2, 1),
        ("dilation", attrs.get("dilation", (1, 1)), 2, 1),
        ("padding", attrs["padding"], 4, 0),
    ):
        if len(values) != count or min(values) < least:
            raise ShapeError(f"{name} {tuple(values)} must be {count} numbers of at least {least}")


def _conv2d_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    x, kernel = shapes[0], shapes[1]
    if len(x) != 4 or len(kernel) != 4:
        raise ShapeError(f"needs x (N, H, W, C) and a kernel (kh, kw, C / groups, O), got {x} and {kernel}")
    groups = attrs["groups"]
    if groups < 1 or x[3] % groups or kernel[3] % groups or kernel[2] != x[3] // groups:
        raise ShapeError(
            f"{x[3]} input and {kernel[3]} output channels in {groups} groups do not fit a kernel {kernel}"
        )
    _check_bias(shapes, kernel[3])
    return [_window_shape(x, kernel[:2], attrs, kernel[3])]


def _check_bias(shapes: Sequence[Shape], channels: int) -> None:
    if len(shapes) == 3 and shapes[2] != (channels,):
        raise ShapeError(f"bias has shape {shapes[2]}, not {(channels,)}")


def _dense_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    x, kernel = shapes[0], shapes[1]
    if len(x) != 2 or len(kernel) != 2 or x[1] != kernel[0]:
        raise ShapeError(f"needs x (N, in) and a kernel (in, out), got {x} and {kernel}")
    _check_bias(shapes, kernel[1])
    return [(x[0], kernel[1])]


def _batch_norm_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    if any(s != (shapes[0][-1],) for s in shapes[1:]):
        raise ShapeError(f"statistics {list(shapes[1:])} do not fit {shapes[0][-1]} channels")
    return [shapes[0]]


def _same_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    return [shapes[0]]


def _broadcast_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    try:
        return [tuple(int(d) for d in np.broadcast_shapes(*shapes))]
    except ValueError:
        raise ShapeError(f"shapes {shapes[0]} and {shapes[1]} do not broadcast") from None


def _pool_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    out = _window_shape(shapes[0], attrs["kernel"], attrs, shapes[0][-1])
    (kh, kw), (top, bottom, left, right) = attrs["kernel"], attrs["padding"]
    if max(top, bottom) >= kh or max(left, right) >= kw:
        raise ShapeError(f"padding {attrs['padding']} leaves windows {attrs['kernel']} without input")
    return [out]


def _global_pool_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    if len(shapes[0]) != 4:
        raise ShapeError(f"needs an input (N, H, W, C), got {shapes[0]}")
    n, _, _, c = shapes[0]
    return [(n, 1, 1, c) if attrs["keep_dims"] else (n, c)]


def _concat_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    axis, first = check_axis(attrs["axis"], len(shapes[0])), shapes[0]
    for other in shapes[1:]:
        if len(other) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(first, other, strict=True)) if i != axis
        ):
            raise ShapeError(f"cannot concatenate {first} and {other} along axis {axis}")
    return [(*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])]


def check_axis(axis: int, rank: int) -> int:
    """`axis`, if it is a plain axis of a tensor of that rank (never negative)."""
    if not 0 <= axis < rank:
        raise ShapeError(f"axis {axis} is outside a tensor of rank {rank}")
    return axis


def _split_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    x, sizes = shapes[0], attrs["sizes"]
    axis = check_axis(attrs["axis"], len(x))
    if sum(sizes) != x[axis] or min(sizes) < 1:
        raise ShapeError(f"pieces {sizes} do not add up to axis {axis} of {x}")
    return [(*x[:axis], size, *x[axis + 1 :]) for size in sizes]


def _slice_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    x = shapes[0]
    begin, end, strides = attrs["begin"], attrs["end"], attrs["strides"]
    legal = len(begin) == len(end) == len(strides) == len(x) and all(
        0 <= b < e <= n and s >= 1 for b, e, s, n in zip(begin, end, strides, x, strict=True)
    )
    if not legal:
        raise ShapeError(f"slice {begin}..{end} by {strides} is empty or outside {x}")
    return [tuple(math.ceil((e - b) / s) for b, e, s in zip(begin, end, strides, strict=True))]


def _gather_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    x, indices = shapes[0], attrs["indices"]
    axis = check_axis(attrs["axis"], len(x))
    if not indices or min(indices) < 0 or max(indices) >= x[axis]:
        raise ShapeError(f"indices lie outside axis {axis} of {x}")
    return [(*x[:axis], len(indices), *x[axis + 1 :])]


def _pad_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    x, before, after = shapes[0], attrs["before"], attrs["after"]
    if not len(before) == len(after) == len(x) or min(*before, *after) < 0:
        raise ShapeError(f"padding {before}, {after} does not fit {x}")
    return [tuple(n + b + a for n, b, a in zip(x, before, after, strict=True))]


def _reshape_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    if math.prod(attrs["shape"]) != math.prod(shapes[0]):
        raise ShapeError(f"cannot reshape {shapes[0]} to {attrs['shape']}")
    return [tuple(attrs["shape"])]


def _transpose_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    if sorted(attrs["perm"]) != list(range(len(shapes[0]))):
        raise ShapeError(f"{attrs['perm']} is no permutation of the axes of {shapes[0]}")
    return [tuple(shapes[0][p] for p in attrs["perm"])]


def _shuffle_shape(shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    groups, block = attrs["groups"], attrs["block"]
    if min(groups, block) < 1 or shapes[0][-1] % (groups * block):
        blocks = f" of blocks of {block}" if block != 1 else ""
        raise ShapeError(f"{shapes[0][-1]} channels cannot be shuffled in {groups} groups{blocks}")
    return [shapes[0]]


def _conv2d_macs(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    kh, kw, per_group, _ = inputs[1]
    return math.prod(outputs[0]) * kh * kw * per_group


def _dense_macs(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    return math.prod(outputs[0]) * inputs[1][0]


_WINDOW = {"strides": (1, 1), "padding": (0, 0, 0, 0)}
_SIGMOID_SCALE = (1 / 256, -128)


def _moves(name: str, rule: ShapeRule, reference: Kernel, arity: tuple[int, int] = (1, 1), **attrs: Any) -> OpSpec:
    return OpSpec(name, arity, rule, reference, attrs, same_scale=True, moves_data=True)


_ROWS = (
    OpSpec(
        "conv2d",
        (2, 3),
        _conv2d_shape,
        kernels.conv2d,
        {**_WINDOW, "dilation": (1, 1), "groups": 1, "activation": "none"},
        macs=_conv2d_macs,
    ),
    OpSpec("dense", (2, 3), _dense_shape, kernels.dense, {"activation": "none"}, macs=_dense_macs),
    OpSpec("batch_norm", (5, 5), _batch_norm_shape, kernels.batch_norm, {"epsilon": 1e-3}),
    OpSpec("relu", (1, 1), _same_shape, kernels.elementwise(lambda x: np.maximum(x, 0))),
    OpSpec("relu6", (1, 1), _same_shape, kernels.elementwise(lambda x: np.clip(x, 0, 6))),
    OpSpec("hard_swish", (1, 1), _same_shape, kernels.elementwise(lambda x: x * np.clip(x + 3, 0, 6) / 6)),
    OpSpec("swish", (1, 1), _same_shape, kernels.elementwise(lambda x: x * kernels.sigmoid(x))),
    OpSpec("sigmoid", (1, 1), _same_shape, kernels.elementwise(kernels.sigmoid), fixed_scale=_SIGMOID_SCALE),
    OpSpec("hard_sigmoid", (1, 1), _same_shape, kernels.hard_sigmoid, {"slope": 1 / 6, "offset": 0.5}),
    OpSpec("softmax", (1, 1), _same_shape, kernels.softmax, fixed_scale=_SIGMOID_SCALE),
    OpSpec("add", (2, 2), _broadcast_shape, kernels.add, {"activation": "none"}),
    OpSpec("mul", (2, 2), _broadcast_shape, kernels.mul, {"activation": "none"}),
    OpSpec("max_pool", (1, 1), _pool_shape, kernels.max_pool, {"kernel": Required(tuple), **_WINDOW}, same_scale=True),
    OpSpec("avg_pool", (1, 1), _pool_shape, kernels.avg_pool, {"kernel": Required(tuple), **_WINDOW}, same_scale=True),
    OpSpec("global_avg_pool", (1, 1), _global_pool_shape, kernels.global_avg_pool, {"keep_dims": False}),
    _moves("concat", _concat_shape, kernels.concat, (1, 10_000), axis=Required(int)),
    _moves("split", _split_shape, kernels.split, axis=Required(int), sizes=Required(tuple)),
    _moves("slice", _slice_shape, kernels.slice_, begin=Required(tuple), end=Required(tuple), strides=Required(tuple)),
    _moves("gather", _gather_shape, kernels.gather, axis=Required(int), indices=Required(tuple)),
    _moves("pad", _pad_shape, kernels.pad, before=Required(tuple), after=Required(tuple), value=0.0),
    _moves("reshape", _reshape_shape, kernels.reshape, shape=Required(tuple)),
    _moves("transpose", _transpose_shape, kernels.transpose, perm=Required(tuple)),
    _moves("channel_shuffle", _shuffle_shape, kernels.channel_shuffle, groups=Required(int), block=1),
    _moves("identity", _same_shape, kernels.elementwise(lambda x: x)),
    OpSpec("dropout", (1, 1), _same_shape, kernels.elementwise(lambda x: x), {"rate": 0.5}, same_scale=True),
    # Between float and integers, and from one quantization to another; the tensors' QuantParams say which.
    OpSpec("quantize", (1, 1), _same_shape, None),
    OpSpec("dequantize", (1, 1), _same_shape, None),
)

OPS: Mapping[str, OpSpec] = {row.name: row for row in _ROWS}


def op_spec(op: str) -> OpSpec:
    """The table's row of `op`. Raises GraphError where there is none."""
    try:
        return OPS[op]
    except KeyError:
        raise GraphError(f"no op {op!r} in the table") from None


def complete_attrs(op: str, given: Attrs) -> dict[str, Any]:
    """`given` with the table's defaults filled in. Raises GraphError for an unknown, missing or mistyped attribute."""
    spec = op_spec(op)
    unknown = given.keys() - spec.attrs.keys()
    if unknown:
        raise GraphError(f"op {op} has no attribute {sorted(unknown)[0]!r}")
    complete = {}
    for name, default in spec.attrs.items():
        if name not in given and isinstance(default, Required):
            raise GraphError(f"op {op} needs attribute {name!r}")
        value = given.get(name, default)
        kind = default.kind if isinstance(default, Required) else type(default)
        complete[name] = float(value) if kind is float and isinstance(value, int | float | np.floating) else value
        if not isinstance(complete[name], kind) or (kind is int and isinstance(value, bool)):
            raise GraphError(f"attribute {name!r} of op {op} is {value!r}, not {kind.__name__}")
    if complete.get("activation", "none") not in ACTIVATIONS:
        raise GraphError(f"op {op} cannot fuse activation {complete['activation']!r}")
    return complete


def infer_shapes(op: str, shapes: Sequence[Shape], attrs: Attrs) -> list[Shape]:
    """Output shapes. Raises ShapeError where the inputs do not fit the op."""
    spec = op_spec(op)
    if not spec.inputs[0] <= len(shapes) <= spec.inputs[1]:
        raise ShapeError(f"op {op} takes {spec.inputs[0]} to {spec.inputs[1]} inputs, got {len(shapes)}")
    return spec.shape(shapes, attrs)

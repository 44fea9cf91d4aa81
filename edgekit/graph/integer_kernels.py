"""TFLite's int8 arithmetic in numpy: what the runtime's kernels compute, step by step.

The runtime has two sets of kernels. "reference" are TFLite's own: fixed-point factors that round twice, followed bit by
bit. "xnnpack" is the delegate that runs by default on phones and boards: its factors round once. They differ by one
step where the first of the two roundings makes a tie. Ops that XNNPACK leaves to TFLite (relu and relu6 as nodes of
their own, hard_swish, average pools) follow the reference in both.

softmax and sigmoid, which TFLite looks up in tables made with floats, are computed in floats and rounded to the
output's scale: within one step of either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from edgekit.errors import GraphError
from edgekit.graph.fixed_point import (
    activation_range,
    divide_by_power_of_two,
    divided_multiplier,
    high_multiply,
    multiply,
    quantize_multiplier,
    rescale,
    rescale_once,
    round_half_away,
)
from edgekit.graph.ir import Array, Graph, Node
from edgekit.graph.kernels import pad_spatial, pool_counts, softmax, windows
from edgekit.graph.ops import op_spec
from edgekit.graph.quant_params import RANGES, QuantParams

ADD_LEFT_SHIFT = 20
"""Bits by which TFLite lifts 8-bit addends before it rescales them."""


Kernels = Literal["xnnpack", "reference"]
"""Whose arithmetic to follow."""


@dataclass(frozen=True, slots=True)
class Call:
    """One node with its input arrays, the quantization of what it reads and writes, and whose arithmetic to follow."""

    node: Node
    inputs: list[Array]
    sources: tuple[QuantParams | None, ...]
    results: tuple[QuantParams | None, ...]
    kernels: Kernels

    @property
    def out(self) -> QuantParams:
        """Quantization of the first output. Raises GraphError where there is none."""
        return self._need(self.results[0], self.node.output)

    def source(self, position: int = 0) -> QuantParams:
        """Quantization of an input. Raises GraphError where there is none."""
        return self._need(self.sources[position], self.node.inputs[position])

    def centred(self, position: int = 0) -> Array:
        """An input minus its zero point, int64."""
        return self.inputs[position].astype(np.int64) - self.source(position).zero_point[0]

    def rescale(self, x: Array, real: Array | float) -> Array:
        """x * real, rounded as these kernels do."""
        return rescale_once(x, real) if self.kernels == "xnnpack" else rescale(x, real)

    def _need(self, quant: QuantParams | None, name: str) -> QuantParams:
        if quant is None:
            raise GraphError(f"node {self.node.name!r} ({self.node.op}): tensor {name!r} has no quantization")
        return quant


IntegerKernel = Callable[[Call], list[Array]]


def run_integer_node(graph: Graph, node: Node, inputs: list[Array], *, kernels: Kernels = "xnnpack") -> list[Array]:
    """Run one node of a quantized graph on its input arrays (constants included); return its outputs.

    Raises GraphError for an op that has no integer form, where a tensor lacks its quantization, and for unknown
    `kernels`.
    """
    if kernels not in get_args(Kernels):
        raise GraphError(f"kernels {kernels!r} are none of {', '.join(get_args(Kernels))}")
    spec = op_spec(node.op)
    sources = tuple(graph.tensor(name).quant for name in node.inputs)
    results = tuple(graph.tensor(name).quant for name in node.outputs)
    call = Call(node, inputs, sources, results, kernels)
    if spec.same_scale:
        _check_same_scale(call)
    if node.op in KERNELS:
        return KERNELS[node.op](call)
    if spec.same_scale and spec.reference is not None:
        return spec.reference(inputs, node.attrs)
    raise GraphError(f"node {node.name!r}: op {node.op} has no integer arithmetic; run the passes before quantization")


def _check_same_scale(call: Call) -> None:
    first = call.source()
    for quant, name in zip((*call.sources, *call.results), (*call.node.inputs, *call.node.outputs), strict=True):
        if quant != first:
            raise GraphError(
                f"node {call.node.name!r} ({call.node.op}): {name!r} must have the scale of {call.node.inputs[0]!r}"
            )


def _finish(steps: Array, quant: QuantParams, activation: str = "none") -> list[Array]:
    """Add the zero point, clamp to the activation's range, and store."""
    low, high = activation_range(quant, activation)
    return [np.clip(steps + quant.zero_point[0], low, high).astype(quant.dtype)]


# -- layers with weights -----------------------------------------------------------------------------------------------


def _conv2d(call: Call) -> list[Array]:
    """Sum of products in int32, bias, fixed-point rescaling per output channel."""
    attrs, kernel = call.node.attrs, call.inputs[1]
    padded = pad_spatial(call.centred(), attrs["padding"], 0)
    patches = windows(padded, kernel.shape[:2], attrs["strides"], attrs["dilation"])
    groups = attrs["groups"]
    accumulate = _depthwise_sums if groups > 1 and kernel.shape[2] == 1 else _grouped_sums
    return _requantize_sums(call, accumulate(patches, kernel, groups))


def _depthwise_sums(patches: Array, kernel: Array, groups: int) -> Array:
    kh, kw, _, out = kernel.shape
    taps = kernel.reshape(kh, kw, groups, out // groups).astype(np.int64)
    total = sum(patches[..., i, j, None] * taps[i, j] for i in range(kh) for j in range(kw))
    return np.asarray(total).reshape(*patches.shape[:3], out)


def _grouped_sums(patches: Array, kernel: Array, groups: int) -> Array:
    kh, kw, per_group, out = kernel.shape
    n, height, width = patches.shape[:3]
    parts = []
    for g in range(groups):
        columns = patches[:, :, :, g * per_group : (g + 1) * per_group].transpose(0, 1, 2, 4, 5, 3)
        rows = kernel[..., g * (out // groups) : (g + 1) * (out // groups)]
        parts.append(exact_matmul(columns.reshape(-1, kh * kw * per_group), rows.reshape(-1, out // groups)))
    return np.concatenate(parts, axis=1).reshape(n, height, width, out)


def exact_matmul(x: Array, y: Array) -> Array:
    """x (rows, depth) @ y (depth, columns) of 8-bit integers, as int64, through float BLAS.

    |x| is at most 255 (8 bits minus a zero point), |y| at most 128: single precision holds every sum exactly up to a
    depth of 514, double precision any that fits memory.
    """
    dtype = np.float32 if x.shape[1] * 255 * 128 <= 2**24 else np.float64
    result: Array = (x.astype(dtype) @ y.astype(dtype)).astype(np.int64)
    return result


def _dense(call: Call) -> list[Array]:
    return _requantize_sums(call, exact_matmul(call.centred(), call.inputs[1]))


def _requantize_sums(call: Call, sums: Array) -> list[Array]:
    if len(call.inputs) == 3:
        sums = sums + call.inputs[2]
    factors = call.source().scale[0] * np.asarray(call.source(1).scale, np.float64) / call.out.scale[0]
    return _finish(call.rescale(sums, factors), call.out, call.node.attrs["activation"])


# -- elementwise -------------------------------------------------------------------------------------------------------


def _add(call: Call) -> list[Array]:
    """Both addends on twice the larger input scale with 20 more bits, then on the output's.

    XNNPACK adds them on the output's scale and rounds halves up.
    """
    scales = [call.source(i).scale[0] for i in (0, 1)]
    if call.kernels == "xnnpack":
        real = sum(call.centred(i) * (scales[i] / call.out.scale[0]) for i in (0, 1))
        return _finish(np.floor(real + 0.5).astype(np.int64), call.out, call.node.attrs["activation"])
    common = 2 * max(scales)
    total = sum(rescale(call.centred(i) << ADD_LEFT_SHIFT, scales[i] / common) for i in (0, 1))
    steps = rescale(np.asarray(total), common / (2**ADD_LEFT_SHIFT * call.out.scale[0]))
    return _finish(steps, call.out, call.node.attrs["activation"])


def _mul(call: Call) -> list[Array]:
    """Product of the centred integers times scale * scale / scale (which TFLite computes in single precision)."""
    first, second, out = (np.float32(q.scale[0]) for q in (call.source(0), call.source(1), call.out))
    steps = call.rescale(call.centred(0) * call.centred(1), np.float64(first * second / out))
    return _finish(steps, call.out, call.node.attrs["activation"])


def _clamp(call: Call) -> list[Array]:
    """relu and relu6 as nodes of their own: rescale, then clamp."""
    steps = rescale(call.centred(), _scale_ratio(call))
    return _finish(steps, call.out, call.node.op)


def _scale_ratio(call: Call) -> float:
    return float(np.float32(call.source().scale[0]) / np.float32(call.out.scale[0]))


def _sigmoid(call: Call) -> list[Array]:
    x = np.clip(call.source().dequantize(call.inputs[0]), -80, 80)
    # Single precision and this form, as in the runtime's tables: near a tie the last bit decides.
    return _finish_real(call, np.float32(1) / (np.float32(1) + np.exp(-x)))


def _softmax(call: Call) -> list[Array]:
    return _finish_real(call, softmax([call.source().dequantize(call.inputs[0])], {})[0])


def _finish_real(call: Call, real: Array) -> list[Array]:
    return _finish(round_half_away(real.astype(np.float64) / call.out.scale[0]), call.out)


def _saturate16(x: Array) -> Array:
    return np.clip(x, -(2**15), 2**15 - 1)


def _multiplier16(real: float) -> tuple[int, int]:
    """A factor as a 15-bit multiplier and a shift."""
    multiplier, shift = (int(v) for v in quantize_multiplier(real))
    return min((multiplier + 2**15) >> 16, 2**15 - 1), shift


def _hard_swish(call: Call) -> list[Array]:
    """TFLite's 16-bit fixed-point x * relu6(x + 3) / 6, with all its roundings."""
    x = call.centred() << 7
    fine_scale = np.float32(call.source().scale[0]) * np.float32(1 / 128)
    out_factor, out_shift = _multiplier16(float(fine_scale / np.float32(call.out.scale[0])))
    gate_factor, gate_shift = _multiplier16(float(fine_scale / np.float32(3 / 32768)))
    if out_shift > 0:
        raise GraphError(f"node {call.node.name!r}: TFLite's hard_swish needs an output scale above input scale / 128")
    gate = x if gate_shift <= 0 else _saturate16(x << (gate_shift - 1))
    gate = _saturate16(high_multiply(gate, gate_factor, 15))
    gate = _saturate16(gate << 1) if gate_shift > 0 else divide_by_power_of_two(gate, -gate_shift)
    gate = (gate + 2**15) >> 1
    product = gate * _saturate16(high_multiply(x, out_factor, 15))
    # Towards zero, so that the two roundings before do not add up to a bias.
    steps = np.where(product >= 0, product >> 15, -((-product) >> 15))
    return _finish(divide_by_power_of_two(steps, -out_shift), call.out)


# -- windows -----------------------------------------------------------------------------------------------------------


def _avg_pool(call: Call) -> list[Array]:
    """Mean of the stored integers over the real positions of each window, halves away from zero."""
    attrs, x = call.node.attrs, call.inputs[0]
    padded = pad_spatial(x.astype(np.int64), attrs["padding"], 0)
    total = windows(padded, attrs["kernel"], attrs["strides"]).sum(axis=(4, 5))
    counts = pool_counts(x.shape[1], x.shape[2], attrs).astype(np.int64)
    means = np.sign(total) * ((np.abs(total) + counts // 2) // counts)
    return [means.astype(x.dtype)]


def _global_avg_pool(call: Call) -> list[Array]:
    """Sum over H and W, then one fixed-point factor that divides by the count and rescales."""
    total = call.centred().sum(axis=(1, 2), keepdims=call.node.attrs["keep_dims"])
    count, ratio = call.inputs[0].shape[1] * call.inputs[0].shape[2], _scale_ratio(call)
    if call.kernels == "xnnpack":
        return _finish(call.rescale(total, ratio / count), call.out)
    return _finish(multiply(total, *divided_multiplier(ratio, count)), call.out)


# -- data movement and boundaries --------------------------------------------------------------------------------------


def _pad(call: Call) -> list[Array]:
    """Pad with the integer that stands for the padding value."""
    attrs = call.node.attrs
    value = int(call.out.quantize(np.asarray(attrs["value"], np.float64)))
    widths = list(zip(attrs["before"], attrs["after"], strict=True))
    return [np.pad(call.inputs[0], widths, constant_values=value)]


def _quantize(call: Call) -> list[Array]:
    """float32 to integers (halves away from zero, in XNNPACK to even), or one integer scale to another."""
    x = call.inputs[0]
    if call.sources[0] is not None:
        return _finish(call.rescale(call.centred(), _scale_ratio(call)), call.out)
    low, high = RANGES[call.out.dtype]
    ratio = x.astype(np.float32) / np.float32(call.out.scale[0])
    # Clamped first: a float beyond int64 has no integer.
    clamped = np.clip(ratio, 2.0 * low - 1, 2.0 * high + 1)
    return _finish(
        np.rint(clamped).astype(np.int64) if call.kernels == "xnnpack" else round_half_away(clamped), call.out
    )


def _dequantize(call: Call) -> list[Array]:
    return [call.source().dequantize(call.inputs[0])]


KERNELS: Mapping[str, IntegerKernel] = {
    "conv2d": _conv2d,
    "dense": _dense,
    "add": _add,
    "mul": _mul,
    "relu": _clamp,
    "relu6": _clamp,
    "hard_swish": _hard_swish,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "avg_pool": _avg_pool,
    "global_avg_pool": _global_avg_pool,
    "pad": _pad,
    "quantize": _quantize,
    "dequantize": _dequantize,
}
"""Ops with arithmetic of their own; ops that keep the scale and have none run through the float reference."""

"""How each op of the graph is written as TFLite operators: one row an op."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.errors import UnsupportedOpError
from edgekit.export.tflite_layers import write_conv2d, write_dense
from edgekit.export.tflite_model import TfliteModel
from edgekit.export.tflite_padding import add_lowest_pad, add_spatial_pad, is_non_negative, padding_name, used_padding
from edgekit.export.tflite_versions import RESCALING_MUL
from edgekit.graph.ir import Node
from edgekit.graph.kernels import pool_counts

TARGET = "TFLite"

Write = Callable[[TfliteModel, Node], None]


@dataclass(frozen=True, slots=True)
class OpRow:
    """One row: `write` appends the node's operators; without it the op is refused, and `remedy` says what to do."""

    write: Write | None = None
    remedy: str = ""


def write_node(model: TfliteModel, node: Node) -> None:
    """Append the operators of one node. Raises UnsupportedOpError for an op that the table refuses."""
    row = ROWS[node.op]
    if row.write is None:
        raise UnsupportedOpError(node.op, node.name, TARGET, row.remedy)
    row.write(model, node)


def _ends(model: TfliteModel, node: Node) -> tuple[list[int], list[int]]:
    """Indices of the node's inputs and outputs."""
    return [model.tensor(name) for name in node.inputs], [model.tensor(name) for name in node.outputs]


def _plain(op: str, options: str | None = None, **fields: Any) -> OpRow:
    """A row for an op that TFLite has as it is, with fixed options."""

    def write(model: TfliteModel, node: Node) -> None:
        inputs, outputs = _ends(model, node)
        model.add(op, inputs, outputs, options, fields)

    return OpRow(write)


def _with_constant(op: str, options: str | None, value: Callable[[TfliteModel, Node], Any]) -> OpRow:
    """A row for an op that takes its attributes as one more int32 input."""

    def write(model: TfliteModel, node: Node) -> None:
        inputs, outputs = _ends(model, node)
        model.add(op, [*inputs, model.integers(f"{node.name}/{op.lower()}", value(model, node))], outputs, options)

    return OpRow(write)


def _write_add(model: TfliteModel, node: Node) -> None:
    inputs, outputs = _ends(model, node)
    model.add("ADD", inputs, outputs, "AddOptions", {"fusedActivationFunction": model.activation(node)})


def _write_mul(model: TfliteModel, node: Node) -> None:
    inputs, outputs = _ends(model, node)
    version = RESCALING_MUL if _mul_factor(model, node) >= 1 else None
    fields = {"fusedActivationFunction": model.activation(node)}
    model.add("MUL", inputs, outputs, "MulOptions", fields, version)


def _mul_factor(model: TfliteModel, node: Node) -> float:
    """Scale * scale / output scale of an int8 product; 0 for floats."""
    first, second, out = (model.graph.tensor(name).quant for name in (*node.inputs, node.output))
    if first is None or second is None or out is None:
        return 0.0
    return float(np.float32(first.scale[0]) * np.float32(second.scale[0]) / np.float32(out.scale[0]))


# -- pools -------------------------------------------------------------------------------------------------------------


def _add_pool(model: TfliteModel, node: Node, op: str, source: int, output: int, padding: str) -> None:
    (height, width), (down, right) = node.attrs["kernel"], node.attrs["strides"]
    fields = {
        "padding": model.enum("Padding", padding),
        "strideH": down,
        "strideW": right,
        "filterHeight": height,
        "filterWidth": width,
    }
    model.add(op, [source], [output], "Pool2DOptions", fields)


def _write_max_pool(model: TfliteModel, node: Node) -> None:
    """MAX_POOL_2D; padding that is neither SAME nor VALID becomes a PAD, or a PADV2 where zeros could win."""
    (name,), (output,) = node.inputs, [model.tensor(node.output)]
    shape, kernel = model.graph.shape(name), node.attrs["kernel"]
    padding = padding_name(shape, kernel, node.attrs)
    if padding is not None:
        _add_pool(model, node, "MAX_POOL_2D", model.tensor(name), output, padding)
        return
    # XNNPACK takes PAD and not PADV2.
    add_pad = add_spatial_pad if is_non_negative(model.graph, name) else add_lowest_pad
    _add_pool(
        model, node, "MAX_POOL_2D", add_pad(model, node, used_padding(shape, kernel, node.attrs)), output, "VALID"
    )


def _write_avg_pool(model: TfliteModel, node: Node) -> None:
    """AVERAGE_POOL_2D; other padding than SAME and VALID becomes a PAD and a product that undoes its being counted."""
    (name,), output = node.inputs, model.graph.tensor(node.output)
    shape, kernel = model.graph.shape(name), node.attrs["kernel"]
    padding = padding_name(shape, kernel, node.attrs)
    if padding is not None:
        _add_pool(model, node, "AVERAGE_POOL_2D", model.tensor(name), model.tensor(node.output), padding)
        return
    if output.quant is not None:
        remedy = "an int8 average pool takes SAME or VALID padding only; let it count the padding (pad, then avg_pool)"
        raise UnsupportedOpError(node.op, node.name, TARGET, remedy)
    used = used_padding(shape, kernel, node.attrs)
    counted = model.between(f"{node.name}/counted", output.shape, output)
    _add_pool(model, node, "AVERAGE_POOL_2D", add_spatial_pad(model, node, used), counted, "VALID")
    counts = pool_counts(shape[1], shape[2], node.attrs)
    correction = model.new_constant(f"{node.name}/correction", np.float32(kernel[0] * kernel[1]) / counts)
    model.add("MUL", [counted, correction], [model.tensor(node.output)], "MulOptions")


def _write_global_avg_pool(model: TfliteModel, node: Node) -> None:
    inputs, outputs = _ends(model, node)
    axes = model.integers(f"{node.name}/axes", (1, 2))
    model.add("MEAN", [*inputs, axes], outputs, "ReducerOptions", {"keepDims": node.attrs["keep_dims"]})


# -- data movement -----------------------------------------------------------------------------------------------------


def _write_concat(model: TfliteModel, node: Node) -> None:
    inputs, outputs = _ends(model, node)
    model.add("CONCATENATION", inputs, outputs, "ConcatenationOptions", {"axis": node.attrs["axis"]})


def _write_split(model: TfliteModel, node: Node) -> None:
    """SPLIT for pieces of one size, else a SLICE for each: XNNPACK takes those and not SPLIT_V."""
    (source,), outputs = _ends(model, node)
    axis, sizes = node.attrs["axis"], node.attrs["sizes"]
    if len(set(sizes)) == 1:
        where = model.integers(f"{node.name}/axis", axis)
        model.add("SPLIT", [where, source], outputs, "SplitOptions", {"numSplits": len(sizes)})
        return
    begin = [0] * len(model.graph.shape(node.inputs[0]))
    for name, output, size in zip(node.outputs, outputs, sizes, strict=True):
        _add_slice(model, source, output, begin, model.graph.shape(name), name)
        begin[axis] += size


def _add_slice(
    model: TfliteModel, source: int, output: int, begin: Sequence[int], size: Sequence[int], name: str
) -> None:
    bounds = [model.integers(f"{name}/begin", begin), model.integers(f"{name}/size", size)]
    model.add("SLICE", [source, *bounds], [output], "SliceOptions")


def _write_slice(model: TfliteModel, node: Node) -> None:
    """SLICE, or STRIDED_SLICE where a stride is not 1."""
    (source,), (output,) = _ends(model, node)
    begin, end, strides = (node.attrs[key] for key in ("begin", "end", "strides"))
    if all(stride == 1 for stride in strides):
        _add_slice(model, source, output, begin, model.graph.shape(node.output), node.name)
        return
    bounds = [
        model.integers(f"{node.name}/{key}", values)
        for key, values in (("begin", begin), ("end", end), ("strides", strides))
    ]
    model.add("STRIDED_SLICE", [source, *bounds], [output], "StridedSliceOptions")


def _write_gather(model: TfliteModel, node: Node) -> None:
    inputs, outputs = _ends(model, node)
    indices = model.integers(f"{node.name}/indices", node.attrs["indices"])
    model.add("GATHER", [*inputs, indices], outputs, "GatherOptions", {"axis": node.attrs["axis"]})


def _write_pad(model: TfliteModel, node: Node) -> None:
    """PAD, or PADV2 where the value is not 0."""
    inputs, outputs = _ends(model, node)
    attrs, source = node.attrs, model.graph.tensor(node.inputs[0])
    widths = model.integers(f"{node.name}/paddings", list(zip(attrs["before"], attrs["after"], strict=True)))
    if attrs["value"] == 0:
        model.add("PAD", [*inputs, widths], outputs, "PadOptions")
        return
    real = np.asarray(attrs["value"], np.float32)
    data = real if source.quant is None else np.asarray(source.quant.quantize(real))
    value = model.new_constant(f"{node.name}/value", data, source.quant)
    model.add("PADV2", [*inputs, widths, value], outputs, "PadV2Options")


def _write_channel_shuffle(model: TfliteModel, node: Node) -> None:
    """RESHAPE to (positions, groups, blocks of a group, channels of a block), TRANSPOSE, RESHAPE: of rank 4 at most.

    Without blocks the shape is (1, positions, groups, channels of a group).
    """
    (source,), (output,) = _ends(model, node)
    tensor, groups, block = model.graph.tensor(node.output), node.attrs["groups"], node.attrs["block"]
    channels = tensor.shape[-1]
    positions, in_group = tensor.size // channels, channels // (groups * block)
    apart, perm = (1, positions, groups, in_group), (0, 1, 3, 2)
    if block > 1:
        apart, perm = (positions, groups, in_group, block), (0, 2, 1, 3)
    swapped = tuple(apart[axis] for axis in perm)
    grouped = model.between(f"{node.name}/grouped", apart, tensor)
    turned = model.between(f"{node.name}/turned", swapped, tensor)
    model.add("RESHAPE", [source, model.integers(f"{node.name}/apart", apart)], [grouped])
    model.add("TRANSPOSE", [grouped, model.integers(f"{node.name}/perm", perm)], [turned], "TransposeOptions")
    model.add("RESHAPE", [turned, model.integers(f"{node.name}/together", tensor.shape)], [output])


def _output_shape(model: TfliteModel, node: Node) -> tuple[int, ...]:
    return model.graph.shape(node.output)


ROWS: Mapping[str, OpRow] = {
    "conv2d": OpRow(write_conv2d),
    "dense": OpRow(write_dense),
    "batch_norm": OpRow(remedy="run the passes fold_batch_norm and lower_batch_norm before"),
    "relu": _plain("RELU"),
    "relu6": _plain("RELU6"),
    "hard_swish": _plain("HARD_SWISH", "HardSwishOptions"),
    "swish": OpRow(remedy="run the pass lower_composites before"),
    "sigmoid": _plain("LOGISTIC"),
    "hard_sigmoid": OpRow(remedy="run the pass lower_composites before"),
    "softmax": _plain("SOFTMAX", "SoftmaxOptions", beta=1.0),
    "add": OpRow(_write_add),
    "mul": OpRow(_write_mul),
    "max_pool": OpRow(_write_max_pool),
    "avg_pool": OpRow(_write_avg_pool),
    "global_avg_pool": OpRow(_write_global_avg_pool),
    "concat": OpRow(_write_concat),
    "split": OpRow(_write_split),
    "slice": OpRow(_write_slice),
    "gather": OpRow(_write_gather),
    "pad": OpRow(_write_pad),
    "reshape": _with_constant("RESHAPE", None, _output_shape),
    "transpose": _with_constant("TRANSPOSE", "TransposeOptions", lambda model, node: node.attrs["perm"]),
    "channel_shuffle": OpRow(_write_channel_shuffle),
    "identity": OpRow(remedy="run the pass remove_identities before"),
    "dropout": OpRow(remedy="run the pass remove_identities before"),
    "quantize": _plain("QUANTIZE", "QuantizeOptions"),
    "dequantize": _plain("DEQUANTIZE", "DequantizeOptions"),
}

"""Computes operators whose inputs are all constants, in numpy: shape arithmetic and stored weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.tflite_model import DTYPES, TfliteOp
from edgekit.importers.tflite_options import ACTIVATION
from edgekit.importers.tflite_shapes import (
    axis_from_front,
    bounded,
    expanded_shape,
    filled_shape,
    piece_sizes,
    plain_slices,
    squeezed_shape,
    strided_slices,
    whole_numbers,
)

Arrays = Sequence[Array]
Fold = Callable[[Arrays, TfliteOp, str], list[Array]]
"""From the inputs, the operator and the first output's type to the outputs."""


def fold(op: TfliteOp, inputs: Arrays, dtype: str) -> list[Array]:
    """The operator's outputs, the first of which is of that type. Raises ImportFileError where inputs do not fit."""
    if dtype not in DTYPES:
        raise ImportFileError(f"makes a constant of type {dtype}: edgekit computes with numbers only")
    if op.integer(ACTIVATION):
        raise ImportFileError("has a fused activation behind constants: convert the model again")
    try:
        with np.errstate(all="ignore"):
            return [np.asarray(value) for value in FOLDS[op.op](inputs, op, dtype)]
    except (ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError, MemoryError) as problem:
        text = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise ImportFileError(f"its constant inputs do not fit: {text}") from None


def _unary(function: Callable[[Array], Any]) -> Fold:
    return lambda inputs, op, dtype: [function(inputs[0])]


def _binary(function: Callable[[Array, Array], Any]) -> Fold:
    def run(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
        bounded(np.broadcast_shapes(inputs[0].shape, inputs[1].shape))
        return [np.asarray(function(inputs[0], inputs[1]), dtype)]

    return run


def _as_output(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
    return [inputs[0].astype(dtype)]


def _divide(a: Array, b: Array) -> Array:
    """Integers are divided towards zero."""
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    return np.asarray(np.trunc(a.astype(np.float64) / b))


def _pack(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
    return [np.stack(inputs, axis=op.integer("Axis"))]


def _concatenation(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
    return [np.concatenate(inputs, axis=op.integer("Axis"))]


def _gather(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
    axis = axis_from_front(op.integer("Axis"), inputs[0].ndim)
    if op.integer("BatchDims"):
        raise ImportFileError("gathers by batches: only one list for all can be taken")
    bounded((*inputs[0].shape[:axis], *inputs[1].shape, *inputs[0].shape[axis + 1 :]))
    return [np.take(inputs[0], inputs[1], axis=axis)]


def _reshape(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
    wanted = whole_numbers(inputs[1]) if len(inputs) > 1 else op.integers("NewShape") or ()
    return [inputs[0].reshape(filled_shape(inputs[0].shape, wanted))]


def _strided_slice(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
    bounds = [whole_numbers(value) for value in inputs[1:4]]
    slices, dropped = strided_slices(inputs[0].shape, op, *bounds)
    return [inputs[0][slices].squeeze(axis=dropped)]


def _split(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
    value, axis, sizes = (
        (inputs[1], inputs[0], None) if op.op == "SPLIT" else (inputs[0], inputs[2], whole_numbers(inputs[1]))
    )
    where = axis_from_front(int(axis.reshape(())), value.ndim)
    pieces = piece_sizes(value.shape[where], len(op.outputs), sizes)
    return np.split(value, np.cumsum(pieces)[:-1], axis=where)


def _fill(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
    return [np.full(bounded(whole_numbers(inputs[0])), inputs[1].reshape(()))]


def _broadcast(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
    return [np.broadcast_to(inputs[0], bounded(whole_numbers(inputs[1])))]


def _range(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
    start, limit, step = (float(value.reshape(())) for value in inputs[:3])
    bounded((max(math.ceil((limit - start) / step), 0),))
    return [np.arange(start, limit, step).astype(dtype)]


def _reduce(function: Callable[..., Any]) -> Fold:
    def run(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
        axes = tuple(whole_numbers(inputs[1]))
        return [np.asarray(function(inputs[0], axis=axes, keepdims=bool(op.integer("KeepDims"))), dtype)]

    return run


def _squeeze(inputs: Arrays, op: TfliteOp, dtype: str) -> list[Array]:
    return [inputs[0].reshape(squeezed_shape(inputs[0].shape, op.integers("SqueezeDims") or ()))]


FOLDS: Mapping[str, Fold] = {
    "ADD": _binary(np.add),
    "BROADCAST_TO": _broadcast,
    "CAST": _as_output,
    "CONCATENATION": _concatenation,
    "DEQUANTIZE": _as_output,
    "DIV": _binary(_divide),
    "EXPAND_DIMS": lambda inputs, op, dtype: [
        inputs[0].reshape(expanded_shape(inputs[0].shape, int(inputs[1].reshape(()))))
    ],
    "FILL": _fill,
    "FLOOR_DIV": _binary(np.floor_divide),
    "GATHER": _gather,
    "MAXIMUM": _binary(np.maximum),
    "MINIMUM": _binary(np.minimum),
    "MUL": _binary(np.multiply),
    "NEG": _unary(np.negative),
    "PACK": _pack,
    "RANGE": _range,
    "REDUCE_PROD": _reduce(np.prod),
    "RESHAPE": _reshape,
    "RSQRT": _unary(lambda x: 1 / np.sqrt(x)),
    "SHAPE": lambda inputs, op, dtype: [np.asarray(inputs[0].shape, dtype)],
    "SLICE": lambda inputs, op, dtype: [
        inputs[0][plain_slices(inputs[0].shape, whole_numbers(inputs[1]), whole_numbers(inputs[2]))]
    ],
    "SPLIT": _split,
    "SPLIT_V": _split,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _binary(np.subtract),
    "SUM": _reduce(np.sum),
    "TRANSPOSE": lambda inputs, op, dtype: [inputs[0].transpose(whole_numbers(inputs[1]))],
}

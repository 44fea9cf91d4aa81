"""The arguments of operations, wherever Keras and TensorFlow keep them: in order, by name, or as settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.keras_calls import Call, is_int, short
from edgekit.importers.keras_context import flat
from edgekit.importers.keras_model import KerasLayer
from edgekit.importers.onnx_view import View


def argument(layer: KerasLayer, call: Call, position: int, *names: str, default: Any = None) -> Any:
    """An argument by its position in the call, or by one of its names in the call or the settings."""
    if position < len(call.args):
        return call.args[position]
    for source in (call.kwargs, layer.config):
        for name in names:
            if source.get(name) is not None:
                return source[name]
    return default


def view_argument(layer: KerasLayer, call: Call) -> View:
    """The first argument, which must be an activation."""
    value = argument(layer, call, 0, "x", "inputs", "input", "tensor", "features", "logits", "input_tensor", "value")
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(value, View):
        raise ImportFileError(f"its input is {short(value)} where an activation is needed")
    return value


def as_array(value: Any, what: str) -> Array:
    """Numbers, or lists of them, as an array. Raises ImportFileError for anything else."""
    if any(isinstance(item, View) for item in flat(value)):
        raise ImportFileError(f"its {what} is computed from the input: it must be a constant")
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise ImportFileError(f"its {what} is {short(value)}: it must be numbers")
    return array


def as_int(value: Any, what: str) -> int:
    """A whole number. Raises ImportFileError for anything else."""
    array = as_array(value, what)
    if array.size != 1 or array.dtype.kind not in "iu":
        raise ImportFileError(f"its {what} is {short(value)}: it must be a whole number")
    return int(array.reshape(()))


def as_ints(value: Any, what: str) -> tuple[int, ...]:
    """A list of whole numbers, which may stand in arrays. Raises ImportFileError for anything else."""
    return tuple(as_int(item, what) for item in flat(value.tolist() if isinstance(value, np.ndarray) else value))


def as_axis(value: Any, rank: int) -> int:
    """An axis, counted from the front. Raises ImportFileError for one outside."""
    axis = as_int(value, "axis")
    if not -rank <= axis < rank:
        raise ImportFileError(f"its axis {axis} is outside rank {rank}")
    return axis % rank


def filled_shape(shape: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """`wanted` with -1 as what is left of `shape`. Raises ImportFileError where the sizes differ."""
    size = int(np.prod(shape, dtype=object))
    rest = int(np.prod([d for d in wanted if d != -1], dtype=object))
    filled = tuple(size // rest if d == -1 and rest > 0 else d for d in wanted)
    if not all(is_int(d) and d > 0 for d in filled) or int(np.prod(filled, dtype=object)) != size:
        raise ImportFileError(f"cannot reshape {tuple(shape)} to {tuple(wanted)}")
    return filled

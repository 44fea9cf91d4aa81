"""What moves data in Keras models, without arithmetic; reshapes and transposes are views until something reads them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.importers.keras_arguments import argument, as_array, as_axis, as_int, as_ints, filled_shape, view_argument
from edgekit.importers.keras_calls import Call, is_int, short
from edgekit.importers.keras_context import Convert, KerasContext, Value, flat, only_view, views
from edgekit.importers.keras_layers import pooled, pooled_whole
from edgekit.importers.keras_model import KerasLayer
from edgekit.importers.onnx_view import View

# -- layers ------------------------------------------------------------------------------------------------------------


def keep(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """A layer that does nothing at inference, as an op of its own."""
    return context.make("identity", [context.tensor(only_view(call))])


def dropout(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Dropout and its relatives: nothing at inference."""
    return context.make("dropout", [context.tensor(only_view(call))], {"rate": layer.number("rate", 0.5)})


def flatten(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Flatten."""
    x = only_view(call)
    return context.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


def reshape_layer(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Reshape: the batch stays."""
    x = only_view(call)
    wanted = as_ints(layer.config.get("target_shape"), "target_shape")
    return context.reshape(x, (x.shape[0], *filled_shape(x.shape[1:], wanted)))


def permute(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Permute: axes counted from 1, the batch stays."""
    return _transposed(context, only_view(call), (0, *as_ints(layer.config.get("dims"), "dims")))


def concatenate_layer(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Concatenate."""
    return _joined(context, views(call), layer.config.get("axis", -1))


# -- operations --------------------------------------------------------------------------------------------------------


def identity(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Operations that change neither numbers nor shape."""
    return view_argument(layer, call)


def shape(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """The shape of an activation: known, hence a constant."""
    return np.asarray(view_argument(layer, call).shape, np.int64)


def stack(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Numbers as a list, as TensorFlow puts shapes together."""
    return np.asarray(as_ints(argument(layer, call, 0, "values", "x"), "list of numbers"), np.int64)


def reshape(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Reshape of all axes."""
    x = view_argument(layer, call)
    return context.reshape(x, filled_shape(x.shape, as_ints(argument(layer, call, 1, "newshape", "shape"), "shape")))


def transpose(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Transpose; without axes all are reversed."""
    x = view_argument(layer, call)
    axes = argument(layer, call, 1, "axes", "perm")
    return _transposed(context, x, as_ints(axes, "axes") if axes is not None else tuple(reversed(range(x.rank))))


def _transposed(context: KerasContext, x: View, perm: tuple[int, ...]) -> View:
    perm = tuple(p % x.rank if -x.rank <= p < x.rank else p for p in perm)
    if sorted(perm) != list(range(x.rank)):
        raise ImportFileError(f"its axes {perm} are no permutation of those of {x.shape}")
    return x.transpose(perm).named(context.layer)


def squeeze(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Without axes of size 1: those named, or all."""
    x = view_argument(layer, call)
    given = argument(layer, call, 1, "axis")
    named = flat(given) if given not in (None, []) else [i for i, d in enumerate(x.shape) if d == 1]
    gone = {as_axis(a, x.rank) for a in named}
    if any(x.shape[a] != 1 for a in gone):
        raise ImportFileError(f"cannot squeeze axes {sorted(gone)} of {x.shape}")
    return context.reshape(x, tuple(d for i, d in enumerate(x.shape) if i not in gone))


def expand_dims(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """With axes of size 1 put in."""
    x = view_argument(layer, call)
    given = flat(argument(layer, call, 1, "axis"))
    rank = x.rank + len(given)
    new, rest = {as_axis(a, rank) for a in given}, iter(x.shape)
    if len(new) != len(given):
        raise ImportFileError(f"its axes {short(given)} repeat")
    return context.reshape(x, tuple(1 if i in new else next(rest) for i in range(rank)))


def concatenate(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Join along an axis."""
    return _joined(context, views(call), argument(layer, call, 1, "axis", default=-1))


def _joined(context: KerasContext, parts: list[View], axis: Any) -> View:
    place = as_axis(axis, parts[0].rank)
    if place == 0:
        raise ImportFileError("joins along the batch, which edgekit keeps at 1")
    return context.make("concat", [context.tensor(part) for part in parts], {"axis": place})


def split(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Pieces: a number of equal ones, sizes (TensorFlow), or the places of the cuts (Keras)."""
    x = view_argument(layer, call)
    axis = as_axis(argument(layer, call, 2, "axis", default=0), x.rank)
    cuts = argument(layer, call, 1, "indices_or_sections", "num_or_size_splits")
    size = x.shape[axis]
    if isinstance(cuts, list | np.ndarray):
        given = as_ints(cuts, "list of pieces")
        if layer.is_operation:
            given = tuple(int(d) for d in np.diff([0, *given, size]))
        elif given.count(-1) == 1:
            given = tuple(size - sum(given) - 1 if d == -1 else d for d in given)
        return context.make_many("split", x, {"axis": axis, "sizes": given}, len(given))
    count = as_int(cuts, "number of pieces")
    if not 0 < count <= size or size % count:
        raise ImportFileError(f"cannot split {size} into {count} equal pieces")
    return context.make_many("split", x, {"axis": axis, "sizes": (size // count,) * count}, count)


def gather(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Slices of an axis by constant indices."""
    x = view_argument(layer, call)
    indices = as_array(argument(layer, call, 1, "indices"), "list of indices")
    default = 0 if layer.config.get("function") else None
    axis = argument(layer, call, 2, "axis", default=default)
    if axis is None or argument(layer, call, 99, "batch_dims", default=0) != 0 or indices.ndim > 1:
        raise ImportFileError("gathers from all axes at once: edgekit gathers along one, by a list of indices")
    place = as_axis(axis, x.rank)
    return _picked(context, x, place, indices)


def _picked(context: KerasContext, x: View, axis: int, indices: Any) -> View:
    size = x.shape[axis]
    chosen = as_ints(indices, "list of indices")
    if axis == 0 or not chosen or not all(-size <= i < size for i in chosen):
        raise ImportFileError(f"its indices {short(list(chosen))} do not fit axis {axis} of {x.shape}")
    tensor = context.tensor(x)
    y = context.view(context.pick(tensor, axis, [i % size for i in chosen], context.unique()))
    return y if indices.ndim else context.reshape(y, (*x.shape[:axis], *x.shape[axis + 1 :]), "reshape")


def get_item(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """x[...] with slices, numbers, new axes and an ellipsis; of shapes as well."""
    value = argument(layer, call, 0, "x", "tensor")
    keys = argument(layer, call, 1, "key", "slice_spec")
    keys = list(keys) if isinstance(keys, list | tuple) else [keys]
    if isinstance(value, np.ndarray) and len(keys) == 1:
        return np.asarray(value[keys[0] if isinstance(keys[0], slice) else as_int(keys[0], "index")])
    x = view_argument(layer, call)
    begin, end, strides = [0] * x.rank, list(x.shape), [1] * x.rank
    shape: list[int] = []
    for axis, key in _keys_of_axes(keys, x):
        if axis is None:
            shape.append(1)
            continue
        begin[axis], end[axis], strides[axis], stays = _bounds(key, x.shape[axis])
        if stays:
            shape.append(math.ceil((end[axis] - begin[axis]) / strides[axis]))
    if (begin[0], end[0]) != (0, x.shape[0]):
        raise ImportFileError("takes a part of the batch")
    if (begin, end, strides) != ([0] * x.rank, list(x.shape), [1] * x.rank):
        attrs = {"begin": tuple(begin), "end": tuple(end), "strides": tuple(strides)}
        x = context.make("slice", [context.tensor(x)], attrs)
    return context.reshape(x, shape, "reshape") if tuple(shape) != x.shape else x


def _keys_of_axes(keys: list[Any], x: View) -> list[tuple[int | None, Any]]:
    """(axis, key), axis None for a new one; axes that no key names are taken whole."""
    given = sum(key is not None and key is not ... for key in keys)
    if given > x.rank or sum(key is ... for key in keys) > 1:
        raise ImportFileError(f"its keys {short(keys)} do not fit {x.shape}")
    if not any(key is ... for key in keys):
        keys = [*keys, ...]
    found: list[tuple[int | None, Any]] = []
    axis = 0
    for key in keys:
        if key is None:
            found.append((None, None))
            continue
        for _ in range(x.rank - given if key is ... else 1):
            found.append((axis, slice(None) if key is ... else key))
            axis += 1
    return found


def _bounds(key: Any, size: int) -> tuple[int, int, int, bool]:
    """begin, end, step, and whether the axis stays."""
    if not isinstance(key, slice):
        index = as_int(key, "index")
        if not -size <= index < size:
            raise ImportFileError(f"its index {index} is outside an axis of {size}")
        return index % size, index % size + 1, 1, False
    values = [None if v is None else as_int(v, "slice") for v in (key.start, key.stop, key.step)]
    if values[2] is not None and values[2] < 1:
        raise ImportFileError(f"has a step of {values[2]}: it must be positive")
    begin, end, step = slice(*values).indices(size)
    return begin, end, step, True


def pad(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Padding with a constant."""
    x = view_argument(layer, call)
    widths = as_array(argument(layer, call, 1, "pad_width", "paddings"), "padding")
    mode = argument(layer, call, 2, "mode", default="constant")
    if str(mode).lower() != "constant":
        raise ImportFileError(f"pads by {short(mode)}: edgekit pads with a constant")
    if widths.dtype.kind not in "iu" or (widths.shape != (x.rank, 2) and widths.ndim > 1) or widths.min() < 0:
        raise ImportFileError(f"its padding {short(widths.tolist())} does not fit {x.shape}")
    pairs = np.broadcast_to(widths, (x.rank, 2))
    if pairs[0].any():
        raise ImportFileError("pads the batch, which edgekit keeps at 1")
    value = as_array(argument(layer, call, 3, "constant_values", default=0), "padding value")
    before, after = (tuple(int(d) for d in pairs[:, i]) for i in (0, 1))
    attrs = {"before": before, "after": after, "value": float(value.reshape(-1)[0])}
    return context.make("pad", [context.tensor(x)], attrs)


def reduce(op: str) -> Convert:
    """The mean or the maximum over height and width."""

    def convert(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
        x = view_argument(layer, call)
        given = argument(layer, call, 1, "axis", "axes")
        axes = sorted(as_axis(a, x.rank) for a in flat(given)) if given is not None else list(range(x.rank))
        if x.rank != 4 or axes != [1, 2]:
            raise ImportFileError(f"reduces axes {axes} of {x.shape}: edgekit reduces height and width of images")
        keep_axes = argument(layer, call, 2, "keepdims", "keep_dims", default=False)
        return pooled_whole(context, op, x, bool(keep_axes))

    return convert


def pool_operation(op: str) -> Convert:
    """average_pool and max_pool of keras.ops and tf.nn."""

    def convert(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
        x = view_argument(layer, call)
        kernel = _sizes(argument(layer, call, 1, "pool_size", "ksize"), "window")
        strides = argument(layer, call, 2, "strides")
        padding = str(argument(layer, call, 3, "padding", default="valid")).lower()
        if str(argument(layer, call, 4, "data_format") or "channels_last") not in ("channels_last", "NHWC"):
            raise context.refuse(layer, "its images are channels first: build the model with channels last")
        return pooled(context, op, x, kernel, kernel if strides is None else _sizes(strides, "strides"), padding)

    return convert


def _sizes(value: Any, what: str) -> tuple[int, int]:
    """One number, two, or TensorFlow's four."""
    sizes = as_ints([value] if is_int(value) else value, what)
    sizes = sizes * 2 if len(sizes) == 1 else sizes[1:3] if len(sizes) == 4 else sizes
    if len(sizes) != 2 or min(sizes) < 1:
        raise ImportFileError(f"its {what} is {short(value)}: it must be two positive whole numbers")
    return sizes[0], sizes[1]

"""TFLite's ops that move data without arithmetic, as nodes of the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.importers.tflite_context import Step, TfliteContext, Value, fused, reshaped
from edgekit.importers.tflite_model import TfliteOp
from edgekit.importers.tflite_shapes import (
    Shape,
    axis_from_front,
    expanded_shape,
    filled_shape,
    piece_sizes,
    plain_slices,
    squeezed_shape,
    strided_slices,
    whole_numbers,
)

LOWEST = float(np.finfo(np.float32).min)


def shape(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """SHAPE of an activation: known, hence a constant."""
    return [np.asarray(context.shape(context.activation(op)), np.int32)]


def reshape(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """RESHAPE to the second input, or in old files to what the options say."""
    x = context.activation(op)
    listed = op.integers("NewShape")
    wanted = context.integers(op, 1, "shape") if op.input(1) >= 0 or listed is None else listed
    return [context.chain(x, reshaped(filled_shape(context.shape(x), _for_this_batch(context, op, x, wanted))))]


def _for_this_batch(context: TfliteContext, op: TfliteOp, x: str, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with its first axis divided by the file's batch, where that is what makes it too large."""
    declared, here = context.model.tensors[op.inputs[0]].dims, context.shape(x)
    if declared and here and wanted and -1 not in wanted and declared[0] > here[0]:
        whole, part = wanted[0] * here[0], declared[0]
        if whole % part == 0 and math.prod(wanted) * here[0] == math.prod(here) * part:
            return (whole // part, *wanted[1:])
    return wanted


def transpose(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """TRANSPOSE."""
    return [context.chain(context.activation(op), Step("transpose", attrs={"perm": context.integers(op, 1, "perm")}))]


def squeeze(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """SQUEEZE: a reshape."""
    x = context.activation(op)
    return [context.chain(x, reshaped(squeezed_shape(context.shape(x), op.integers("SqueezeDims") or ())))]


def expand_dims(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """EXPAND_DIMS: a reshape."""
    x = context.activation(op)
    return [context.chain(x, reshaped(expanded_shape(context.shape(x), _axis(context, op, 1))))]


def _axis(context: TfliteContext, op: TfliteOp, index: int) -> int:
    found = context.integers(op, index, "axis")
    if len(found) != 1:
        raise ImportFileError(f"has axes {found}: one is needed")
    return found[0]


def concatenation(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """CONCATENATION of activations."""
    parts = [context.activation(op, i) for i in range(len(op.inputs))]
    axis = axis_from_front(op.integer("Axis"), len(context.shape(parts[0])))
    return [context.chain(parts[0], Step("concat", tuple(parts[1:]), {"axis": axis}), *fused(op))]


def pack(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """PACK: a concat along a new axis."""
    first = context.shape(context.activation(op))
    target = expanded_shape(first, op.integer("Axis"))
    axis = axis_from_front(op.integer("Axis"), len(target))
    parts = []
    for i in range(len(op.inputs)):
        part = context.activation(op, i)
        if context.shape(part) != first:
            raise ImportFileError(f"packs tensors of different shapes {first} and {context.shape(part)}")
        parts.append(context.emit("reshape", [part], {"shape": target}, f"{context.layer}/{i}"))
    return [context.chain(parts[0], Step("concat", tuple(parts[1:]), {"axis": axis}))]


def split(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """SPLIT into equal pieces: the axis comes first."""
    return _split(context, op, context.activation(op, 1), _axis(context, op, 0), None)


def split_v(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """SPLIT_V by sizes."""
    return _split(context, op, context.activation(op), _axis(context, op, 2), context.integers(op, 1, "list of sizes"))


def unpack(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """UNPACK: a split, and reshapes that drop the axis."""
    x = context.activation(op)
    axis = axis_from_front(op.integer("Axis"), len(context.shape(x)))
    target = tuple(d for i, d in enumerate(context.shape(x)) if i != axis)
    if context.shape(x)[axis] != len(op.outputs) or not target:
        raise ImportFileError(f"unpacks axis {axis} of {context.shape(x)} into {len(op.outputs)}")
    pieces = _split(context, op, x, axis, None)
    names = [context.name_of(index) for index in op.outputs]
    return [context.emit("reshape", [str(p)], {"shape": target}, n) for p, n in zip(pieces, names, strict=True)]


def _split(context: TfliteContext, op: TfliteOp, x: str, axis: int, sizes: Sequence[int] | None) -> list[Value]:
    axis = axis_from_front(axis, len(context.shape(x)))
    pieces = piece_sizes(context.shape(x)[axis], len(op.outputs), sizes)
    if len(pieces) == 1:
        return [x]
    wishes = [f"{context.layer}/{i}" if op.op == "UNPACK" else context.name_of(o) for i, o in enumerate(op.outputs)]
    outputs = [context.unique(wish) for wish in wishes]
    name = context.unique(f"{context.layer}/split")
    return [*context.builder.op_many("split", [x], {"axis": axis, "sizes": pieces}, outputs, name=name)]


def slice_(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """SLICE: the second input is where it begins, the third how much it takes."""
    x = context.activation(op)
    begin, size = context.integers(op, 1, "begin"), list(context.integers(op, 2, "size"))
    declared, here = context.model.tensors[op.inputs[0]].dims, context.shape(x)
    if size and begin[:1] == (0,) and declared[:1] == (size[0],):
        size[0] = here[0]  # the whole batch, which may be another one here
    return [_sliced(context, x, plain_slices(here, begin, size), ())]


def strided_slice(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """STRIDED_SLICE with positive strides; axes that shrink are dropped by a reshape."""
    x = context.activation(op)
    bounds = [context.integers(op, i, what) for i, what in ((1, "begin"), (2, "end"), (3, "list of strides"))]
    slices, dropped = strided_slices(context.shape(x), op, *bounds)
    if any(s.step < 0 for s in slices):
        raise ImportFileError("reverses an axis: only positive strides can be taken")
    return [_sliced(context, x, slices, dropped)]


def _sliced(context: TfliteContext, x: str, slices: Sequence[slice], dropped: Sequence[int]) -> str:
    here = context.shape(x)
    attrs = {
        "begin": tuple(s.start for s in slices),
        "end": tuple(s.stop for s in slices),
        "strides": tuple(s.step for s in slices),
    }
    taken = [len(range(s.start, s.stop, s.step)) for s in slices]
    steps = [] if taken == list(here) else [Step("slice", attrs=attrs)]
    return context.chain(x, *steps, reshaped([d for i, d in enumerate(taken) if i not in dropped]))


def gather(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """GATHER by constant indices: a list of them, or one, which takes the axis away."""
    x = context.activation(op)
    here = context.shape(x)
    axis = axis_from_front(op.integer("Axis"), len(here))
    indices = context.constant(op, 1, "list of indices")
    if indices.ndim > 1 or op.integer("BatchDims"):
        raise ImportFileError(f"has indices of shape {indices.shape}: only one list for all can be taken")
    step = Step("gather", attrs={"axis": axis, "indices": whole_numbers(indices)})
    count = () if indices.ndim == 0 else (indices.size,)
    return [context.chain(x, step, reshaped((*here[:axis], *count, *here[axis + 1 :])))]


def pad(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """PAD with zeros, PADV2 with a constant number."""
    x = context.activation(op)
    widths = context.integers(op, 1, "list of paddings")
    value = 0.0
    if op.op == "PADV2":
        given = context.weights(op, 2, "value")
        if given.size != 1:
            raise ImportFileError(f"pads with {given.shape} numbers: one is needed")
        value = float(given.reshape(()))
    if value <= LOWEST and all(reader.op == "MAX_POOL_2D" for reader in context.readers(op)):
        value = -math.inf  # as padding that never wins is written in the graph
    attrs = {"before": widths[::2], "after": widths[1::2], "value": value}
    return [x if not any(widths) else context.chain(x, Step("pad", attrs=attrs))]


def broadcast_to(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """BROADCAST_TO: a product with ones, of the axes that grow."""
    x = context.activation(op)
    target = context.integers(op, 1, "shape")
    here: Shape = (1,) * (len(target) - len(context.shape(x))) + context.shape(x)
    if len(here) != len(target) or any(d not in (1, t) for d, t in zip(here, target, strict=True)):
        raise ImportFileError(f"cannot broadcast {context.shape(x)} to {target}")
    if here == target:
        return [context.chain(x, reshaped(target))]
    ones = np.ones([1 if d == t else t for d, t in zip(here, target, strict=True)], np.float32)
    return [context.chain(x, Step("mul", (context.add_constant("ones", ones),)))]


def cast(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """CAST of an activation to float32: nothing, since all activations are float32."""
    return [context.activation(op)]

"""The graph's inputs: their shapes, and whether the file means them NCHW or NHWC."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.errors import ImportFileError
from edgekit.importers.onnx_context import ImportContext
from edgekit.importers.onnx_model import OnnxInput, OnnxModel, OnnxNode
from edgekit.importers.onnx_view import NHWC_OF_NCHW, Order, Shape

INPUT_TYPES = ("float32", "float16", "float64", "bfloat16", "uint8")
SEE_THROUGH = (
    *("Add", "Sub", "Mul", "Div", "Cast", "Identity", "Clip"),
    *("Relu", "Dropout", "Pad", "Slice", "Split", "Concat"),
)
"""Ops that work on any layout: the search for the first one that tells looks behind them."""
REMEDY = "input_shape= (--input-shape 1,3,224,224 or the like)"


def add_inputs(context: ImportContext, input_shape: Sequence[int] | None) -> None:
    """Make the graph's inputs, all float32. Raises ImportFileError for shapes and types that cannot be taken."""
    model = context.model
    if not model.inputs:
        raise ImportFileError(f"{model.source}: the graph has no input")
    if input_shape is not None and len(model.inputs) != 1:
        names = ", ".join(i.name for i in model.inputs)
        raise ImportFileError(f"{model.source}: input_shape= is for one input, this file has {names}")
    for value in model.inputs:
        if value.dtype not in INPUT_TYPES:
            raise ImportFileError(
                f"{model.source}: input {value.name!r} is of type {value.dtype}: edgekit takes images and float vectors"
            )
        shape = fixed_shape(value, input_shape, model.source)
        context.add_input(value.name, shape, _order(model, value.name, shape))


def fixed_shape(value: OnnxInput, wanted: Sequence[int] | None, source: str) -> Shape:
    """The input's shape with an open batch set to 1 and other open dimensions from `wanted` (in the file's layout)."""
    where = f"{source}: input {value.name!r}"
    dims = value.dims if value.dims is not None else tuple("?" for _ in wanted or ())
    text = f"({', '.join(map(str, dims))})"
    if wanted is not None:
        fits = len(wanted) == len(dims) and all(isinstance(d, str) or d == w for d, w in zip(dims, wanted, strict=True))
        if not fits or min(wanted, default=0) < 1:
            raise ImportFileError(f"{where} has shape {text}: input_shape={tuple(wanted)} does not fit it")
        return tuple(int(d) for d in wanted)
    if value.dims is None:
        raise ImportFileError(f"{where} has no shape: give {REMEDY}, or export with a static shape")
    shape = []
    for axis, dim in enumerate(dims):
        if isinstance(dim, str) and axis > 0:
            raise ImportFileError(
                f"{where} has the open dimension {dim!r} (axis {axis} of {text}): "
                f"give {REMEDY}, or export with a static shape"
            )
        shape.append(1 if isinstance(dim, str) else dim)
    return tuple(shape)


def _order(model: OnnxModel, name: str, shape: Shape) -> Order:
    if len(shape) == 2:
        return (0, 1)
    if len(shape) != 4:
        raise ImportFileError(
            f"{model.source}: input {name!r} has shape {shape}: edgekit takes images (N, C, H, W) and vectors (N, F)"
        )
    return (0, 1, 2, 3) if _is_nhwc(model, name, shape) else NHWC_OF_NCHW


def _is_nhwc(model: OnnxModel, name: str, shape: Shape) -> bool:
    """Whether the first op that tells takes the input for NHWC: a transpose to NCHW, or a reshape that is one."""
    readers: dict[str, list[OnnxNode]] = {}
    for node in model.nodes:
        for read in node.inputs:
            readers.setdefault(read, []).append(node)
    waiting, seen = [name], {name}
    while waiting:
        for node in readers.get(waiting.pop(0), []):
            if node.op == "Transpose" and node.attrs.get("perm") == (0, 3, 1, 2):
                return True
            if node.op == "Reshape":
                return shape[3] == 1 and shape[1] != 1
            if node.op in SEE_THROUGH:
                waiting += [o for o in node.outputs if o not in seen]
                seen.update(node.outputs)
            elif node.op != "Shape":
                return False
    return False

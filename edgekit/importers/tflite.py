"""Imports TFLite files (float, with float16 or int8 weights) into the graph.

`tflite_file` reads, `tflite_ops` is the table of operators, `tflite_fold` computes what is constant, `tflite_patterns`
puts together what converters took apart, `tflite_metadata` reads what the file says about images and classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekit import __version__
from edgekit.errors import GraphError, ImportFileError, UnsupportedOpError
from edgekit.graph.ir import Graph
from edgekit.graph.validate import check_finite, validate
from edgekit.importers.tflite_context import TfliteContext, Value
from edgekit.importers.tflite_file import read_tflite
from edgekit.importers.tflite_fold import FOLDS, fold
from edgekit.importers.tflite_metadata import read_metadata
from edgekit.importers.tflite_model import TfliteOp, TfliteTensor
from edgekit.importers.tflite_ops import CONVERTERS, remedy
from edgekit.importers.tflite_patterns import recognise_tflite_patterns
from edgekit.importers.tflite_shapes import Shape, bounded

REMEDY = "input_shape= (--input-shape 1,224,224,3 or the like)"


def import_tflite(
    path_or_bytes: Path | str | bytes, *, name: str | None = None, input_shape: Sequence[int] | None = None
) -> Graph:
    """Read a TFLite file with float activations as a graph with float32 weights.

    The batch becomes 1, be it open or not; an NCHW input (PyTorch's) becomes NHWC. float16 and int8 weights become
    float32. input_shape: of the file's only input, in the file's own layout, where dimensions besides the batch are
    open. name: the graph's (by default the file's).
    Raises ImportFileError for a file that cannot be read or taken, among them those quantized throughout,
    UnsupportedOpError for an operator outside the table, GraphError for weights that hold NaN or infinity.
    """
    model = read_tflite(path_or_bytes)
    file_name, title = "bytes", name or "model"
    if not isinstance(path_or_bytes, bytes):
        file_name, title = Path(path_or_bytes).name, name or Path(path_or_bytes).stem
    context = TfliteContext(model, title)
    _add_inputs(context, input_shape)
    for op in model.ops:
        _import_op(context, op)
    graph = context.graph
    for index in model.outputs:
        graph.outputs = (*graph.outputs, _output(context, index))
    validate(graph, f"importing {model.source}")
    recognise_tflite_patterns(graph)
    graph.metadata = {
        "model": {"name": title},
        "weights": {"source": "file", "name": file_name, "sha256": model.sha256},
        "edgekit": __version__,
        **read_metadata(model, graph),
    }
    check_finite(graph, model.source)
    return validate(graph, f"importing {model.source}")


# -- inputs ------------------------------------------------------------------------------------------------------------


def _add_inputs(context: TfliteContext, wanted: Sequence[int] | None) -> None:
    model = context.model
    if not model.inputs or len(set(model.inputs)) != len(model.inputs) or min(model.inputs) < 0:
        raise ImportFileError(f"{model.source}: the graph has no inputs, or lists one twice")
    if wanted is not None and len(model.inputs) != 1:
        names = ", ".join(model.tensors[i].name for i in model.inputs)
        raise ImportFileError(f"{model.source}: input_shape= is for one input, this file has {names!r}")
    for index in model.inputs:
        tensor = model.tensors[index]
        where = f"{model.source}: input {tensor.name!r}"
        try:
            _check_input_type(context, tensor)
            context.add_input(index, bounded(_input_shape(tensor, wanted)))
        except ImportFileError as problem:
            raise ImportFileError(f"{where} {problem}") from None


def _check_input_type(context: TfliteContext, tensor: TfliteTensor) -> None:
    """float32, or pixels (uint8) that a CAST makes float32 at once."""
    if 0 in tensor.dims:
        raise ImportFileError(f"has the empty shape {tensor.dims}: edgekit takes none")
    readers = [op for op in context.model.ops if tensor.index in op.inputs]
    pixels = tensor.dtype == "uint8" and all(op.op == "CAST" for op in readers)
    if tensor.is_constant or not (tensor.dtype == "float32" or pixels):
        kind = "a constant" if tensor.is_constant else f"of type {tensor.dtype}"
        raise ImportFileError(f"is {kind}: edgekit takes float32, or uint8 pixels behind which a CAST comes")


def _input_shape(tensor: TfliteTensor, wanted: Sequence[int] | None) -> Shape:
    """The shape, with a batch of 1, and open dimensions from `wanted`."""
    dims = tensor.dims
    text = f"({', '.join('?' if d == -1 else str(d) for d in dims)})"
    if len(dims) not in (2, 3, 4):
        raise ImportFileError(f"has shape {text}: edgekit takes images (N, H, W, C) and vectors (N, F)")
    if wanted is not None:
        fits = len(wanted) == len(dims) and all(d in (-1, w) for d, w in zip(dims[1:], wanted[1:], strict=True))
        if not fits or min(wanted) < 1:
            raise ImportFileError(f"has shape {text}: input_shape={tuple(wanted)} does not fit it")
        return tuple(int(d) for d in wanted)
    if -1 in dims[1:]:
        raise ImportFileError(f"has open dimensions besides the batch {text}: give {REMEDY}")
    if min(dims[1:]) < 1:
        raise ImportFileError(f"has the shape {text}, which cannot be: the file is damaged")
    return (1, *dims[1:])


# -- operators and outputs ---------------------------------------------------------------------------------------------


def _import_op(context: TfliteContext, op: TfliteOp) -> None:
    model = context.model
    if not op.inputs or not op.outputs or min(op.outputs) < 0:
        raise ImportFileError(f"{model.source}: a {op.op} has no input or no output: the file is damaged")
    label = model.tensors[op.outputs[0]].name
    try:
        values = _values(context, op)
        if len(values) != len(op.outputs):
            raise ImportFileError(f"makes {len(values)} tensors and names {len(op.outputs)}")
    except UnsupportedOpError:
        raise
    except (ImportFileError, GraphError) as problem:
        raise ImportFileError(f"{model.source}: {op.op} (makes {label!r}): {problem}") from None
    for index, value in zip(op.outputs, values, strict=True):
        if index in context.values or model.tensors[index].is_constant:
            raise ImportFileError(f"{model.source}: {op.op} makes {model.tensors[index].name!r} a second time")
        context.values[index] = value


def _values(context: TfliteContext, op: TfliteOp) -> list[Value]:
    first = context.model.tensors[op.outputs[0]]
    if op.op in FOLDS and not op.is_custom:
        inputs = [context.value(i) for i in op.inputs if i >= 0]
        constants = [value for value in inputs if isinstance(value, np.ndarray)]
        if len(constants) == len(inputs) > 0:
            return [context.counted(value) for value in fold(op, constants, first.dtype)]
    if op.op not in CONVERTERS or op.is_custom:
        target = f"{context.model.source}: the TFLite importer"
        raise UnsupportedOpError(op.op, first.name, target, remedy(op))
    _check_types(context, op)
    context.enter(op)
    with np.errstate(all="ignore"):  # what overflows becomes infinity, which `check_finite` names
        return CONVERTERS[op.op](context, op)


def _check_types(context: TfliteContext, op: TfliteOp) -> None:
    """Activations are float32 throughout; only CAST may read another type, and SHAPE makes one."""
    read = [] if op.op == "CAST" else [i for i in op.inputs if i >= 0 and not _is_constant(context, i)]
    made = [] if op.op == "SHAPE" else op.outputs
    for index in (*read, *made):
        tensor = context.model.tensors[index]
        if tensor.dtype != "float32":
            raise ImportFileError(f"works on {tensor.name!r} of type {tensor.dtype}: activations must be float32")


def _is_constant(context: TfliteContext, index: int) -> bool:
    return isinstance(context.value(index), np.ndarray)


def _output(context: TfliteContext, index: int) -> str:
    """The tensor of a graph output. Each output has a tensor of its own."""
    source = context.model.source
    if index < 0:
        raise ImportFileError(f"{source}: an output is left out: the file is damaged")
    name = context.model.tensors[index].name
    value = context.values.get(index)
    if value is None:
        raise ImportFileError(f"{source}: output {name!r} is made by no operator")
    if not isinstance(value, str):
        raise ImportFileError(f"{source}: output {name!r} does not depend on the input")
    if not 1 <= len(context.shape(value)) <= 4:
        shape = context.shape(value)
        raise ImportFileError(f"{source}: output {name!r} has shape {shape}: edgekit takes up to four dimensions")
    taken = value in (*context.graph.inputs, *context.graph.outputs)
    return value if not taken else context.emit("identity", [value], name=context.name_of(index))

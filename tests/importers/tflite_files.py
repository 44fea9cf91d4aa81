"""Small TFLite files built part by part with the schema's own classes: what no converter writes, or nobody should."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

Edit = Callable[[Any], None]


@dataclass(frozen=True)
class Op:
    """One operator: tensors by name, None for an input that is left out; options: its table and fields set there."""

    op: str
    inputs: Sequence[str | None]
    outputs: Sequence[str]
    options: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


def tflite_file(
    ops: Sequence[Op],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    shape: Sequence[int] = (1, 4, 4, 2),
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
    shapes: Mapping[str, Sequence[int]] | None = None,
    edit: Edit | None = None,
) -> bytes:
    """A file of these operators from "x" to "y"; activations are float32. edit: changes the model before it is packed.

    Shapes of results matter to nobody: the runtime and the importer both work them out.
    """
    known = {**dict.fromkeys(inputs, tuple(shape)), **(shapes or {})}
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes, graph.tensors, graph.operators = [], [], []
    index: dict[str, int] = {}

    def tensor(name: str | None) -> int:
        if name is None:
            return -1
        if name not in index:
            index[name] = len(graph.tensors)
            graph.tensors.append(_tensor(model, name, known.get(name, (1,)), (constants or {}).get(name)))
        return index[name]

    for name in (*inputs, *(constants or {})):
        tensor(name)
    for op in ops:
        graph.operators.append(_operator(model, op, [tensor(i) for i in op.inputs], [tensor(o) for o in op.outputs]))
    graph.inputs = np.asarray([tensor(i) for i in inputs], np.int32)
    graph.outputs = np.asarray([tensor(o) for o in outputs], np.int32)
    if edit is not None:
        edit(model)
    return pack(model)


def edited(data: bytes, edit: Edit) -> bytes:
    """A file with something changed in the schema's object form."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    edit(model)
    return pack(model)


def pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(model: Any, name: str, shape: Sequence[int], data: np.ndarray | None) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.buffer = name, schema.TensorType.FLOAT32, 0
    tensor.shape = np.asarray(shape, np.int32)
    if data is not None:
        tensor.shape, tensor.buffer = np.asarray(data.shape, np.int32), len(model.buffers)
        tensor.type = getattr(schema.TensorType, data.dtype.name.upper())
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        model.buffers.append(buffer)
    return tensor


def _operator(model: Any, op: Op, inputs: list[int], outputs: list[int]) -> Any:
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    is_builtin = hasattr(schema.BuiltinOperator, op.op)
    code.builtinCode = getattr(schema.BuiltinOperator, op.op) if is_builtin else schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
    code.customCode = None if is_builtin else op.op
    operator.opcodeIndex = len(model.operatorCodes)
    model.operatorCodes.append(code)
    operator.inputs, operator.outputs = np.asarray(inputs, np.int32), np.asarray(outputs, np.int32)
    if op.options is not None:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, op.options)
        operator.builtinOptions = getattr(schema, f"{op.options}T")()
        for name, value in op.fields.items():
            assert hasattr(operator.builtinOptions, name), name
            setattr(operator.builtinOptions, name, value)
    return operator

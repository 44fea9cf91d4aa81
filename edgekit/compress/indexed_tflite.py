"""TFLite files whose weights are indices into a codebook: small, but looked up at each inference.

No TFLite runtime folds GATHER, and XNNPACK takes no convolution whose weights are computed: such files are for where
bytes count and time does not (SqueezeNet runs 5.7 times slower). What the runtimes do unpack once, when they load a
file, are float16 weights behind DEQUANTIZE, which `edgekit export --fp16` writes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.compress.coded import CodedTensor
from edgekit.compress.indexed_onnx import MIN_ELEMENTS, IndexedModel
from edgekit.errors import WeightsError


def indexed_tflite(data: bytes) -> IndexedModel:
    """The same model with every float32 constant of at most 256 distinct values as CAST and GATHER of 8-bit indices.

    Raises WeightsError where no constant has few enough values. The bytes must be a sound TFLite file.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    codes = [
        _operator(schema, model, schema.BuiltinOperator.CAST),
        _operator(schema, model, schema.BuiltinOperator.GATHER),
    ]
    done, plain = 0, []
    for graph in model.subgraphs:
        operators = []
        for tensor in list(graph.tensors):
            coded = _coded(schema, model, tensor)
            if coded is not None:
                operators += _restore(schema, model, graph, tensor, coded, codes)
                done += 1
            elif tensor.type == schema.TensorType.FLOAT32 and _data(model, tensor).nbytes >= 4 * MIN_ELEMENTS:
                plain.append(tensor.name.decode(errors="replace"))
        graph.operators = [*operators, *graph.operators]
    _drop_unused(model)
    if not done:
        raise WeightsError("no weights have at most 256 distinct values: share them first, through a codebook")
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return IndexedModel(bytes(builder.Output()), 0, done, tuple(plain))


def _drop_unused(model: Any) -> None:
    """Empty the buffers that no tensor and no metadata name any more; their numbers stay."""
    named = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    named |= {entry.buffer for entry in model.metadata or ()}
    for number, buffer in enumerate(model.buffers):
        if number not in named:
            buffer.data = None


def _data(model: Any, tensor: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    stored = model.buffers[tensor.buffer].data
    return np.zeros(0, np.uint8) if stored is None else np.asarray(stored, np.uint8)


def _coded(schema: Any, model: Any, tensor: Any) -> CodedTensor | None:
    if tensor.type != schema.TensorType.FLOAT32 or tensor.buffer == 0 or tensor.shape is None:
        return None
    stored = _data(model, tensor)
    if stored.nbytes < 4 * MIN_ELEMENTS:
        return None
    coded = CodedTensor.of_values(stored.view("<f4").astype(np.float32).reshape(tensor.shape))
    return coded if coded is not None and 2 * coded.codebook.size <= coded.indices.size else None


def _operator(schema: Any, model: Any, builtin: int) -> int:
    """The number of an operator in the model's own list, to which it is added."""
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, builtin, 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _restore(schema: Any, model: Any, graph: Any, tensor: Any, coded: CodedTensor, codes: list[int]) -> list[Any]:
    """The two operators that compute `tensor`, which loses its data."""
    name = tensor.name.decode(errors="replace")
    kinds = schema.TensorType
    codebook = _constant(schema, model, graph, f"{name}/codebook", coded.codebook, kinds.FLOAT32)
    indices = _constant(schema, model, graph, f"{name}/indices", coded.indices, kinds.UINT8)
    numbers = _tensor(schema, graph, f"{name}/numbers", coded.shape, kinds.INT32, 0)
    tensor.buffer = 0
    cast, gather = schema.CastOptionsT(), schema.GatherOptionsT()
    cast.inDataType, cast.outDataType = kinds.UINT8, kinds.INT32
    made = [
        (codes[0], [indices], [numbers], schema.BuiltinOptions.CastOptions, cast),
        (codes[1], [codebook, numbers], [graph.tensors.index(tensor)], schema.BuiltinOptions.GatherOptions, gather),
    ]
    operators = []
    for code, inputs, outputs, kind, options in made:
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        operators.append(operator)
    return operators


def _constant(schema: Any, model: Any, graph: Any, name: str, array: np.ndarray[Any, Any], kind: int) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return _tensor(schema, graph, name, array.shape, kind, len(model.buffers) - 1)


def _tensor(schema: Any, graph: Any, name: str, shape: tuple[int, ...], kind: int, buffer: int) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), list(shape), kind, buffer
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1

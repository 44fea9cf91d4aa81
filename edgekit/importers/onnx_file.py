"""Reads an ONNX file, or refuses it: the only module that sees protos."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.onnx_external import load_external_data
from edgekit.importers.onnx_model import Dim, OnnxInput, OnnxModel, OnnxNode

OLDEST_OPSET = 11
DAMAGED = "is no ONNX file, or a damaged or truncated one: export or copy it again"
STANDARD_DOMAINS = ("", "ai.onnx")
QUANTIZED_OPS = (
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    *("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),
)

QUANTIZED_MARKS = ("Linear", "Quant", "Integer", "NBits")
"""Parts of the names of onnxruntime's own quantized ops."""


def read_onnx(path_or_bytes: Path | str | bytes) -> OnnxModel:
    """Read a file or its bytes.

    Raises ImportFileError for a file that is missing, a folder, damaged, quantized, of an IR version or opset that the
    installed onnx does not know, of an opset before 11, or whose external weights cannot be had.
    """
    from onnx.inliner import inline_local_functions

    data, source, folder = _read_bytes(path_or_bytes)
    model = _parse(data, source)
    _check_ir_version(model, source)
    _opset(model, source)
    if model.functions:
        try:
            model = inline_local_functions(model)
        except (RuntimeError, ValueError) as problem:
            raise ImportFileError(f"{source}: its functions cannot be unfolded: {_first_line(problem)}") from None
    nodes = tuple(_read_node(node, folder, source) for node in model.graph.node)
    _refuse_quantized(nodes, source)
    if model.graph.sparse_initializer:
        raise ImportFileError(f"{source}: has sparse weights: export them dense")
    files = load_external_data(model.graph.initializer, folder, source)
    digest = hashlib.sha256(data)
    for file in files:
        digest.update(file.read_bytes())
    constants = {_text(t.name): _array(t, source) for t in model.graph.initializer}
    return OnnxModel(
        source,
        digest.hexdigest(),
        _text(model.graph.name),
        _opset(model, source),
        tuple(_read_inputs(model.graph, constants)),
        tuple(_text(v.name) for v in model.graph.output),
        constants,
        nodes,
    )


def _read_bytes(path_or_bytes: Path | str | bytes) -> tuple[bytes, str, Path | None]:
    if isinstance(path_or_bytes, bytes):
        return path_or_bytes, "the given bytes", None
    path = Path(path_or_bytes)
    if path.is_dir():
        raise ImportFileError(f"{path}: is a folder: give the .onnx file")
    try:
        return path.read_bytes(), str(path), path.parent
    except FileNotFoundError:
        raise ImportFileError(f"{path}: no such file") from None
    except (OSError, ValueError) as problem:
        raise ImportFileError(f"{path}: cannot be read: {_first_line(problem)}") from None


def _parse(data: bytes, source: str) -> Any:
    """The ModelProto. Nearly any bytes may parse, so that its parts are looked at as well."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]  # ships no types

    if not data:
        raise ImportFileError(f"{source}: is empty")
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise ImportFileError(f"{source}: {DAMAGED}") from None
    if model.ir_version <= 0 or not model.opset_import or not model.HasField("graph"):
        raise ImportFileError(f"{source}: {DAMAGED}")
    if not model.graph.node or not model.graph.output:
        raise ImportFileError(f"{source}: holds a graph without nodes or outputs")
    return model


def _check_ir_version(model: Any, source: str) -> None:
    from onnx import IR_VERSION

    if model.ir_version > IR_VERSION:
        raise ImportFileError(
            f"{source}: IR version {model.ir_version} is newer than {int(IR_VERSION)}, the last that the installed "
            "onnx knows: update onnx, or export again with an older one"
        )


def _opset(model: Any, source: str) -> int:
    from onnx.defs import onnx_opset_version

    versions = [int(o.version) for o in model.opset_import if _text(o.domain) in STANDARD_DOMAINS]
    if not versions:
        raise ImportFileError(f"{source}: names no opset of the ONNX standard: export it again")
    version, newest = max(versions), onnx_opset_version()
    if version < OLDEST_OPSET:
        raise ImportFileError(
            f"{source}: opset {version} is older than {OLDEST_OPSET}: export again with opset_version={OLDEST_OPSET} "
            "or newer"
        )
    if version > newest:
        raise ImportFileError(
            f"{source}: opset {version} is newer than {newest}, the last that the installed onnx knows: "
            f"update onnx or export again with opset_version={newest}"
        )
    return version


def _refuse_quantized(nodes: tuple[OnnxNode, ...], source: str) -> None:
    for node in nodes:
        if node.op in QUANTIZED_OPS or (node.domain == "com.microsoft" and any(m in node.op for m in QUANTIZED_MARKS)):
            raise ImportFileError(
                f"{source}: is quantized (node {node.label!r} is a {node.op}): "
                "export the float model, edgekit quantizes it itself"
            )


def _read_node(node: Any, folder: Path | None, source: str) -> OnnxNode:
    domain = _printable(_text(node.domain))
    return OnnxNode(
        _printable(_text(node.op_type)),
        _text(node.name),
        "" if domain in STANDARD_DOMAINS else domain,
        tuple(_text(name) for name in node.input),
        tuple(_text(name) for name in node.output),
        _read_attrs(node, folder, source),
    )


def _read_attrs(node: Any, folder: Path | None, source: str) -> Mapping[str, Any]:
    """Attributes by name; graphs and other kinds become None, so that a getter refuses them."""
    attrs: dict[str, Any] = {}
    for attr in node.attribute:
        kind = attr.type
        value: Any = None
        if kind == attr.FLOAT:
            value = float(attr.f)
        elif kind == attr.INT:
            value = int(attr.i)
        elif kind == attr.STRING:
            value = _text(attr.s)
        elif kind == attr.TENSOR:
            load_external_data([attr.t], folder, source)
            value = _array(attr.t, source)
        elif kind == attr.FLOATS:
            value = tuple(float(v) for v in attr.floats)
        elif kind == attr.INTS:
            value = tuple(int(v) for v in attr.ints)
        elif kind == attr.STRINGS:
            value = tuple(_text(v) for v in attr.strings)
        attrs[_text(attr.name)] = value
    return attrs


def _read_inputs(graph: Any, constants: Mapping[str, Array]) -> Iterator[OnnxInput]:
    for value in graph.input:
        name = _text(value.name)
        if name in constants:
            continue  # files before IR version 4 list their weights as inputs, too
        tensor = value.type.tensor_type
        dims = tuple(_dim(d) for d in tensor.shape.dim) if tensor.HasField("shape") else None
        yield OnnxInput(name, _dtype_name(tensor.elem_type), dims)


def _dim(dim: Any) -> Dim:
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return int(dim.dim_value)
    return _text(dim.dim_param) or "?"


def _dtype_name(elem_type: int) -> str:
    from onnx.helper import tensor_dtype_to_np_dtype

    try:
        return str(tensor_dtype_to_np_dtype(elem_type).name)
    except KeyError:
        return "?"


def _array(tensor: Any, source: str) -> Array:
    """A TensorProto's value, read-only."""
    from onnx.numpy_helper import to_array

    try:
        array: Array = to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError, NotImplementedError) as problem:
        where = f"{source}: tensor {_text(tensor.name)!r} is damaged"
        raise ImportFileError(f"{where}: {_first_line(problem)}") from None
    return array


def _text(value: str | bytes) -> str:
    """protobuf hands out bytes where a string is not UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def _printable(text: str) -> str:
    """Op names stand unquoted in messages, which are one line."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _first_line(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]

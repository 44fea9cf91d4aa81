"""Reads a TFLite file, or refuses it: the only module that sees flatbuffers.

Every count and offset in a file may lie. The schema's classes check none of them: they raise whatever Python raises
where an offset leads out of the file, and read other parts of it where it does not. So counts are bounded before they
are used, and what is read more than once is added up.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgekit.errors import ImportFileError
from edgekit.importers.tflite_model import TfliteModel, TfliteOp, TfliteTensor
from edgekit.importers.tflite_options import read_options

DAMAGED = "is a damaged or truncated TFLite file"
READING_ERRORS = (
    *(struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, AssertionError),
    MemoryError,
)
"""What flatbuffers and the schema's classes raise over bytes that make no sense."""

MAX_OPERATORS, MAX_TENSORS, MAX_BUFFERS, MAX_METADATA = 5_000, 100_000, 200_000, 1_000
"""Several times what the largest classifiers have; the search for patterns takes seconds for so many operators."""
MAX_ENDS, MAX_RANK, MAX_SCALES, MAX_NAME = 1_000, 8, 1_000_000, 100_000
SHOWN_NAME = 300
"""Converters join the names of all layers that they fuse; the first ones do."""


def read_tflite(path_or_bytes: Path | str | bytes) -> TfliteModel:
    """Read a file or its bytes.

    Raises ImportFileError for a file that is missing, a folder, damaged, no TFLite file, quantized throughout, or one
    of several graphs.
    """
    data, source = _read_bytes(path_or_bytes)
    from ai_edge_litert import schema_py_generated as schema

    if not data:
        raise ImportFileError(f"{source}: is empty")
    if data[4:8] != b"TFL3":
        raise ImportFileError(f"{source}: is no TFLite file, for its identifier is not TFL3: give a .tflite file")
    try:
        model = _Reader(schema, data, source).model()
    except ImportFileError as problem:
        raise ImportFileError(f"{source}: {problem}") from None
    except READING_ERRORS as problem:
        raise ImportFileError(f"{source}: {DAMAGED} ({_first_line(problem)}): export or copy it again") from None
    _refuse_quantized(model)
    return model


def _read_bytes(path_or_bytes: Path | str | bytes) -> tuple[bytes, str]:
    if isinstance(path_or_bytes, bytes):
        return path_or_bytes, "the given bytes"
    try:
        return Path(path_or_bytes).read_bytes(), str(path_or_bytes)
    except FileNotFoundError:
        raise ImportFileError(f"{path_or_bytes}: no such file") from None
    except (OSError, ValueError) as problem:
        raise ImportFileError(f"{path_or_bytes}: cannot be read: {_first_line(problem)}") from None


def _refuse_quantized(model: TfliteModel) -> None:
    for op in model.ops:
        for index in (*op.inputs, *op.outputs):
            tensor = model.tensors[index] if index >= 0 else None
            if tensor is not None and tensor.is_quantized and not tensor.is_constant:
                raise ImportFileError(
                    f"{model.source}: is quantized ({op.op} works on {tensor.name!r}, which is {tensor.dtype}): "
                    "export the float model, edgekit quantizes it itself"
                )


def _first_line(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0][:160]


class _Reader:
    """One pass over a file's bytes."""

    def __init__(self, schema: Any, data: bytes, source: str) -> None:
        self._schema, self._data, self._source = schema, data, source
        self._view = memoryview(data)
        self._text_bytes = 0
        self._op_names = {n: name for name, n in vars(schema.BuiltinOperator).items() if isinstance(n, int)}
        self._types = {n: name.lower() for name, n in vars(schema.TensorType).items() if isinstance(n, int)}

    def model(self) -> TfliteModel:
        """The file's content. Raises ImportFileError without place, or any of READING_ERRORS."""
        root = self._schema.Model.GetRootAs(self._data, 0)
        count = root.SubgraphsLength()
        if count != 1:
            raise ImportFileError(
                f"holds {count} graphs: edgekit takes one, without control flow; export one signature of the model"
            )
        buffers = list(self._each(root, "Buffers", MAX_BUFFERS))
        graph = root.Subgraphs(0)
        tensors = tuple(self._tensor(i, t, buffers) for i, t in enumerate(self._each(graph, "Tensors", MAX_TENSORS)))
        codes = [self._code(code) for code in self._each(root, "OperatorCodes", MAX_OPERATORS)]
        ops = tuple(self._op(op, codes, len(tensors)) for op in self._each(graph, "Operators", MAX_OPERATORS))
        return TfliteModel(
            self._source,
            hashlib.sha256(self._data).hexdigest(),
            tensors,
            self._ends(graph, "Inputs", len(tensors)),
            self._ends(graph, "Outputs", len(tensors)),
            ops,
            {
                self._text(m.Name()): self._content(m.Buffer(), buffers)
                for m in self._each(root, "Metadata", MAX_METADATA)
            },
            self._data,
        )

    def _each(self, table: Any, name: str, limit: int) -> Iterator[Any]:
        count = _bounded(getattr(table, f"{name}Length")(), limit, name)
        read: Callable[[int], Any] = getattr(table, name)
        return (read(i) for i in range(count))

    def _integers(self, table: Any, name: str, limit: int) -> tuple[int, ...]:
        count = _bounded(getattr(table, f"{name}Length")(), limit, name)
        return tuple(int(v) for v in getattr(table, f"{name}AsNumpy")()) if count else ()

    def _text(self, text: bytes | None) -> str:
        """A name. Names that lie over each other could be read a thousand times: together they fit into the file."""
        self._text_bytes += len(text or b"")
        if self._text_bytes > 4 * len(self._data) or len(text or b"") > MAX_NAME:
            raise ImportFileError(f"{DAMAGED} (its names are longer than it): export or copy it again")
        return (text or b"")[:SHOWN_NAME].decode("utf-8", "backslashreplace")

    def _tensor(self, index: int, tensor: Any, buffers: list[Any]) -> TfliteTensor:
        dims = self._integers(tensor, "Shape", MAX_RANK)
        signature = self._integers(tensor, "ShapeSignature", MAX_RANK)
        if len(signature) == len(dims):
            dims = tuple(-1 if s == -1 else d for d, s in zip(dims, signature, strict=True))
        quantization = tensor.Quantization()
        scale: tuple[float, ...] = ()
        zero_point: tuple[int, ...] = ()
        if quantization is not None and _bounded(quantization.ScaleLength(), MAX_SCALES, "Scale"):
            scale = tuple(float(s) for s in quantization.ScaleAsNumpy())
            zero_point = self._integers(quantization, "ZeroPoint", MAX_SCALES)
        name = self._text(tensor.Name())
        raw = self._raw(tensor.Buffer(), buffers)
        if raw is not None and tensor.Sparsity() is not None:
            raise ImportFileError(f"constant {name!r} is stored sparse: export the weights dense")
        empty = 0 in dims and not tensor.IsVariable()
        return TfliteTensor(
            index,
            name,
            dims,
            self._types.get(tensor.Type(), f"number {tensor.Type()}"),
            self._view[:0] if raw is None and empty else raw,
            scale,
            zero_point,
            quantization.QuantizedDimension() if quantization is not None else 0,
        )

    def _raw(self, index: int, buffers: list[Any]) -> memoryview | None:
        """The bytes of a buffer, in the flatbuffer or (in files beyond 2 GB) behind it; None where it has none."""
        if not 0 <= index < len(buffers):
            raise ImportFileError(f"{DAMAGED} (it has no buffer {index}): export or copy it again")
        buffer = buffers[index]
        if index and buffer.DataLength():
            return memoryview(buffer.DataAsNumpy())
        offset, size = buffer.Offset(), buffer.Size()
        if offset <= 1 or not size:
            return None
        if offset + size > len(self._data):
            raise ImportFileError(f"{DAMAGED} (buffer {index} ends behind its end): export or copy it again")
        return self._view[offset : offset + size]

    def _content(self, index: int, buffers: list[Any]) -> bytes:
        """The bytes of a metadata buffer."""
        raw = self._raw(index, buffers)
        return b"" if raw is None else bytes(raw)

    def _code(self, code: Any) -> tuple[str, bool]:
        """An operator's name and whether it is a custom one; names stand unquoted in messages, which are one line."""
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number != self._schema.BuiltinOperator.CUSTOM:
            return self._op_names.get(number, f"number {number}"), False
        text = self._text(code.CustomCode())
        return "".join(c if c.isprintable() else "?" for c in text) or "unnamed", True

    def _op(self, operator: Any, codes: list[tuple[str, bool]], tensors: int) -> TfliteOp:
        index = operator.OpcodeIndex()
        if not 0 <= index < len(codes):
            raise ImportFileError(f"{DAMAGED} (it has no operator code {index}): export or copy it again")
        name, is_custom = codes[index]
        options = {} if is_custom else read_options(self._schema, name, operator, self._short_list)
        inputs, outputs = (self._ends(operator, kind, tensors) for kind in ("Inputs", "Outputs"))
        return TfliteOp(name, is_custom, inputs, outputs, options)

    def _short_list(self, table: Any, name: str) -> tuple[int, ...]:
        return self._integers(table, name, MAX_RANK)

    def _ends(self, table: Any, name: str, tensors: int) -> tuple[int, ...]:
        """Indices of tensors; -1 is an input that is left out."""
        found = self._integers(table, name, MAX_ENDS)
        outside = next((i for i in found if not -1 <= i < tensors), None)
        if outside is not None:
            raise ImportFileError(f"{DAMAGED} (it has no tensor {outside}): export or copy it again")
        return found


def _bounded(count: int, limit: int, what: str) -> int:
    if count > limit:
        raise ImportFileError(f"{DAMAGED} (it claims {count} entries of {what}): export or copy it again")
    return count

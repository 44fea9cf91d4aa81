"""A TFLite model under construction: tensors, buffers and operators in the flatbuffer schema's object form."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.export.tflite_versions import min_runtime_version, op_version
from edgekit.graph.ir import Array, Graph, Node, Tensor
from edgekit.graph.quant_params import QuantParams

ALIGNMENT = 16
"""Bytes to which TFLite wants constants aligned, so that it can use them where the file is mapped."""

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
SIGNATURE = "serving_default"
LARGEST_OLD_CODE = 127
"""Op codes were one byte once; old readers find this in their field for all later ones."""


class TfliteModel:
    """Collects a model's parts; tensors are addressed by the index that they have in the file.

    Buffers of equal bytes are stored once, and so are operator codes of equal name and version.
    """

    def __init__(self, graph: Graph) -> None:
        from ai_edge_litert import schema_py_generated

        self.graph = graph
        self._schema: Any = schema_py_generated
        self._tensors: list[Any] = []
        self._dtypes: list[str] = []
        self._operators: list[Any] = []
        self._codes: dict[tuple[str, int], int] = {}
        self._buffers: list[Array | None] = [None]
        self._buffer_of: dict[bytes, int] = {}
        self._index_of: dict[tuple[str, str], int] = {}
        self._names = set(graph.tensors)
        self._metadata: list[Any] = []

    # -- tensors ---------------------------------------------------------------------------------------------------

    def tensor(self, name: str) -> int:
        """Index of the graph's tensor `name`, added when first asked for."""
        tensor = self.graph.tensor(name)
        if tensor.is_constant:
            return self.constant(tensor)
        if (name, "") not in self._index_of:
            self._index_of[name, ""] = self._add_tensor(name, tensor.shape, tensor.dtype, tensor.quant, 0)
        return self._index_of[name, ""]

    def constant(self, tensor: Tensor, layout: str = "") -> int:
        """Index of a constant of the graph, added when first asked for; `layout` names how its axes were rearranged.

        A float16 constant is followed by a DEQUANTIZE, and the index is that of its float32 result.
        """
        key = (tensor.name, layout)
        if key not in self._index_of:
            self._index_of[key] = self._add_constant(tensor.name, tensor.array, tensor.quant)
        return self._index_of[key]

    def new_constant(self, name: str, data: Array, quant: QuantParams | None = None) -> int:
        """Index of a new constant that the graph does not have."""
        return self._add_constant(self._unique(name), data, quant)

    def integers(self, name: str, values: npt.ArrayLike) -> int:
        """Index of a new int32 constant: shapes, axes, sizes."""
        return self.new_constant(name, np.asarray(values, np.int32))

    def between(self, name: str, shape: Sequence[int], like: Tensor) -> int:
        """Index of a new activation between two operators, with the dtype and quantization of a graph's tensor."""
        return self._add_tensor(self._unique(name), shape, like.dtype, like.quant, 0)

    def _add_constant(self, name: str, data: Array, quant: QuantParams | None) -> int:
        stored = self._add_tensor(name, data.shape, data.dtype.name, quant, self._buffer(data))
        if data.dtype != np.float16:
            return stored
        restored = self._add_tensor(self._unique(f"{name}/float32"), data.shape, "float32", None, 0)
        self.add("DEQUANTIZE", [stored], [restored])
        return restored

    def _unique(self, wish: str) -> str:
        name, count = wish, 0
        while name in self._names:
            count += 1
            name = f"{wish}_{count}"
        self._names.add(name)
        return name

    def _add_tensor(self, name: str, shape: Sequence[int], dtype: str, quant: QuantParams | None, buffer: int) -> int:
        quantization = self._new("QuantizationParameters")
        if quant is not None:
            quantization.scale = np.asarray(quant.scale, np.float32)
            quantization.zeroPoint = np.asarray(quant.zero_point, np.int64)
            quantization.quantizedDimension = quant.axis or 0
        tensor = self._new(
            "Tensor",
            shape=np.asarray(shape, np.int32),
            type=self.enum("TensorType", dtype.upper()),
            buffer=buffer,
            name=name,
            quantization=quantization,
            hasRank=True,
        )
        self._tensors.append(tensor)
        self._dtypes.append(dtype)
        return len(self._tensors) - 1

    def _buffer(self, data: Array) -> int:
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        key = hashlib.blake2b(flat.data, digest_size=16).digest()
        if key not in self._buffer_of:
            self._buffer_of[key] = len(self._buffers)
            self._buffers.append(flat)
        return self._buffer_of[key]

    # -- operators -------------------------------------------------------------------------------------------------

    def add(
        self,
        op: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str | None = None,
        fields: Mapping[str, Any] | None = None,
        version: int | None = None,
    ) -> None:
        """Append an operator. options: name of its options table; fields: what is set there; version: if special."""
        data = inputs[0] if op == "DEQUANTIZE" else outputs[0]
        chosen = version or op_version(op, self._dtypes[data], len(self._tensors[data].shape))
        code = self._codes.setdefault((op, chosen), len(self._codes))
        operator = self._new(
            "Operator", opcodeIndex=code, inputs=np.asarray(inputs, np.int32), outputs=np.asarray(outputs, np.int32)
        )
        if options is not None:
            operator.builtinOptionsType = self.enum("BuiltinOptions", options)
            operator.builtinOptions = self._new(options, **(fields or {}))
        self._operators.append(operator)

    def _new(self, table: str, **fields: Any) -> Any:
        """An object of one of the schema's tables, with these fields."""
        return _fill(getattr(self._schema, f"{table}T")(), fields)

    def enum(self, kind: str, name: str) -> int:
        """Number of an enumerator of the schema, such as Padding's SAME."""
        return int(getattr(getattr(self._schema, kind), name))

    def activation(self, node: Node) -> int:
        """Number of the node's fused activation."""
        return self.enum("ActivationFunctionType", node.attrs["activation"].upper())

    # -- the file --------------------------------------------------------------------------------------------------

    def add_metadata(self, name: str, data: bytes) -> None:
        """Append a named metadata buffer."""
        self._buffers.append(np.frombuffer(data, np.uint8))
        self._metadata.append(self._new("Metadata", name=name, buffer=len(self._buffers) - 1))

    def finish(self, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
        """The file, with the graph's tensors `inputs` and `outputs` as the signature `serving_default`."""
        ends = [[self.tensor(name) for name in names] for names in (inputs, outputs)]
        self.add_metadata("min_runtime_version", min_runtime_version(self._codes).encode().ljust(16, b"\0"))
        maps = [
            [self._new("TensorMap", name=name, tensorIndex=index) for name, index in zip(names, indices, strict=True)]
            for names, indices in zip((inputs, outputs), ends, strict=True)
        ]
        model = self._new(
            "Model",
            version=SCHEMA_VERSION,
            operatorCodes=[self._operator_code(op, version) for op, version in self._codes],
            subgraphs=[self._subgraph(*ends)],
            description=f"edgekit: {self.graph.name}",
            buffers=[self._aligned_buffer(data) for data in self._buffers],
            metadata=self._metadata,
            signatureDefs=[self._new("SignatureDef", inputs=maps[0], outputs=maps[1], signatureKey=SIGNATURE)],
        )
        builder = _sharing_builder_class()(self._size_guess())
        builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
        return bytes(builder.Output())

    def _operator_code(self, op: str, version: int) -> Any:
        code = self.enum("BuiltinOperator", op)
        return self._new(
            "OperatorCode", deprecatedBuiltinCode=min(code, LARGEST_OLD_CODE), builtinCode=code, version=version
        )

    def _aligned_buffer(self, data: Array | None) -> Any:
        return _fill(_aligned_buffer_class(self._schema)(), {"data": data})

    def _subgraph(self, inputs: list[int], outputs: list[int]) -> Any:
        return self._new(
            "SubGraph",
            name="main",
            tensors=self._tensors,
            inputs=np.asarray(inputs, np.int32),
            outputs=np.asarray(outputs, np.int32),
            operators=self._operators,
        )

    def _size_guess(self) -> int:
        """Bytes that the file will roughly take: the builder then need not grow, which copies everything."""
        constants = sum(data.nbytes + 64 for data in self._buffers if data is not None)
        scales: int = sum(12 * t.quantization.scale.size for t in self._tensors if t.quantization.scale is not None)
        return constants + scales + 256 * len(self._tensors) + 256 * len(self._operators) + 4096


def _fill(table: Any, fields: Mapping[str, Any]) -> Any:
    """Set known fields one by one: the classes of older schema modules take no arguments."""
    for name, value in fields.items():
        if not hasattr(table, name):
            raise AttributeError(f"TFLite's schema has no field {name} in {type(table).__name__}")
        setattr(table, name, value)
    return table


@functools.cache
def _sharing_builder_class() -> Any:
    """A flatbuffers builder that stores equal vectors once.

    Per-channel zero points are 8 zero bytes a channel, for every kernel and bias: a tenth of an int8 MobileNet.
    """
    import flatbuffers

    class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]  # the package has no types
        def __init__(self, initial_size: int) -> None:
            super().__init__(initial_size)
            self._offsets: dict[tuple[str, bytes], Any] = {}

        def CreateNumpyVector(self, x: Array) -> Any:  # noqa: N802  # the base class's name
            key = (x.dtype.str, hashlib.blake2b(x.tobytes(), digest_size=16).digest())
            if key not in self._offsets:
                self._offsets[key] = super().CreateNumpyVector(x)
            return self._offsets[key]

    return SharingBuilder


@functools.cache
def _aligned_buffer_class(schema: Any) -> Any:
    """A BufferT that packs its bytes at a multiple of `ALIGNMENT`, which the schema's own class does not do."""

    class AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # the base class is known only at run time
        def Pack(self, builder: Any) -> Any:  # noqa: N802  # the schema's name
            if self.data is not None:
                builder.Prep(ALIGNMENT, len(self.data))
            return super().Pack(builder)

    return AlignedBuffer

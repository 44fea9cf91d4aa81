"""ONNX files whose weights are indices into a codebook, through standard ops that onnxruntime folds when it loads them.

No decoder is needed: the file is small on disk and runs as fast as the plain one. Indices of 4 bits lie two in a byte:
the first half of the elements in the lower, the second in the upper halves of the bytes. All ops are in opset 11.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.compress.coded import CodedTensor
from edgekit.errors import ImportFileError, WeightsError

MIN_ELEMENTS = 256
"""Smaller weights stay plain: the ops that restore them would take more room than they save."""
LOWEST_OPSET = 11


@dataclass(frozen=True, slots=True)
class IndexedModel:
    """data: the file. four, eight: weights that have become 4-bit and 8-bit indices. plain: larger ones left alone."""

    data: bytes
    four: int
    eight: int
    plain: tuple[str, ...]


def indexed_onnx(data: bytes) -> IndexedModel:
    """The same model with every initializer of at most 256 distinct values as indices.

    Raises ImportFileError where the bytes are no ONNX file of opset 11 or newer, WeightsError where no initializer has
    few enough values.
    """
    import onnx
    from onnx import numpy_helper

    decode_error: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
    try:
        model = onnx.load_model_from_string(data)
    except decode_error as error:
        raise ImportFileError(f"not a whole ONNX file ({error}): export or copy it again") from error
    opset = max((entry.version for entry in model.opset_import if not entry.domain), default=0)
    if opset < LOWEST_OPSET:
        raise ImportFileError(f"ONNX opset {opset} lacks BitShift: export the model with opset {LOWEST_OPSET} or newer")
    outside = next((entry.name for entry in model.graph.initializer if entry.external_data), None)
    if outside is not None:
        raise ImportFileError(f"tensor {outside!r} lies in another file: save the model as one file")
    kept, nodes, widths, plain = [], list[Any](), list[int](), []
    names = {name for node in model.graph.node for name in node.output}
    names |= {entry.name for entry in (*model.graph.input, *model.graph.output, *model.graph.initializer)}
    for entry in model.graph.initializer:
        coded = _coded(entry, numpy_helper)
        if coded is None:
            kept.append(entry)
            plain += [entry.name] if np.prod(entry.dims, initial=1) >= MIN_ELEMENTS else []
            continue
        writer = _Restorer(entry.name, names)
        widths.append(writer.write(coded))
        kept += writer.initializers
        nodes += writer.nodes
    if not widths:
        raise WeightsError("no weights have at most 256 distinct values: share them first, through a codebook")
    nodes += model.graph.node
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ImportFileError(f"the ONNX file does not hold together ({error}): export it again") from error
    packed: bytes = model.SerializeToString(deterministic=True)
    return IndexedModel(packed, widths.count(4), widths.count(8), tuple(plain))


def _coded(entry: Any, numpy_helper: Any) -> CodedTensor | None:
    """The initializer as indices where it is floats worth it."""
    from onnx import TensorProto

    if entry.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        return None
    array = numpy_helper.to_array(entry)
    coded = CodedTensor.of_values(array) if array.size >= MIN_ELEMENTS else None
    return coded if coded is not None and 2 * coded.codebook.size <= array.size else None


class _Restorer:
    """Writes the nodes that make a tensor called `name` out of indices and a codebook."""

    def __init__(self, name: str, taken: set[str]) -> None:
        self._name, self._taken = name, taken
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def write(self, coded: CodedTensor) -> int:
        """Returns how wide the indices are: 4 or 8 bits."""
        indices = coded.indices.ravel().astype(np.uint8)
        codebook = self._constant("codebook", coded.codebook)
        if coded.codebook.size > 16:
            whole, width = self._constant("indices", indices), 8
        else:
            whole, width = self._unpacked(indices), 4
        numbers = self._node("Cast", [whole], "numbers", to=_int32())
        values = self._node("Gather", [codebook, numbers], "values", axis=0)
        shape = self._constant("shape", np.array(coded.shape, np.int64))
        self._node("Reshape", [values, shape], None)
        return width

    def _unpacked(self, indices: np.ndarray[Any, Any]) -> str:
        """Packs indices below 16, and writes the nodes that unpack them: all lower halves, then all upper ones."""
        half = (len(indices) + 1) // 2
        lower, upper = indices[:half], np.pad(indices[half:], (0, 2 * half - len(indices)))
        packed = self._constant("packed", lower | upper << 4)
        four = self._constant("four", np.array(4, np.uint8))
        raised = self._node("BitShift", [packed, four], "raised", direction="LEFT")
        low = self._node("BitShift", [raised, four], "low", direction="RIGHT")
        high = self._node("BitShift", [packed, four], "high", direction="RIGHT")
        both = self._node("Concat", [low, high], "both", axis=0)
        if 2 * half == len(indices):
            return both
        ends = [self._constant(k, np.array([v], np.int64)) for k, v in (("begin", 0), ("end", len(indices)))]
        return self._node("Slice", [both, *ends], "whole")

    def _constant(self, part: str, array: np.ndarray[Any, Any]) -> str:
        from onnx import numpy_helper

        name = self._unique(part)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _node(self, op: str, inputs: list[str], part: str | None, **attrs: Any) -> str:
        """A node whose output is a part of the tensor, or the tensor itself (None)."""
        from onnx import helper

        output = self._name if part is None else self._unique(part)
        self.nodes.append(helper.make_node(op, inputs, [output], output, **attrs))
        return output

    def _unique(self, part: str) -> str:
        name = f"{self._name}/{part}"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def _int32() -> int:
    from onnx import TensorProto

    return int(TensorProto.INT32)

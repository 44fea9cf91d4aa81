from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tensors import kernel

from edgekit.compress.indexed_onnx import indexed_onnx
from edgekit.errors import ImportFileError, WeightsError


def model(*weights: np.ndarray, opset: int = 14) -> bytes:
    """Convolutions in a row."""
    side = 12 - sum(array.shape[2] - 1 for array in weights)
    width = 12 - sum(array.shape[3] - 1 for array in weights)
    result = (1, weights[-1].shape[0], side, width)
    nodes = [helper.make_node("Conv", [f"a{k}", f"w{k}"], [f"a{k + 1}"]) for k in range(len(weights))]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("a0", (1, weights[0].shape[1], 12, 12)), (f"a{len(weights)}", result))
    ]
    initializers = [numpy_helper.from_array(array, f"w{k}") for k, array in enumerate(weights)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def session(data: bytes, optimized: str | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = optimized
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def outputs(data: bytes) -> np.ndarray:
    image = np.random.default_rng(0).standard_normal((1, 8, 12, 12)).astype(np.float32)
    return session(data).run(None, {"a0": image})[0]


@pytest.mark.parametrize(("codes", "bits"), [(12, 4), (15, 4), (60, 8), (255, 8)])
@pytest.mark.parametrize("opset", [11, 14, 18])
def test_outputs_are_equal_and_the_file_is_small(codes, bits, opset):
    weights = kernel((24, 8, 3, 3), codes=codes), kernel((31, 24, 3, 3), codes=codes, seed=1)
    plain = model(*weights, opset=opset)
    indexed = indexed_onnx(plain)
    assert (indexed.four, indexed.eight) == ((2, 0) if bits == 4 else (0, 2))
    assert (outputs(indexed.data) == outputs(plain)).all()
    elements = sum(w.size for w in weights)
    assert len(indexed.data) < elements * bits / 8 + 2 * 4 * (codes + 1) + 2200


def test_an_odd_number_of_four_bit_indices():
    weights = kernel((5, 8, 3, 3), codes=9), kernel((7, 5, 3, 3), codes=9)
    assert weights[1].size % 2
    plain = model(*weights)
    assert (outputs(indexed_onnx(plain).data) == outputs(plain)).all()


def test_onnxruntime_folds_everything_when_it_loads(tmp_path):
    data = indexed_onnx(model(kernel((24, 8, 3, 3), codes=12), kernel((31, 24, 3, 3), codes=99))).data
    session(data, str(tmp_path / "folded.onnx"))
    assert Counter(n.op_type for n in onnx.load(tmp_path / "folded.onnx").graph.node) == {"Conv": 2}


def test_weights_with_many_values_stay_and_are_told():
    many = np.random.default_rng(0).standard_normal((16, 24, 3, 3)).astype(np.float32)
    indexed = indexed_onnx(model(kernel((24, 8, 3, 3)), many))
    assert indexed.plain == ("w1",)
    with pytest.raises(WeightsError, match="no weights have at most 256 distinct values"):
        indexed_onnx(model(many))


def test_files_that_cannot_be_taken():
    with pytest.raises(ImportFileError, match="opset 10 lacks BitShift"):
        indexed_onnx(model(kernel((24, 8, 3, 3)), opset=10))
    with pytest.raises(ImportFileError, match="not a whole ONNX file"):
        indexed_onnx(b"\xff\xff\xff")

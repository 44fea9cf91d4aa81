from __future__ import annotations

import lzma
import zlib

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from small_models import tflite_models
from tensors import kernel

from edgekit.compress.container import read_container, write_container
from edgekit.compress.lossless import take_apart
from edgekit.compress.weight_places import file_kind, find_places
from edgekit.export.onnx import onnx_bytes
from edgekit.export.tflite import tflite_bytes
from edgekit.passes.registry import apply_passes
from edgekit.pipeline.container_file import lossless_bytes
from edgekit.zoo.registry import build_model


def small_graph():
    return apply_passes(build_model("lenet5"))[0]


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_weights_are_found_and_coded_as_weights(kind):
    graph = small_graph()
    data = tflite_bytes(graph) if kind == "tflite" else onnx_bytes(graph)
    assert file_kind(data) == kind
    content = take_apart(data, "m")
    weights = sum(t.nbytes for t in graph.constants())
    assert sum(t.nbytes for t in content.tensors.values()) > 0.98 * weights
    packed = lossless_bytes(data, "m")
    assert read_container(packed).file_bytes(0) == data
    assert len(packed) < 0.93 * min(len(zlib.compress(data, 9)), len(lzma.compress(data, preset=9)))


@pytest.mark.parametrize("name", ["float", "int8", "uint8", "reverse_fp16", "custom", "two_inputs"])
def test_converters_files_come_back(name):
    data = tflite_models()[name]
    assert read_container(lossless_bytes(data, name)).file_bytes(0) == data


def constant_model(array: np.ndarray, *, float_data: bool = False) -> bytes:
    """Weights as an initializer, in a node's attribute and in a subgraph."""
    tensor = numpy_helper.from_array(array, "w")
    if float_data:
        tensor = helper.make_tensor("w", TensorProto.FLOAT, array.shape, array.ravel())
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(array + 1, "c"))
    inner = helper.make_graph([], "inner", [], [], [numpy_helper.from_array(array + 2, "i")])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph([constant, branch], "g", [], [], [tensor])
    return helper.make_model(graph).SerializeToString()


@pytest.mark.parametrize("float_data", [False, True])
def test_onnx_weights_are_found_wherever_they_stand(float_data):
    array = kernel((16, 4, 3, 3))
    data = constant_model(array, float_data=float_data)
    places = find_places(data, "onnx")
    assert [(p.name, p.shape) for p in places] == [("c", array.shape), *[("i", array.shape)] * 2, ("w", array.shape)]
    assert {p.dtype for p in places} == {"float32"}
    # the subgraph stands there twice; equal bytes are stored once
    assert len(take_apart(data, "m").tensors) == 3
    assert read_container(lossless_bytes(data, "m")).file_bytes(0) == data


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "float16", "float32", "float64", "bool"])
def test_every_element_type_comes_back(dtype):
    array = (np.random.default_rng(0).standard_normal((30, 20)) * 50).astype(dtype)
    model = helper.make_model(helper.make_graph([], "g", [], [], [numpy_helper.from_array(array, "w")]))
    data = model.SerializeToString()
    assert len(take_apart(data, "m").tensors) == 1
    assert read_container(lossless_bytes(data, "m")).file_bytes(0) == data


@given(st.binary(max_size=3000))
@settings(max_examples=60, deadline=None)
def test_any_bytes_come_back(data):
    assert read_container(lossless_bytes(data, "any")).file_bytes(0) == data


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_damaged_models_come_back_as_they_are(kind):
    data = tflite_models()["int8"] if kind == "tflite" else constant_model(kernel((8, 8, 3, 3)))
    rng = np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(data)
        for place in rng.integers(0, min(len(data), 4000), 6):
            changed[place] = rng.integers(0, 256)
        content = take_apart(bytes(changed), "m")
        assert content.file_bytes(0) == bytes(changed)
    cut = data[: len(data) // 2]
    assert read_container(write_container(take_apart(cut, "m"))).file_bytes(0) == cut


def test_a_very_repetitive_file_is_deflated_whole():
    data = onnx.helper.make_model(
        helper.make_graph([], "g", [], [], [numpy_helper.from_array(np.zeros(1 << 22, np.float32), "w")])
    ).SerializeToString()
    packed = lossless_bytes(data, "zeros")
    assert len(packed) < len(data) / 900
    assert read_container(packed).file_bytes(0) == data

"""The writer's float files against the numpy reference, Keras and TensorFlow's converter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_helpers import (
    activations,
    check_both_kernels,
    mobile_graph,
    one_layer,
    op_versions,
    open_tflite,
    quantize_min_max,
    quantized_feeds,
    random_feeds,
    run_tflite,
    shuffle_graph,
)

from edgekit.errors import GraphError, ImportFileError, UnsupportedOpError
from edgekit.export.tflite import op_names, tflite_bytes
from edgekit.export.tflite_ops import ROWS
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.graph.ops import OPS
from edgekit.runtime import xnnpack_coverage


def _parsed(data: bytes) -> schema.ModelT:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def test_the_table_has_a_row_for_every_op():
    assert set(ROWS) == set(OPS)
    assert all((row.write is None) == bool(row.remedy) for row in ROWS.values())


@pytest.mark.parametrize("make", [mobile_graph, shuffle_graph])
@pytest.mark.parametrize("seed", range(3))
def test_float_networks(make, seed):
    check_both_kernels(make(seed=seed))


def test_batches_are_kept():
    graph = one_layer((3, 8, 8, 4), lambda b: b.channel_shuffle(b.conv2d("input", 8, 3, name="conv"), 2, name="x"))
    check_both_kernels(graph)


# -- convolutions ------------------------------------------------------------------------------------------------------

PADDINGS = ["same", "valid", 1, (0, 1, 0, 1), (2, 0, 1, 3)]


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("stride", [1, 2, (2, 1)], ids=str)
@pytest.mark.parametrize("size", [(11, 12), (8, 7)], ids=str)
@pytest.mark.parametrize("kind", ["conv", "depthwise"])
def test_convolution_paddings(kind, size, stride, padding):
    def build(b):
        if kind == "conv":
            return b.conv2d("input", 5, 3, stride=stride, padding=padding, bias=True, name="x")
        return b.depthwise("input", 3, stride=stride, padding=padding, name="x")

    check_both_kernels(one_layer((1, *size, 6), build))


@pytest.mark.parametrize(
    "attrs",
    [
        {"groups": 2},
        {"groups": 6},
        {"dilation": (2, 2)},
        {"groups": 6, "dilation": (2, 1)},
        {"activation": "relu"},
        {"activation": "relu6"},
        {"strides": (2, 2), "dilation": (1, 1), "padding": (1, 1, 1, 1), "groups": 3},
    ],
    ids=str,
)
def test_convolution_attributes(attrs):
    def build(b):
        kernel = b.random("kernel", (3, 3, 6 // attrs.get("groups", 1), 12), 0.5)
        return b.op("conv2d", ["input", kernel, b.random("bias", (12,), 4.0)], attrs, name="x")

    check_both_kernels(one_layer((1, 9, 10, 6), build))


def test_padding_that_no_window_reaches_needs_no_pad():
    graph = one_layer((1, 8, 8, 3), lambda b: b.conv2d("input", 4, 3, stride=2, padding=(0, 1, 0, 1), name="x"))
    assert op_names(check_both_kernels(graph)) == ["CONV_2D"]
    graph = one_layer((1, 9, 9, 3), lambda b: b.conv2d("input", 4, 3, stride=2, padding=(0, 1, 0, 1), name="x"))
    assert op_names(check_both_kernels(graph)) == ["CONV_2D"]
    graph = one_layer((1, 8, 8, 3), lambda b: b.conv2d("input", 4, 3, stride=2, padding=1, name="x"))
    assert op_names(check_both_kernels(graph)) == ["PAD", "CONV_2D"]


def test_a_single_input_channel_is_a_plain_convolution():
    graph = one_layer((1, 9, 9, 1), lambda b: b.conv2d("input", 4, 3, name="x"))
    assert op_names(check_both_kernels(graph)) == ["CONV_2D"]


def test_a_kernel_shared_by_two_layouts():
    def build(b):
        kernel = b.random("kernel", (1, 1, 1, 4), 1.0)
        x = b.op("conv2d", ["input", kernel], {"groups": 4}, name="depthwise")
        y = b.op("conv2d", [b.conv2d(x, 1, 1, name="one"), kernel], {}, name="spread")
        return b.add(x, y, name="x")

    check_both_kernels(one_layer((1, 5, 5, 4), build))


# -- pools -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("padding", ["same", "valid", 1, (0, 1, 1, 0), (1, 2, 0, 1)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_pools(kind, padding, stride):
    check_both_kernels(
        one_layer((1, 8, 11, 3), lambda b: b.pool("input", kind, 3, stride=stride, padding=padding, name="x"))
    )


@pytest.mark.parametrize("size", [7, 8, 9, 12])
@pytest.mark.parametrize("pad", [0, 1])
def test_caffes_ceil_mode(size, pad):
    def build(b):
        return b.pool("input", "max_pool", 3, stride=2, padding=pad, ceil=True, name="x")

    check_both_kernels(one_layer((1, size, size, 3), build))


def test_max_pools_pad_with_zeros_only_behind_a_relu():
    def pool(b, x):
        return b.pool(x, "max_pool", 3, stride=2, padding=1, name="x")

    positive = one_layer(
        (1, 8, 8, 3), lambda b: pool(b, b.concat([b.activation("input", "relu", name="r")] * 2, name="c"))
    )
    assert op_names(check_both_kernels(positive)) == ["RELU", "CONCATENATION", "PAD", "MAX_POOL_2D"]
    signed = one_layer((1, 8, 8, 3), lambda b: pool(b, "input"))
    assert op_names(check_both_kernels(signed)) == ["PADV2", "MAX_POOL_2D"]
    negative_border = one_layer(
        (1, 8, 8, 3),
        lambda b: pool(
            b,
            b.op(
                "pad",
                [b.activation("input", "relu", name="r")],
                {"before": (0, 1, 1, 0), "after": (0, 1, 1, 0), "value": -2.0},
                name="p",
            ),
        ),
    )
    assert "PAD" not in op_names(check_both_kernels(negative_border))


@pytest.mark.parametrize("positive", [True, False])
def test_int8_max_pool_with_other_padding(positive):
    def build(b):
        x = b.activation("input", "relu", name="r") if positive else "input"
        return b.pool(x, "max_pool", 3, stride=2, padding=1, name="x")

    graph = quantize_min_max(one_layer((1, 8, 8, 3), build))
    data, feeds = tflite_bytes(graph), quantized_feeds(graph, random_feeds(graph, 8))
    assert ("PAD" in op_names(data), "PADV2" in op_names(data)) == (positive, not positive)
    np.testing.assert_array_equal(run_tflite(data, feeds)["x"], interpret(graph, feeds)["x"])


def test_int8_average_pool_with_other_padding_is_refused():
    graph = quantize_min_max(
        one_layer((1, 8, 8, 3), lambda b: b.pool("input", "avg_pool", 3, stride=2, padding=1, name="x"))
    )
    with pytest.raises(UnsupportedOpError, match=r"avg_pool \(node 'x'\): an int8 average pool takes SAME or VALID"):
        tflite_bytes(graph)


# -- the rest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
@pytest.mark.parametrize("op", ["add", "mul"])
@pytest.mark.parametrize("shape", [(), (6,), (1, 1, 1, 6), (1, 5, 4, 6), (5, 1, 1)], ids=str)
def test_broadcasting_with_constants(op, shape, activation):
    def build(b):
        constant = b.constant("k", np.random.default_rng(1).standard_normal(shape).astype(np.float32) * 3)
        return b.op(op, ["input", constant], {"activation": activation}, name="x")

    check_both_kernels(one_layer((1, 5, 4, 6), build))


def test_splits():
    def build(b):
        first = b.split("input", (3, 4, 5), name="uneven")
        second = b.split("input", (4, 4, 4), name="even")
        return b.concat([*reversed(first), *second[1:]], name="x")

    data = check_both_kernels(one_layer((1, 3, 3, 12), build))
    assert op_names(data) == ["SLICE", "SLICE", "SLICE", "SPLIT", "CONCATENATION"]


def test_padding_with_a_value():
    attrs = {"before": (0, 1, 0, 2), "after": (0, 0, 3, 0), "value": -1.5}
    data = check_both_kernels(one_layer((1, 3, 3, 4), lambda b: b.op("pad", ["input"], attrs, name="x")))
    assert op_names(data) == ["PADV2"]


@pytest.mark.parametrize("op", [name for name, row in ROWS.items() if row.write is None])
def test_refused_ops_name_the_remedy(op):
    def build(b):
        if op == "batch_norm":
            return b.batch_norm("input", name="x")
        return b.op(op, ["input"], {}, name="x")

    with pytest.raises(UnsupportedOpError, match=rf"TFLite cannot take op {op} \(node 'x'\): run the pass"):
        tflite_bytes(one_layer((1, 3, 3, 4), build))


def test_a_computed_kernel_is_refused():
    builder = GraphBuilder("one", (1, 4))
    kernel = builder.input("kernel", (4, 2))
    graph = builder.finish(builder.op("dense", ["input", kernel], {}, name="x"))
    with pytest.raises(UnsupportedOpError, match=r"dense \(node 'x'\): its kernel must be a constant"):
        tflite_bytes(graph)


# -- float16 -----------------------------------------------------------------------------------------------------------


def test_float16_constants_are_dequantized_in_the_file():
    graph = mobile_graph()
    full = tflite_bytes(graph)
    for tensor in graph.constants():
        graph.set_tensor(tensor.with_data(tensor.array.astype(np.float16)))
    data = check_both_kernels(graph)
    assert op_versions(data)["DEQUANTIZE"] == 3
    assert len(data) < len(full)
    assert xnnpack_coverage(data).complete


# -- the file ----------------------------------------------------------------------------------------------------------


def test_the_same_graph_gives_the_same_bytes():
    graph = mobile_graph()
    graph.metadata = {"labels": [f"class {i}" for i in range(10)], "model": {"name": "mobile", "alpha": 1.0}}
    data = tflite_bytes(graph)
    assert tflite_bytes(graph.copy()) == data
    script = (
        "import sys, tflite_helpers as h; from edgekit.export.tflite import tflite_bytes\n"
        "graph = h.mobile_graph()\n"
        "graph.metadata = {'model': {'alpha': 1.0, 'name': 'mobile'}, 'labels': [f'class {i}' for i in range(10)]}\n"
        "sys.stdout.buffer.write(tflite_bytes(graph))"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": path}
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=environment)
    assert other.stdout == data


def test_buffers_are_aligned_and_shared():
    builder = GraphBuilder("one", (1, 6, 6, 4))
    kernel = np.random.default_rng(0).standard_normal((3, 3, 4, 4)).astype(np.float32)
    x = builder.op("conv2d", ["input", builder.constant("k1", kernel)], {"padding": (1, 1, 1, 1)}, name="a")
    x = builder.op("conv2d", [x, builder.constant("k2", kernel.copy())], {"padding": (1, 1, 1, 1)}, name="b")
    data = tflite_bytes(builder.finish(builder.dense(builder.global_avg_pool(x, name="p"), 3, name="x")))
    model = schema.Model.GetRootAs(data, 0)
    contents = []
    for i in range(1, model.BuffersLength()):
        view = model.Buffers(i).DataAsNumpy()
        offset = view.__array_interface__["data"][0] - np.frombuffer(data, np.uint8).__array_interface__["data"][0]
        assert offset % 16 == 0
        contents.append(view.tobytes())
    assert max(Counter(contents).values()) == 1
    assert contents.count(kernel.transpose(3, 0, 1, 2).tobytes()) == 1


def test_exposed_activations_are_outputs():
    graph = shuffle_graph()
    names = activations(graph)
    feeds = random_feeds(graph, 2)
    got = run_tflite(tflite_bytes(graph, expose=names), feeds)
    want = interpret(graph, feeds, keep=True)
    assert set(got) == set(names)
    for name in names:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-5, atol=1e-5)


def test_exposing_what_no_node_makes_is_refused():
    graph = mobile_graph()
    for name in ("nothing", "input", "stem/kernel"):
        with pytest.raises(GraphError, match=f"cannot expose '{name}': no node of graph 'mobile' makes it"):
            tflite_bytes(graph, expose=[name])


def test_names_and_shapes_are_the_graphs():
    interpreter = open_tflite(tflite_bytes(mobile_graph()))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["input"], "outputs": ["probabilities"]}}
    (detail,) = interpreter.get_input_details()
    assert (detail["name"], detail["shape"].tolist()) == ("input", [1, 17, 17, 3])
    assert detail["shape_signature"].tolist() == [1, 17, 17, 3]


def test_made_names_do_not_hide_the_graphs():
    def build(b):
        x = b.conv2d("input", 4, 3, stride=2, padding=1, name="x")
        return b.activation(x, "relu", name="x/pad")

    graph = one_layer((1, 8, 8, 3), build)
    names = [tensor.name.decode() for tensor in _parsed(check_both_kernels(graph)).subgraphs[0].tensors]
    assert len(set(names)) == len(names)
    assert "x/pad" in names


@pytest.mark.parametrize("data", [b"", b"nothing of the kind", b"\x1c\0\0\0TFL3" + b"\xff" * 40])
def test_reading_ops_of_a_damaged_file(data):
    with pytest.raises(ImportFileError, match="TFLite file"):
        op_names(data)


def test_equal_vectors_are_stored_once():
    """Per-channel zero points are zeros, 8 bytes a channel: a second layer of as many channels adds none."""

    def size(layers: int) -> int:
        b = GraphBuilder("n", (1, 4, 4, 512))
        x = "input"
        for i in range(layers):
            x = b.depthwise(x, 1, name=f"d{i}")
        graph = b.finish(x)
        return len(tflite_bytes(quantize_min_max(graph)))

    # kernel int8, bias int32 and a float32 scale for each of the two: 13 bytes a channel, and some for the tables.
    assert size(3) - size(2) < 13 * 512 + 1024

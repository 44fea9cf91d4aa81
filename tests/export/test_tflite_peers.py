"""The writer's files beside those of its peers: Keras's layers, and the op versions of TensorFlow's converter."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_helpers import (
    check_both_kernels,
    mobile_graph,
    one_layer,
    op_versions,
    quantize_min_max,
    run_tflite,
    shuffle_graph,
)

from edgekit.export.tflite import tflite_bytes
from edgekit.export.tflite_versions import op_version
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph


def _keras_layers():
    from keras import layers

    return {
        **{
            f"conv {padding} {size} {stride}": (size, layers.Conv2D(5, 3, strides=stride, padding=padding))
            for padding in ("same", "valid")
            for size in (7, 8)
            for stride in (1, 2)
        },
        "conv dilated": (9, layers.Conv2D(5, 3, dilation_rate=2, padding="same")),
        "conv grouped": (9, layers.Conv2D(8, 3, groups=2, padding="same")),
        "depthwise same": (8, layers.DepthwiseConv2D(3, strides=2, padding="same")),
        "depthwise valid": (8, layers.DepthwiseConv2D(3, padding="valid")),
        "depthwise multiplier": (8, layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)),
        "max same": (7, layers.MaxPooling2D(3, 2, padding="same")),
        "max valid": (8, layers.MaxPooling2D(3, 2, padding="valid")),
        "average same": (8, layers.AveragePooling2D(3, 2, padding="same")),
        "average valid": (7, layers.AveragePooling2D(2, 2, padding="valid")),
    }


def _from_keras(size: int, layer) -> Graph:
    """A graph of one Keras layer with its weights."""
    builder = GraphBuilder("keras", (1, size, size, 4))
    if type(layer).__name__.endswith("Pooling2D"):
        kind = "max_pool" if type(layer).__name__.startswith("Max") else "avg_pool"
        return builder.finish(
            builder.pool("input", kind, layer.pool_size, stride=layer.strides, padding=layer.padding, name="x")
        )
    kernel, bias = (np.asarray(weight) for weight in layer.get_weights())
    groups = getattr(layer, "groups", 1)
    if type(layer).__name__ == "DepthwiseConv2D":
        groups, kernel = 4, kernel.reshape(*kernel.shape[:2], 1, -1)
    attrs = {
        "strides": tuple(layer.strides),
        "dilation": tuple(layer.dilation_rate),
        "groups": groups,
        "padding": builder.resolve_padding("input", kernel.shape, layer.strides, layer.padding, layer.dilation_rate),
    }
    inputs = ["input", builder.constant("kernel", kernel), builder.constant("bias", bias)]
    return builder.finish(builder.op("conv2d", inputs, attrs, name="x"))


def test_layers_equal_keras():
    for name, (size, layer) in _keras_layers().items():
        x = np.random.default_rng(1).standard_normal((1, size, size, 4)).astype(np.float32)
        layer.build(x.shape)
        layer.set_weights([np.random.default_rng(2).standard_normal(w.shape) for w in layer.get_weights()])
        want = np.asarray(layer(x))
        got = run_tflite(tflite_bytes(_from_keras(size, layer)), {"input": x})["x"]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_dense_layer_equals_keras():
    from keras import layers

    layer = layers.Dense(7)
    x = np.random.default_rng(1).standard_normal((1, 9)).astype(np.float32)
    want = np.asarray(layer(x))
    builder = GraphBuilder("keras", x.shape)
    weights = [builder.constant(f"w{i}", np.asarray(w)) for i, w in enumerate(layer.get_weights())]
    graph = builder.finish(builder.op("dense", ["input", *weights], {}, name="x"))
    np.testing.assert_allclose(run_tflite(tflite_bytes(graph), {"input": x})["x"], want, rtol=1e-5, atol=1e-6)


def _converted(int8: bool) -> bytes:
    """What TensorFlow's converter writes for a function that has nearly every op of the table."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    kernels = {
        name: tf.constant(generator.standard_normal(shape) * 0.3, tf.float32)
        for name, shape in {"conv": (3, 3, 8, 8), "depthwise": (3, 3, 8, 1), "dense": (16, 5)}.items()
    }

    @tf.function(input_signature=[tf.TensorSpec((1, 16, 16, 8), tf.float32)])
    def network(x):
        x = tf.nn.relu6(tf.nn.conv2d(x, kernels["conv"], 2, "SAME") + 0.5)
        y = tf.nn.depthwise_conv2d(x, kernels["depthwise"], [1, 1, 1, 1], "SAME") + 0.25
        first, second = tf.split(y, 2, axis=3)
        x = tf.concat([first, second, x], axis=3)
        x = tf.nn.avg_pool2d(tf.nn.max_pool2d(x, 2, 2, "VALID"), 2, 2, "SAME")
        x = tf.gather(x, [3, 1, 2, 0, 5, 6, 7, 8], axis=3)
        x = x * tf.sigmoid(tf.reduce_mean(x, [1, 2], keepdims=True))
        x = tf.pad(tf.transpose(x, (0, 2, 1, 3)), [[0, 0], [1, 1], [1, 1], [0, 0]])
        x = x + x[:, :1]
        x = tf.nn.relu(tf.slice(x, [0, 0, 0, 0], [1, 3, 2, 8]))[:, ::2, ::2]
        return tf.nn.softmax(tf.matmul(tf.reshape(x, (1, 16)), kernels["dense"]) + 0.1)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()], network)
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [generator.standard_normal((1, 16, 16, 8)).astype(np.float32)] for _ in range(4)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
def test_op_versions_are_the_converters(int8):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = op_versions(_converted(int8))
    shared = {name: version for name, version in theirs.items() if name != "QUANTIZE"}
    assert len(shared) >= 16
    assert {name: op_version(name, "int8" if int8 else "float32", 4) for name in shared} == shared


@pytest.mark.parametrize("make", [mobile_graph, shuffle_graph])
def test_versions_in_our_files_fit_the_dtype(make):
    integers = op_versions(tflite_bytes(quantize_min_max(make())))
    floats = op_versions(tflite_bytes(make()))
    assert set(integers) == set(floats)
    expected = {name: op_version(name, "int8", 4) for name in integers}
    assert integers == expected | ({"CONV_2D": 6} if make is shuffle_graph else {})


def test_special_versions():
    dilated = one_layer((1, 9, 9, 4), lambda b: b.conv2d("input", 4, 3, groups=4, dilation=2, name="x"))
    assert op_versions(tflite_bytes(dilated)) == {"DEPTHWISE_CONV_2D": 2}
    grouped = one_layer((1, 9, 9, 4), lambda b: b.conv2d("input", 4, 3, groups=2, name="x"))
    assert op_versions(tflite_bytes(grouped)) == {"CONV_2D": 6}
    rank_5 = one_layer((1, 2, 3, 2, 2), lambda b: b.transpose("input", (0, 4, 1, 2, 3), name="x"))
    assert op_versions(check_both_kernels(rank_5)) == {"TRANSPOSE": 4}


def test_the_oldest_runtime_is_told():
    def told(graph: Graph) -> bytes:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite_bytes(graph), 0))
        (entry,) = (m for m in model.metadata if m.name == b"min_runtime_version")
        return bytes(model.buffers[entry.buffer].data)

    dense = one_layer((1, 4), lambda b: b.dense("input", 2, name="x"))
    assert told(dense) == b"1.5.0".ljust(16, b"\0")
    assert told(quantize_min_max(dense)) == b"1.14.0".ljust(16, b"\0")
    assert told(shuffle_graph()) == b"2.9.0".ljust(16, b"\0")

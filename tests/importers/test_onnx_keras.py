"""Keras models through tf2onnx and through Keras's own export: NHWC stays NHWC and no transpose is left."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from onnx_oracle import check_import, ops

pytestmark = pytest.mark.slow
INDICES = (5, 5, 1, 0, 11, 7, 3, 2)


@pytest.fixture(scope="module")
def model() -> Any:
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    entry = layers.Input((16, 16, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(entry)
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Activation("hard_silu")(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.Activation("swish")(layers.DepthwiseConv2D(3, 2, padding="valid")(x))
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = layers.Conv2D(4, 1, activation="relu", bias_initializer="random_normal")(y)
    y = layers.Conv2D(8, 1, activation="hard_sigmoid")(y)
    x = layers.Multiply()([x, y])
    x = layers.Add()([x, layers.Conv2D(8, 1)(x)])
    x = layers.MaxPooling2D(3, 1, padding="same")(layers.AveragePooling2D(2, padding="same")(x))
    x = layers.Concatenate()([x, layers.Conv2D(3, 1)(x)])
    classes = layers.Dense(10, activation="softmax", bias_initializer="random_normal")(layers.Flatten()(x))
    other = layers.Dense(3)(layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x)))
    return keras.Model(entry, [classes, other])


def convert(model: Any, opset: int, size: int = 16) -> Any:
    """The model through tf2onnx, with an open batch."""
    tf2onnx = pytest.importorskip("tf2onnx")
    import tensorflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = (tensorflow.TensorSpec((None, size, size, 3), tensorflow.float32, name="input"),)
        return tf2onnx.convert.from_keras(model, spec, opset=opset)[0]


@pytest.mark.parametrize("opset", [13, 17])
def test_tf2onnx(model: Any, opset: int) -> None:
    _check(check_import(convert(model, opset), nhwc_input=True))


def shuffled(x: Any, groups: int, joined: bool) -> Any:
    """The shuffle in layers of Keras: with five axes, or with height and width joined."""
    from keras import layers

    _, h, w, c = x.shape
    apart = (h * w, groups, c // groups) if joined else (h, w, groups, c // groups)
    x = layers.Permute((1, 3, 2) if joined else (1, 2, 4, 3))(layers.Reshape(apart)(x))
    return layers.Reshape((h, w, c))(x)


def shuffles_and_index() -> Any:
    """A network of shuffles (one of them in TensorFlow's own ops), an index layer and a split in halves."""
    keras = pytest.importorskip("keras")
    import tensorflow

    class Shuffle(keras.layers.Layer):  # type: ignore[name-defined,misc,unused-ignore]
        def call(self, x: Any) -> Any:
            _, h, w, c = x.shape
            x = tensorflow.transpose(tensorflow.reshape(x, [-1, h, w, 2, c // 2]), [0, 1, 2, 4, 3])
            return tensorflow.reshape(x, [-1, h, w, c])

    class Index(keras.layers.Layer):  # type: ignore[name-defined,misc,unused-ignore]
        def call(self, x: Any) -> Any:
            return tensorflow.gather(x, INDICES, axis=3)

    keras.utils.set_random_seed(0)
    layers = keras.layers
    entry = layers.Input((16, 16, 3))
    x = layers.Conv2D(12, 3, 2, padding="same", use_bias=False)(entry)
    x = shuffled(layers.ReLU()(layers.BatchNormalization()(x)), 3, joined=False)
    x = shuffled(layers.DepthwiseConv2D(3, padding="same")(x), 4, joined=True)
    x = Index()(Shuffle()(layers.Conv2D(12, 1)(x)))
    x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, 2, padding="same")(x))
    left, right = x[..., :4], x[..., 4:]
    x = layers.Concatenate()([left, layers.Conv2D(4, 1, activation="silu")(right)])
    return keras.Model(entry, layers.Dense(5)(layers.GlobalAveragePooling2D()(shuffled(x, 2, joined=False))))


@pytest.mark.parametrize("opset", [11, 15, 18])
def test_shuffles_through_tf2onnx(opset: int) -> None:
    graph = check_import(convert(shuffles_and_index(), opset), nhwc_input=True)
    found = ops(graph)
    assert not {"transpose", "reshape", "slice"} & set(found)
    assert [n.attrs["groups"] for n in graph.nodes if n.op == "channel_shuffle"] == [3, 4, 2, 2]
    assert [n.attrs["indices"] for n in graph.nodes if n.op == "gather"] == [INDICES]
    assert (found.count("split"), found.count("swish"), found.count("concat")) == (1, 1, 1)


def test_keras_network_through_tf2onnx() -> None:
    """A whole published architecture: no transpose, no reshape but the classifier's."""
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV3Small(input_shape=(64, 64, 3), alpha=0.35, weights=None, classes=10)
    found = ops(check_import(convert(model, 13, size=64), nhwc_input=True, deep=True))
    assert "transpose" not in found
    assert {op: found.count(op) for op in ("hard_swish", "hard_sigmoid", "global_avg_pool", "reshape")} == {
        "hard_swish": 19,
        "hard_sigmoid": 9,
        "global_avg_pool": 10,
        "reshape": 1,
    }


def test_keras_export(model: Any, tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.export(tmp_path / "keras.onnx", format="onnx", verbose=False)
    _check(check_import(tmp_path / "keras.onnx", nhwc_input=True))


def _check(graph: Any) -> None:
    found = ops(graph)
    assert graph.shape(graph.inputs[0]) == (1, 16, 16, 3)
    assert "transpose" not in found
    assert found.count("reshape") == 1
    assert (found.count("hard_swish"), found.count("swish"), found.count("hard_sigmoid")) == (1, 1, 1)
    dense = next(n for n in graph.nodes if n.op == "dense" and graph.shape(n.output)[1] == 10)
    assert len(dense.inputs) == 3

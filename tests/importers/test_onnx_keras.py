"""Keras models through tf2onnx and through Keras's own export: NHWC stays NHWC and no transpose is left."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from onnx_oracle import check_import, ops

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize("opset", [13, 17])
def test_tf2onnx(model: Any, opset: int) -> None:
    tf2onnx = pytest.importorskip("tf2onnx")
    import tensorflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = (tensorflow.TensorSpec((None, 16, 16, 3), tensorflow.float32, name="input"),)
        proto, _ = tf2onnx.convert.from_keras(model, spec, opset=opset)
    _check(check_import(proto, nhwc_input=True))


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

"""Every row of the importer's tables against Keras 3 and Keras 2: as an object, as `.keras` and as `.h5`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_oracle import FORMS, FRAMEWORKS, check, check_graph, framework, imported, ops, randomised

from edgekit.importers.keras import import_keras
from edgekit.importers.keras_table import LAYERS, OPERATIONS

SHAPE = (9, 8, 6)
Row = tuple[str, Callable[[Any, Any], Any]]
"""Class of the layer that is tested, and what is made of an image of SHAPE by the framework's layers."""

ROWS: list[Row] = [
    ("Conv2D", lambda la, x: la.Conv2D(5, 3)(x)),
    ("Conv2D", lambda la, x: la.Conv2D(6, (3, 2), strides=(2, 1), padding="same", groups=3, activation="relu")(x)),
    ("Conv2D", lambda la, x: la.Conv2D(4, 3, dilation_rate=(2, 1), padding="same", use_bias=False)(x)),
    ("Conv2D", lambda la, x: la.Conv2D(4, 3, strides=3, padding="same", activation="softmax")(x)),
    ("Conv2D", lambda la, x: la.Conv2D(4, 1, activation="hard_sigmoid")(x)),
    ("DepthwiseConv2D", lambda la, x: la.DepthwiseConv2D(3, padding="same", strides=2)(x)),
    ("DepthwiseConv2D", lambda la, x: la.DepthwiseConv2D((2, 3), depth_multiplier=3, activation="relu6")(x)),
    ("DepthwiseConv2D", lambda la, x: la.DepthwiseConv2D(3, dilation_rate=2, use_bias=False)(x)),
    ("SeparableConv2D", lambda la, x: la.SeparableConv2D(7, 3, depth_multiplier=2, activation="sigmoid")(x)),
    ("SeparableConv2D", lambda la, x: la.SeparableConv2D(7, 3, strides=2, padding="same", use_bias=False)(x)),
    ("Dense", lambda la, x: la.Dense(5, activation="swish")(x)),
    ("Dense", lambda la, x: la.Dense(5, use_bias=False)(la.Flatten()(x))),
    ("Dense", lambda la, x: la.Dense(5)(la.Reshape((-1, 6))(x))),
    ("BatchNormalization", lambda la, x: la.BatchNormalization()(x)),
    ("BatchNormalization", lambda la, x: la.BatchNormalization(scale=False, epsilon=0.1)(x)),
    ("BatchNormalization", lambda la, x: la.BatchNormalization(center=False)(la.Flatten()(x))),
    ("BatchNormalization", lambda la, x: la.BatchNormalization(center=False, scale=False)(la.Reshape((-1, 6))(x))),
    ("Normalization", lambda la, x: la.Normalization()(x)),
    ("Normalization", lambda la, x: la.Normalization(mean=[1, 2, 3, 4, 5, 6], variance=[0, 1, 2, 3, 4, 5])(x)),
    ("Normalization", lambda la, x: la.Normalization(axis=None, mean=0.5, variance=2.0, invert=True)(x)),
    ("Normalization", lambda la, x: la.Normalization(axis=(1, 3))(x)),
    ("Rescaling", lambda la, x: la.Rescaling(1 / 127.5, offset=-1)(x)),
    ("Rescaling", lambda la, x: la.Rescaling([1.0, 2, 3, 4, 5, 6])(x)),
    ("Rescaling", lambda la, x: la.Rescaling(1.0, 0.5)(x)),
    ("MaxPooling2D", lambda la, x: la.MaxPooling2D()(x)),
    ("MaxPooling2D", lambda la, x: la.MaxPooling2D((3, 2), strides=(2, 3), padding="same")(x)),
    ("AveragePooling2D", lambda la, x: la.AveragePooling2D(3, strides=2, padding="same")(x)),
    ("AveragePooling2D", lambda la, x: la.AveragePooling2D((2, 3), strides=1)(x)),
    ("GlobalMaxPooling2D", lambda la, x: la.GlobalMaxPooling2D()(x)),
    ("GlobalMaxPooling2D", lambda la, x: la.GlobalMaxPooling2D(keepdims=True)(x)),
    ("GlobalAveragePooling2D", lambda la, x: la.GlobalAveragePooling2D()(x)),
    ("GlobalAveragePooling2D", lambda la, x: la.GlobalAveragePooling2D(keepdims=True)(x)),
    ("ZeroPadding2D", lambda la, x: la.ZeroPadding2D()(x)),
    ("ZeroPadding2D", lambda la, x: la.ZeroPadding2D(((0, 1), (2, 0)))(x)),
    ("Cropping2D", lambda la, x: la.Cropping2D(((0, 1), (2, 0)))(x)),
    ("Cropping2D", lambda la, x: la.Cropping2D((1, 2))(x)),
    ("ReLU", lambda la, x: la.ReLU()(x)),
    ("ReLU", lambda la, x: la.ReLU(6.0)(x)),
    ("Softmax", lambda la, x: la.Softmax()(x)),
    ("Softmax", lambda la, x: la.Softmax()(la.Flatten()(x))),
    *(
        ("Activation", lambda la, x, a=a: la.Activation(a)(x))
        for a in ("linear", "relu", "sigmoid", "swish", "softmax")
    ),
    ("Activation", lambda la, x: la.Activation("hard_sigmoid")(x)),
    ("Add", lambda la, x: la.Add()([x, la.Conv2D(6, 1)(x), la.ReLU()(x)])),
    ("Add", lambda la, x: la.Add()([x, la.GlobalAveragePooling2D()(x)])),
    ("Multiply", lambda la, x: la.Multiply()([x, la.GlobalAveragePooling2D(keepdims=True)(x)])),
    ("Subtract", lambda la, x: la.Subtract()([x, la.Conv2D(6, 1)(x)])),
    ("Average", lambda la, x: la.Average()([x, la.Conv2D(6, 1)(x), la.ReLU()(x)])),
    ("Concatenate", lambda la, x: la.Concatenate()([x, la.Conv2D(2, 1)(x), x])),
    ("Concatenate", lambda la, x: la.Concatenate(axis=1)([x, x])),
    ("Flatten", lambda la, x: la.Flatten()(x)),
    ("Reshape", lambda la, x: la.Reshape((4, -1, 6))(x)),
    ("Permute", lambda la, x: la.Permute((3, 1, 2))(x)),
    ("Permute", lambda la, x: la.Permute((2, 1, 3))(x)),
    ("Dropout", lambda la, x: la.Dropout(0.3)(x)),
    ("SpatialDropout2D", lambda la, x: la.SpatialDropout2D(0.3)(x)),
    ("GaussianDropout", lambda la, x: la.GaussianDropout(0.3)(x)),
    ("AlphaDropout", lambda la, x: la.AlphaDropout(0.3)(x)),
    ("Identity", lambda la, x: la.Identity()(x)),
    ("GaussianNoise", lambda la, x: la.GaussianNoise(0.3)(x)),
    ("ActivityRegularization", lambda la, x: la.ActivityRegularization(l2=0.1)(x)),
    ("RandomFlip", lambda la, x: la.RandomFlip()(x)),
    ("RandomRotation", lambda la, x: la.RandomRotation(0.1)(x)),
    ("RandomZoom", lambda la, x: la.RandomZoom(0.1)(x)),
    ("RandomTranslation", lambda la, x: la.RandomTranslation(0.1, 0.1)(x)),
    ("RandomContrast", lambda la, x: la.RandomContrast(0.1)(x)),
    ("RandomBrightness", lambda la, x: la.RandomBrightness(0.1)(x)),
]


def test_every_layer_has_a_row() -> None:
    elsewhere = {"CustomScaleLayer"}  # keras.applications' own, see test_keras_applications
    assert {kind for kind, _ in ROWS} == LAYERS.keys() - elsewhere


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("form", FORMS)
def test_layers(name: str, form: str, tmp_path: Path) -> None:
    k = framework(name)
    k.utils.set_random_seed(0)
    entry = k.layers.Input(SHAPE, name="image")
    # Keras 3 cannot write RandomBrightness to HDF5.
    rows = [make for kind, make in ROWS if (name, form, kind) != ("keras", ".h5", "RandomBrightness")]
    graph = check(k.Model(entry, [make(k.layers, entry) for make in rows]), form, tmp_path)
    assert "transpose" in ops(graph)


def test_activations_of_keras_3(tmp_path: Path) -> None:
    k = framework("keras")
    entry = k.layers.Input(SHAPE)
    found = [k.layers.Activation(name)(entry) for name in ("relu6", "silu", "hard_silu", "hard_swish", "hard_sigmoid")]
    graph = check(k.Model(entry, found), ".keras", tmp_path)
    assert ops(graph) == ["relu6", "swish", "hard_swish", "hard_swish", "hard_sigmoid"]


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("form", ["object", ".keras"])
def test_a_layer_as_activation(name: str, form: str, tmp_path: Path) -> None:
    k = framework(name)
    la, entry = k.layers, k.layers.Input(SHAPE)
    found = [la.Conv2D(4, 1, activation=act)(entry) for act in (la.ReLU(6.0), la.Softmax(), la.Activation("swish"))]
    graph = check(k.Model(entry, found), form, tmp_path)
    assert ops(graph)[1::2] == ["relu6", "softmax", "swish"]


@pytest.mark.parametrize(("name", "slope"), [("keras", 1 / 6), ("tf_keras", 0.2)])
@pytest.mark.parametrize("form", FORMS)
def test_hard_sigmoid_is_of_the_version_that_wrote_it(name: str, slope: float, form: str, tmp_path: Path) -> None:
    k = framework(name)
    entry = k.layers.Input((4,))
    graph = check(k.Model(entry, k.layers.Dense(3, activation="hard_sigmoid")(entry)), form, tmp_path)
    assert graph.nodes[-1].attrs["slope"] == pytest.approx(slope)


# -- operations --------------------------------------------------------------------------------------------------------

Ops = list[tuple[str, Callable[[Any, Any], Any]]]

CONSTANT = np.linspace(-1, 1, 6).astype(np.float32)

KERAS_OPS: Ops = [
    ("add", lambda o, x: x + 3.0),
    ("add", lambda o, x: o.add(x, o.transpose(o.reshape(x, (-1, 8, 9, 6)), (0, 2, 1, 3)))),
    ("add", lambda o, x: o.add(CONSTANT, x)),
    ("subtract", lambda o, x: 2.0 - x),
    ("subtract", lambda o, x: x - CONSTANT),
    ("subtract", lambda o, x: o.subtract(x, o.relu(x))),
    ("multiply", lambda o, x: x * o.sigmoid(x)),
    ("multiply", lambda o, x: o.multiply(CONSTANT.reshape(1, 1, 1, 6), x)),
    ("true_divide", lambda o, x: x / 3),
    ("divide", lambda o, x: o.divide(x, CONSTANT)),
    ("negative", lambda o, x: -x),
    ("clip", lambda o, x: o.clip(x, 0, 6)),
    ("maximum", lambda o, x: o.maximum(x, 0.0)),
    ("minimum", lambda o, x: o.minimum(o.relu(x), 6.0)),
    ("relu", lambda o, x: o.relu(x)),
    ("relu6", lambda o, x: o.relu6(x)),
    ("sigmoid", lambda o, x: o.sigmoid(x)),
    ("silu", lambda o, x: o.silu(x)),
    ("hard_sigmoid", lambda o, x: o.hard_sigmoid(x)),
    ("hard_silu", lambda o, x: o.hard_silu(x)),
    ("softmax", lambda o, x: o.softmax(x, axis=-1)),
    ("reshape", lambda o, x: o.reshape(x, (-1, 72, 6))),
    ("transpose", lambda o, x: o.transpose(x, (0, 3, 1, 2))),
    ("squeeze", lambda o, x: o.squeeze(o.mean(x, (1, 2), keepdims=True), (1, 2))),
    ("expand_dims", lambda o, x: o.expand_dims(o.reshape(x, (-1, 72, 6)), -2)),
    ("concatenate", lambda o, x: o.concatenate([x, -x], axis=2)),
    ("split", lambda o, x: o.concatenate(o.split(x, 3, axis=-1)[::-1], axis=-1)),
    ("split", lambda o, x: o.split(x, [1, 4], axis=-1)[1]),
    ("take", lambda o, x: o.take(x, [5, 0, -2, 1, 0], axis=-1)),
    ("take", lambda o, x: o.take(x, [0, 3, 1, 4, 2, 5], axis=3)),
    ("take", lambda o, x: o.take(x, 2, axis=1)),
    ("get_item", lambda o, x: x[:, 1:, ::2, -3:]),
    ("get_item", lambda o, x: x[:, 3]),
    ("get_item", lambda o, x: x[..., None, 1]),
    ("pad", lambda o, x: o.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)))),
    ("pad", lambda o, x: o.pad(x, ((0, 0), (1, 0), (0, 2), (1, 1)), constant_values=0.5)),
    ("mean", lambda o, x: o.mean(x, axis=(1, 2))),
    ("max", lambda o, x: o.max(x, axis=[-2, -3], keepdims=True)),
    ("average_pool", lambda o, x: o.average_pool(x, 3, strides=2, padding="same")),
    ("max_pool", lambda o, x: o.max_pool(x, (2, 3))),
    ("stop_gradient", lambda o, x: o.stop_gradient(x)),
    ("cast", lambda o, x: o.cast(x, "float32")),
]

TF_OPS: Ops = [
    ("__operators__.add", lambda tf, x: x + 3.0),
    ("math.add", lambda tf, x: tf.math.add(x, x)),
    ("math.add", lambda tf, x: tf.add(x, tf.constant(CONSTANT))),
    ("nn.bias_add", lambda tf, x: tf.nn.bias_add(x, tf.constant(CONSTANT))),
    ("math.subtract", lambda tf, x: 2.0 - x),
    ("math.subtract", lambda tf, x: tf.subtract(x, tf.nn.relu(x))),
    ("math.multiply", lambda tf, x: x * tf.sigmoid(x)),
    ("math.multiply", lambda tf, x: tf.multiply(x, CONSTANT)),
    ("math.truediv", lambda tf, x: x / 3),
    ("math.divide", lambda tf, x: tf.divide(x, 4.0)),
    ("math.negative", lambda tf, x: -x),
    ("clip_by_value", lambda tf, x: tf.clip_by_value(x, 0, 6)),
    ("math.maximum", lambda tf, x: tf.maximum(x, 0.0)),
    ("math.minimum", lambda tf, x: tf.minimum(tf.nn.relu(x), 6.0)),
    ("nn.relu", lambda tf, x: tf.nn.relu(x)),
    ("nn.relu6", lambda tf, x: tf.nn.relu6(x)),
    ("nn.silu", lambda tf, x: tf.nn.silu(x)),
    ("nn.softmax", lambda tf, x: tf.nn.softmax(x)),
    ("math.sigmoid", lambda tf, x: tf.math.sigmoid(x)),
    ("reshape", lambda tf, x: tf.reshape(x, (tf.shape(x)[0], 72, 6))),
    ("reshape", lambda tf, x: tf.reshape(x, tf.stack([tf.shape(x)[0], tf.shape(x)[1] * 8, 6]))),
    ("transpose", lambda tf, x: tf.transpose(x, (0, 3, 1, 2))),
    ("squeeze", lambda tf, x: tf.squeeze(tf.reduce_mean(x, [1, 2], keepdims=True), [1, 2])),
    ("expand_dims", lambda tf, x: tf.expand_dims(tf.reshape(x, (-1, 72, 6)), -2)),
    ("concat", lambda tf, x: tf.concat([x, -x], axis=2)),
    ("split", lambda tf, x: tf.concat(tf.split(x, 3, axis=-1)[::-1], axis=-1)),
    ("split", lambda tf, x: tf.split(x, [1, -1, 2], axis=-1)[1]),
    ("gather", lambda tf, x: tf.gather(x, [5, 0, 2, 1, 0], axis=-1)),
    ("getitem", lambda tf, x: x[:, 1:, ::2, -3:]),
    ("getitem", lambda tf, x: x[:, 3]),
    ("pad", lambda tf, x: tf.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)))),
    ("math.reduce_mean", lambda tf, x: tf.reduce_mean(x, axis=[1, 2])),
    ("math.reduce_max", lambda tf, x: tf.reduce_max(x, axis=[1, 2], keepdims=True)),
    ("nn.avg_pool2d", lambda tf, x: tf.nn.avg_pool2d(x, 3, 2, "SAME")),
    ("nn.max_pool2d", lambda tf, x: tf.nn.max_pool2d(x, (2, 3), (2, 3), "VALID")),
    ("nn.avg_pool", lambda tf, x: tf.nn.avg_pool(x, [1, 2, 2, 1], [1, 1, 1, 1], "VALID")),
    ("identity", lambda tf, x: tf.identity(x)),
    ("stop_gradient", lambda tf, x: tf.stop_gradient(x)),
    ("cast", lambda tf, x: tf.cast(x, tf.float32)),
]


@pytest.mark.parametrize("form", FORMS)
def test_operations_of_keras_3(form: str, tmp_path: Path) -> None:
    k = framework("keras")
    entry = k.layers.Input(SHAPE)
    model = k.Model(entry, [make(k.ops, entry) for _, make in KERAS_OPS])
    graph = check(model, form, tmp_path)
    assert "channel_shuffle" in ops(graph)
    assert {name for name, _ in KERAS_OPS} <= OPERATIONS.keys()


@pytest.mark.parametrize("form", FORMS)
def test_operations_of_tensorflow_in_keras_2(form: str, tmp_path: Path) -> None:
    k, tf = framework("tf_keras"), framework("tensorflow")
    entry = k.layers.Input(SHAPE)
    check(k.Model(entry, [make(tf, entry) for _, make in TF_OPS]), form, tmp_path)
    assert {name.rpartition(".")[2] for name, _ in TF_OPS} <= OPERATIONS.keys()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_constants_alone_are_computed(name: str) -> None:
    """keras.ops gives numbers for shapes that are known; TensorFlow's stay in the model."""
    k, tf = framework(name), framework("tensorflow")
    entry = k.layers.Input(SHAPE)
    if name == "keras":
        y = k.ops.reshape(entry, (-1, k.ops.shape(entry)[1] * 8, 6))
    else:
        shape = tf.shape(entry)
        y = tf.reshape(entry, tf.stack([shape[0], (shape[1] + 1) * (shape[2] - 1) // 7 - 1, 72 // 9 * 6 - 0]))
    graph = check_graph(import_keras(k.Model(entry, y)), k.Model(entry, y))
    assert ops(graph) == ["reshape"]


# -- what people write -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("form", FORMS)
def test_shuffles_of_channels_become_one_node(name: str, form: str, tmp_path: Path) -> None:
    k = framework(name)
    la = k.layers
    entry = la.Input((5, 4, 12))
    x = la.Conv2D(12, 1, groups=3, name="grouped")(entry)
    x = la.Reshape((5, 4, 3, 4))(x)
    x = la.Permute((1, 2, 4, 3), name="shuffle")(x)
    x = la.Reshape((5, 4, 12))(x)
    x = la.DepthwiseConv2D(3)(x)
    graph = check(k.Model(entry, x), form, tmp_path)
    assert ops(graph) == ["conv2d", "channel_shuffle", "conv2d"]
    assert graph.nodes[1].attrs["groups"] == 3


def test_hard_swish_and_squeeze_excite_as_operations_become_their_ops(tmp_path: Path) -> None:
    k = framework("keras")
    la = k.layers
    entry = la.Input((8, 8, 6))
    x = la.Conv2D(6, 3)(entry)
    x = la.Multiply()([x, la.ReLU(6.0)(x + 3.0) * (1 / 6)])
    gate = la.GlobalAveragePooling2D()(x)
    gate = la.Dense(6)(la.Reshape((1, 1, 6))(gate))
    x = x * (la.ReLU(6.0)(gate + 3.0) * (1 / 6))
    graph = check(k.Model(entry, la.Dense(3)(la.GlobalAveragePooling2D()(x))), ".keras", tmp_path)
    assert ops(graph) == [
        *("conv2d", "hard_swish", "global_avg_pool", "conv2d", "hard_sigmoid", "mul", "global_avg_pool", "dense"),
    ]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_float16_policies_are_imported_as_float32(name: str, tmp_path: Path) -> None:
    k = framework(name)
    k.utils.set_random_seed(0)
    entry = k.layers.Input((8, 8, 3))
    x = k.layers.Conv2D(4, 3, dtype="float16")(entry)
    model = randomised(k.Model(entry, k.layers.Dense(2, dtype="mixed_float16")(k.layers.Flatten()(x))))
    graph = imported(model, ".keras", tmp_path)
    assert {t.dtype for t in graph.tensors.values()} == {"float32"}
    want = np.asarray(model.layers[1].get_weights()[0], np.float32)
    np.testing.assert_array_equal(graph.tensor(f"{model.layers[1].name}/kernel").array, want)

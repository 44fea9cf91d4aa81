"""Whole networks: what TensorFlow's converter writes of Keras's, in three kinds of weights, and edgekit's own files."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from tflite_oracle import (
    check_import,
    convert_keras,
    ops,
    randomize,
    randomize_keras,
    run_as_tflite,
    run_original,
)

from edgekit.export.tflite import tflite_bytes
from edgekit.graph.cost import graph_cost
from edgekit.graph.ir import Graph
from edgekit.graph.kernels import Array
from edgekit.importers.tflite import import_tflite
from edgekit.passes.registry import apply_passes
from edgekit.zoo import build_model
from edgekit.zoo.registry import model_names


def _mobile(layers: Any, keras: Any) -> Any:
    """MobileNet V2's and V3's blocks: inverted residuals with ReLU6, with hard-swish and squeeze-excite."""
    entry = layers.Input((32, 32, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(entry)
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(x)
    x = layers.Activation("hard_silu")(layers.BatchNormalization()(x))
    for stride, kind in ((1, "relu6"), (2, "hard_silu"), (1, "relu")):
        y = layers.Activation(kind)(layers.BatchNormalization()(layers.Conv2D(24, 1, use_bias=False)(x)))
        if stride == 2:
            y = layers.ZeroPadding2D(((0, 1), (0, 1)))(y)
        y = layers.DepthwiseConv2D(3, stride, padding="same" if stride == 1 else "valid", use_bias=False)(y)
        y = layers.Activation(kind)(layers.BatchNormalization()(y))
        if kind != "relu6":
            gate = layers.Conv2D(8, 1, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(y))
            y = layers.Multiply()([y, layers.Conv2D(24, 1, activation="hard_sigmoid")(gate)])
        y = layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(y))
        x = layers.Add()([x, y]) if stride == 1 else y
    x = layers.Conv2D(7, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return keras.Model(entry, layers.Softmax()(layers.Flatten()(x)))


def _efficient(layers: Any, keras: Any) -> Any:
    """Rescaling, swish, squeeze-excite by reshape, strided depthwise layers behind explicit padding."""
    entry = layers.Input((24, 24, 3))
    x = layers.Rescaling(1 / 255)(entry)
    x = layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3])(x)
    x = layers.Conv2D(16, 3, 2, padding="valid", use_bias=False)(layers.ZeroPadding2D(((0, 1), (0, 1)))(x))
    x = layers.Activation("swish")(layers.BatchNormalization()(x))
    for stride in (1, 2):
        y = layers.Conv2D(48, 1, use_bias=False)(x)
        y = layers.Activation("swish")(layers.BatchNormalization()(y))
        if stride == 2:
            y = layers.ZeroPadding2D(((1, 2), (1, 2)))(y)
        y = layers.DepthwiseConv2D(5, stride, padding="same" if stride == 1 else "valid", use_bias=False)(y)
        y = layers.Activation("swish")(layers.BatchNormalization()(y))
        gate = layers.Reshape((1, 1, 48))(layers.GlobalAveragePooling2D()(y))
        gate = layers.Conv2D(48, 1, activation="sigmoid")(layers.Conv2D(4, 1, activation="swish")(gate))
        y = layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(layers.Multiply()([y, gate])))
        x = layers.Add()([x, layers.Dropout(0.2)(y)]) if stride == 1 else y
    return keras.Model(entry, layers.Dense(7, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def _nas(layers: Any, keras: Any) -> Any:
    """Separable convolutions of several sizes, pools without strides, and the halving by two shifted paths."""
    entry = layers.Input((17, 17, 3))
    x = layers.BatchNormalization()(layers.Conv2D(12, 3, 2, padding="valid", use_bias=False)(entry))
    parts = []
    for size in (3, 5):
        y = layers.SeparableConv2D(12, size, strides=2, padding="same", use_bias=False)(layers.ReLU()(x))
        parts.append(layers.BatchNormalization()(y))
    left = layers.AveragePooling2D(1, 2)(x)
    right = layers.Cropping2D(((1, 0), (1, 0)))(layers.ZeroPadding2D(((0, 1), (0, 1)))(x))
    halves = [layers.Conv2D(6, 1, use_bias=False)(p) for p in (left, layers.AveragePooling2D(1, 2)(right))]
    parts.append(layers.BatchNormalization()(layers.Concatenate()(halves)))
    parts += [layers.MaxPooling2D(3, 2, padding="same")(x), layers.AveragePooling2D(3, 2, padding="same")(x)]
    x = layers.ReLU()(layers.Concatenate()([layers.Add()(parts[:2]), *parts[2:]]))
    x = layers.Dense(8, activation="relu")(x)
    return keras.Model(entry, layers.Dense(7)(layers.Flatten()(x)))


def _mobilenet_v2(layers: Any, keras: Any) -> Any:
    return keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=7)


def _mobilenet_v3(layers: Any, keras: Any) -> Any:
    return keras.applications.MobileNetV3Small(input_shape=(32, 32, 3), alpha=0.5, weights=None, classes=7)


NETWORKS = {
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v3": _mobilenet_v3,
    "mobile": _mobile,
    "efficient": _efficient,
    "nas": _nas,
}


SLOW = ("mobilenet_v2", "mobilenet_v3")
PARAMS = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in NETWORKS]


@pytest.fixture(scope="session", params=PARAMS)
def network(request: pytest.FixtureRequest) -> tuple[str, Any]:
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    return request.param, randomize_keras(NETWORKS[request.param](keras.layers, keras))


def test_keras_networks_equal_the_runtime(network: tuple[str, Any]) -> None:
    name, model = network
    graph = check_import(convert_keras(model), pixels=name != "nas")
    found = Counter(ops(graph))
    assert not {"transpose", "gather"} & set(found)
    if name == "mobilenet_v3":
        assert (found["hard_swish"], found["hard_sigmoid"]) == (19, 9)
    if name == "mobile":
        assert (found["hard_swish"], found["hard_sigmoid"], found["relu6"]) == (3, 2, 2)
    if name == "efficient":
        assert (found["swish"], found["sigmoid"], found["reshape"]) == (7, 2, 0)
    if name == "nas":
        assert (found["dense"], found["pad"], found["slice"]) == (1, 1, 1)  # the pad is cropped and not convolved


def _kernels(graph: Graph) -> list[Array]:
    return [graph.tensor(n.inputs[1]).array for n in graph.nodes if n.op in ("conv2d", "dense")]


@pytest.fixture(scope="session")
def three_kinds() -> dict[str, bytes]:
    """One network with float32, float16 and int8 weights."""
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(1)
    layers = keras.layers
    entry = layers.Input((8, 8, 16))
    x = layers.Conv2D(32, 3, activation="relu", padding="same")(entry)
    x = layers.DepthwiseConv2D(3, padding="same")(layers.Conv2D(128, 1)(x))
    classes = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    model = randomize_keras(keras.Model(entry, classes))
    return {kind: convert_keras(model, kind) for kind in ("float32", "float16", "int8")}


def test_float16_weights_become_float32(three_kinds: dict[str, bytes]) -> None:
    graph = check_import(three_kinds["float16"])
    assert {t.dtype for t in graph.constants()} == {"float32"}
    for whole, half in zip(_kernels(import_tflite(three_kinds["float32"])), _kernels(graph), strict=True):
        np.testing.assert_array_equal(whole.astype(np.float16), half)


def test_int8_weights_become_float32_within_half_a_step(three_kinds: dict[str, bytes]) -> None:
    """The runtime rounds activations, too, so that its outputs are close at most."""
    data = three_kinds["int8"]
    graph = import_tflite(data)
    assert len(data) < 0.6 * len(three_kinds["float32"])
    coarse = 0
    for whole, stepped in zip(_kernels(import_tflite(three_kinds["float32"])), _kernels(graph), strict=True):
        steps = np.abs(whole).max(axis=(0, 1, 2) if whole.ndim == 4 else None) / 127
        assert (np.abs(whole - stepped) <= 0.501 * steps).all()
        coarse += not np.array_equal(whole, stepped)
    assert coarse >= 3
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 16)).astype(np.float32)
    (want,), (got,) = run_original(data, [x]), run_as_tflite(graph, {graph.inputs[0]: x})
    assert np.vdot(want, got) / np.linalg.norm(want) / np.linalg.norm(got) > 0.9995


SMALLEST = {"alexnet": 63, "inception_v3": 75}
LARGE = ("shufflenet_v2_164", *(f"efficientnet_b{i}" for i in range(1, 8)))
"""Of families that have a smaller member here."""


def _family(name: str) -> tuple[Graph, bytes]:
    """A network of the zoo as its file is exported; biases are random, since zeros are taken for none."""
    graph, _ = apply_passes(randomize(build_model(name, resolution=SMALLEST.get(name, 32))))
    return graph, tflite_bytes(graph)


@pytest.mark.parametrize("name", [n for n in model_names() if n not in LARGE])
def test_edgekits_own_files_come_back_as_they_were(name: str) -> None:
    graph, data = _family(name)
    back = import_tflite(data)
    again, _ = apply_passes(back)
    before, after = graph_cost(graph), graph_cost(again)
    fixed = sum(graph.tensor(name).size for name in graph.metadata.get("fixed", ()))  # a file does not tell them apart
    assert (after.parameters, after.macs) == (before.parameters + fixed, before.macs)
    assert Counter(ops(again)) == Counter(ops(graph))
    assert (again.inputs, again.outputs) == (graph.inputs, graph.outputs)
    assert again.metadata["preprocessing"] == graph.metadata["preprocessing"]
    x = np.random.default_rng(1).standard_normal(graph.shape(graph.inputs[0])).astype(np.float32)
    for want, got in zip(run_original(data, [x]), run_original(tflite_bytes(again), [x]), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())

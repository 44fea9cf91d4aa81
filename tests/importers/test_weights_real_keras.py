"""Real keras.applications models saved to disk by Keras: our graphs give their outputs."""

from __future__ import annotations

import os
import warnings
from functools import cache

import h5py
import numpy as np
import pytest

from edgekit.graph.interpret import interpret
from edgekit.importers.weights import load_weights
from edgekit.zoo import build_model

CLASSES = {"mobilenet_v1": "MobileNet", "mobilenet_v2": "MobileNetV2"}
FORMATS = (".weights.h5", ".keras", ".h5", "legacy.h5")


@pytest.fixture(autouse=True)
def _quiet():
    """Keras warns about its own old format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import keras as module

    return module


def keras_model(name, alpha, resolution, classes=1000):
    """An application with random weights of healthy size, batch norm statistics included."""
    application = getattr(keras().applications, CLASSES[name])
    return with_random_weights(
        application(alpha=alpha, input_shape=(resolution, resolution, 3), weights=None, classes=classes)
    )


def with_random_weights(model):
    """The model with random weights of healthy size, batch norm statistics included."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        arrays = layer.get_weights()
        if isinstance(layer, keras().layers.BatchNormalization):
            n = arrays[0].shape
            arrays = [rng.uniform(0.5, 1.5, n), *rng.normal(0, 0.3, (2, *n)), rng.uniform(0.3, 2, n)]
        elif arrays:
            depthwise = isinstance(layer, keras().layers.DepthwiseConv2D)
            fan_in = 9 if depthwise else np.prod(arrays[0].shape[:-1])
            arrays = [rng.normal(0, np.sqrt(2 / fan_in), a.shape) for a in arrays]
        layer.set_weights(arrays)
    return model


def save(model, path, form):
    target = path / f"w{form}"
    if form == ".weights.h5":
        model.save_weights(target)
    elif form == "legacy.h5":
        from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

        with h5py.File(target, "w") as file:
            save_weights_to_hdf5_group(file, model)
    else:
        model.save(target)
    return target


def check_outputs(tmp_path, name, alpha, resolution, forms, classes=1000):
    model = keras_model(name, alpha, resolution, classes)
    x = np.random.default_rng(1).uniform(-1, 1, (1, resolution, resolution, 3)).astype(np.float32)
    expected = model.predict(x, verbose=0)
    assert expected.max() > 2 / classes, "the test needs an output that is not flat"
    for form in forms:
        plain = build_model(name, alpha=alpha, resolution=resolution, classes=classes)
        graph = load_weights(plain, save(model, tmp_path, form))
        assert graph.metadata["weights"]["matched_by"] == "name"
        found = interpret(graph, {"input": x})[graph.outputs[0]]
        np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize(("name", "alpha"), [("mobilenet_v1", 0.25), ("mobilenet_v2", 0.35)])
def test_outputs_equal_keras_for_every_format(tmp_path, name, alpha):
    check_outputs(tmp_path, name, alpha, 96, FORMATS)


@pytest.mark.parametrize("name", CLASSES)
def test_outputs_equal_keras_for_odd_sizes(tmp_path, name):
    check_outputs(tmp_path, name, 0.35, 33, [".weights.h5"], classes=11)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "alpha"),
    [("mobilenet_v1", a) for a in (0.5, 0.75, 1.0)] + [("mobilenet_v2", a) for a in (0.5, 0.75, 1.0, 1.3, 1.4)],
)
def test_outputs_equal_keras_for_every_alpha_and_format(tmp_path, name, alpha):
    check_outputs(tmp_path, name, alpha, 96, FORMATS)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("resolution", [65, 97, 100, 127, 224])
def test_outputs_equal_keras_for_every_parity_of_the_feature_maps(tmp_path, name, resolution):
    check_outputs(tmp_path, name, 0.35, resolution, [".weights.h5"])


@pytest.mark.slow
def test_a_trained_model_is_read_without_its_optimizer(tmp_path):
    model = keras_model("mobilenet_v2", 0.35, 32, classes=3)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(2)
    model.fit(rng.uniform(-1, 1, (8, 32, 32, 3)).astype(np.float32), np.arange(8) % 3, batch_size=8, verbose=0)
    kernel = model.get_layer("block_3_expand").get_weights()[0]
    for form in FORMATS:
        plain = build_model("mobilenet_v2", alpha=0.35, resolution=32, classes=3)
        graph = load_weights(plain, save(model, tmp_path, form))
        np.testing.assert_array_equal(graph.tensor("block_3_expand/kernel").array, kernel)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_a_backbone_with_a_new_head_is_read(tmp_path, form):
    """The usual way to fine-tune: an application without top inside another model."""
    layers = keras().layers
    backbone = keras().applications.MobileNetV2(alpha=0.35, input_shape=(32, 32, 3), weights=None, include_top=False)
    head = [layers.GlobalAveragePooling2D(), layers.Dropout(0.2), layers.Dense(5, activation="softmax")]
    model = keras().Sequential([keras().Input((32, 32, 3)), backbone, *head])
    x = np.random.default_rng(1).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    plain = build_model("mobilenet_v2", alpha=0.35, resolution=32, classes=5)
    graph = load_weights(plain, save(model, tmp_path, form))
    found = interpret(graph, {"input": x})[graph.outputs[0]]
    np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=2e-5, rtol=1e-3)

"""Keras's own VGG and ResNet, saved by Keras: our graphs give their outputs."""

from __future__ import annotations

import warnings

import h5py
import numpy as np
import pytest
from test_weights_real_keras import keras, save, with_random_weights

from edgekit.graph.interpret import interpret
from edgekit.importers.weights import load_weights
from edgekit.zoo import build_model

CLASSES = 10


@pytest.fixture(autouse=True)
def _quiet():
    """Keras warns about its own old format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def renamed_head(path):
    """As in the published ResNet files, whose classifier bears a former name."""
    with h5py.File(path, "r+") as file:
        names = [name.decode() if isinstance(name, bytes) else name for name in file.attrs["layer_names"]]
        del file.attrs["layer_names"]
        file.attrs["layer_names"] = [b"probs" if name == "predictions" else name.encode() for name in names]
        file.move("predictions", "probs")
    return path


@pytest.mark.parametrize(
    ("application", "model", "options", "resolution"),
    [
        ("VGG16", "vgg", {"depth": 16}, 64),
        ("ResNet50", "resnet", {"depth": 50, "form": "keras"}, 65),
        ("ResNet50V2", "resnet_v2", {"depth": 50, "form": "keras"}, 65),
    ],
)
def test_outputs_equal_keras(tmp_path, application, model, options, resolution):
    shape = (resolution, resolution, 3)
    make = getattr(keras().applications, application)
    net = with_random_weights(make(weights=None, input_shape=shape, classes=CLASSES, classifier_activation=None))
    x = np.random.default_rng(1).uniform(-1, 1, (1, *shape)).astype(np.float32)
    expected = net(x, training=False).numpy()
    assert np.ptp(expected) > 0.1
    plain = build_model(model, resolution=resolution, classes=CLASSES, **options)
    for path in (save(net, tmp_path, ".weights.h5"), renamed_head(save(net, tmp_path, "legacy.h5"))):
        graph = load_weights(plain, path)
        assert graph.metadata["weights"]["matched_by"] == "name"
        found = interpret(graph, {"input": x}, keep=True)["predictions"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())

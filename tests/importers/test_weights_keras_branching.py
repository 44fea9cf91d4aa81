"""DenseNet, Inception, Xception, NASNet and EfficientNet saved by Keras: our graphs give Keras's logits."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from onnx_run import run_logits
from test_weights_real_keras import _quiet, keras, save  # noqa: F401

from edgekit.data.preprocess import Preprocessing
from edgekit.errors import WeightsError
from edgekit.importers.published_baselines import KERAS_FAMILIES
from edgekit.importers.stored import StoredLayer, StoredTensor, is_chain
from edgekit.importers.stored_keras import Pixels, in_graph_form, without_normalization
from edgekit.importers.weights import load_weights
from edgekit.zoo import build_model

CLASSES = 10


def keras_model(application, resolution, mean=(0.0,) * 3, variance=(1.0,) * 3):
    """An application without softmax, with Keras's random kernels and random batch norms."""
    model = getattr(keras().applications, application)(
        weights=None, input_shape=(resolution, resolution, 3), classes=CLASSES, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras().layers.BatchNormalization):
            n = layer.get_weights()[0].shape
            gamma = [rng.uniform(0.6, 1.4, n)] if layer.scale else []
            layer.set_weights([*gamma, *rng.normal(0, 0.3, (2, *n)), rng.uniform(0.4, 1.6, n)])
        elif isinstance(layer, keras().layers.Normalization):
            layer.set_weights([np.array(mean), np.array(variance), np.int64(0)])
            layer.finalize_state()
    return model


def check_logits(graph, model, x, theirs_x):
    theirs = model(theirs_x).numpy()
    assert np.ptp(theirs) > 0.5, "the test needs an output that is not flat"
    np.testing.assert_allclose(run_logits(graph, x), theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("application", "model", "resolution", "forms"),
    [
        ("DenseNet121", "densenet", 64, [".weights.h5"]),
        ("InceptionV3", "inception_v3", 107, [".h5", ".weights.h5"]),
        ("Xception", "xception", 75, ["legacy.h5", ".keras"]),
        ("NASNetMobile", "nasnet_mobile", 65, [".weights.h5"]),
    ],
)
def test_logits_equal_kerass(tmp_path, application, model, resolution, forms):
    theirs = keras_model(application, resolution)
    x = np.random.default_rng(1).uniform(-1, 1, (1, resolution, resolution, 3)).astype(np.float32)
    for form in forms:
        plain = build_model(model, resolution=resolution, classes=CLASSES)
        graph = load_weights(plain, save(theirs, tmp_path, form))
        assert graph.metadata["weights"]["matched_by"] == "name"
        assert graph.metadata["preprocessing"] == plain.metadata["preprocessing"]
    check_logits(graph, theirs, x, x)


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [32, 47, 224])
def test_logits_of_nasnet_equal_kerass_for_every_parity_of_the_maps(tmp_path, resolution):
    test_logits_equal_kerass(tmp_path, "NASNetMobile", "nasnet_mobile", resolution, [".h5"])


# -- EfficientNet: pixels are normalized inside Keras's network, and before ours ---------------------------------------


def test_logits_of_efficientnet_equal_kerass_on_the_same_pixels(tmp_path):
    theirs = keras_model("EfficientNetB0", 65, (0.49, 0.38, 0.31), (0.03, 0.07, 0.075))
    plain = build_model("efficientnet_b0", resolution=65, classes=CLASSES)
    for form in (".weights.h5", ".h5", ".keras"):
        notes = []
        graph = load_weights(plain, save(theirs, tmp_path, form), report=notes.append)
        assert [(note.kind, note.warning) for note in notes] == [("preprocessing", False)]
    prepared = Preprocessing.from_metadata(graph.metadata["preprocessing"])
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 65, 65, 3)).astype(np.float32)
    x = ((pixels - np.array(prepared.mean)) / np.array(prepared.std)).astype(np.float32)
    check_logits(graph, theirs, x, pixels)


@pytest.mark.slow
def test_logits_of_a_scaled_efficientnet_equal_kerass(tmp_path):
    theirs = keras_model("EfficientNetB2", 64)
    plain = build_model("efficientnet_b2", resolution=64, classes=CLASSES)
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    check_logits(load_weights(plain, save(theirs, tmp_path, ".weights.h5")), theirs, pixels / 255, pixels)


def stored(name, role, values):
    array = np.asarray(values, np.float32)
    return StoredTensor(f"{name}/{role}", role, array.shape, lambda: array)


def normalization(mean, variance):
    tensors = (stored("normalization", "mean", mean), stored("normalization", "variance", variance))
    return StoredLayer("normalization", tensors, "normalization")


def test_the_published_files_hold_standard_deviations_as_variances():
    """Then the images are prepared as for PyTorch, as the zoo's networks have it already."""
    other = StoredLayer("stem_conv", (stored("stem_conv", "kernel", np.ones((1, 1, 3, 2))),))
    layers = [normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), other]
    rest, pixels = without_normalization(layers, "w.h5")
    assert (rest, pixels) == ([other], Pixels((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    metadata = build_model("efficientnet_b0", resolution=32, classes=2).metadata["preprocessing"]
    assert (tuple(metadata["mean"]), tuple(metadata["std"])) == (pixels.mean, pixels.std)


@pytest.mark.parametrize(
    ("mean", "variance"), [((0.1,) * 3, (0.0, 1.0, 1.0)), ((np.nan, 0, 0), (1.0,) * 3), ((0.1,) * 3, (1.0,) * 2)]
)
def test_a_normalization_that_makes_no_sense_is_refused(mean, variance):
    with pytest.raises(
        WeightsError, match=r"w\.h5: layer 'normalization' holds no mean and positive variance a channel"
    ):
        without_normalization([normalization(mean, variance)], "w.h5")


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1, 95])
def test_unnamed_layers_are_numbered_from_wherever_the_file_begins(first):
    names = [f"conv2d_{first + i}" if first + i else "conv2d" for i in (10, 2, 0, 1)]
    layers = [StoredLayer(name, (stored(name, "kernel", np.ones((1, 1, 3, 2))),)) for name in (*names, "predictions")]
    found = [layer.name for layer in in_graph_form(layers)]
    assert found == ["conv2d_3", "conv2d_2", "conv2d", "conv2d_1", "predictions"]


def without_names(theirs, folder):
    """As Keras 3 wrote its files first: classes and numbers alone."""
    import h5py

    path = save(theirs, folder, ".weights.h5")
    with h5py.File(path, "a") as file:
        for layer in file["layers"].values():
            layer["vars"].attrs.pop("name", None)
    return path


def test_branches_are_not_told_apart_by_the_order_of_the_layers(tmp_path):
    """Keras sorts layers by their distance from the output: equal shapes would change places unnoticed."""
    path = without_names(keras_model("Xception", 75), tmp_path)
    with pytest.raises(WeightsError, match="does not name the layers as this network does, and without names those of"):
        load_weights(build_model("xception", resolution=75, classes=CLASSES), path)


@pytest.mark.parametrize(
    ("model", "chain"),
    [("densenet", True), ("efficientnet_b0", True), ("mobilenet_v3_small", True), ("inception_v1", False)],
)
def test_networks_whose_layers_with_weights_have_one_order(model, chain):
    assert is_chain(build_model(model, resolution=64, classes=2)) == chain


# -- the table ---------------------------------------------------------------------------------------------------------


def test_hashes_are_those_of_keras():
    """Read from its code: every md5 of these families, with and without classifier."""
    found = find_spec("keras")
    if found is None:
        pytest.skip("Keras is not installed")
    folder = Path(found.origin).parent / "src/applications"
    modules = ("densenet", "inception_v3", "xception", "nasnet", "efficientnet")
    code = "".join((folder / f"{module}.py").read_text() for module in modules)
    theirs = set(re.findall(r'"([0-9a-f]{32})"', code))
    large_nasnet = {"11577c9a518f0070763c2b964a382f17", "d81d89dc07e6e56530c4e77faddd61b5"}
    assert {md5 for family in KERAS_FAMILIES for md5 in family.md5} == theirs - large_nasnet
    for family in KERAS_FAMILIES:
        assert family.path.rpartition("/")[2] in code or family.model.startswith(("densenet", "efficientnet"))

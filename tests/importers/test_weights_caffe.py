"""SqueezeNet's weights in Caffe's layout: `<layer>/w` (out, in, height, width) and `<layer>/b`."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.data.preprocess import CAFFE
from edgekit.data.sources import open_source
from edgekit.errors import WeightsError
from edgekit.evaluate import evaluate_files
from edgekit.export.onnx import onnx_bytes
from edgekit.importers.weights import load_weights
from edgekit.zoo import build_model

FILE = "squeezenet_v1.0_imagenet.npz"


def network(**options):
    return build_model("squeezenet", **{"conv10_padding": 1, **options})


def caffe_arrays(classes=5, seed=0):
    rng = np.random.default_rng(seed)

    def layer(name, outputs, inputs, kernel):
        found[f"{name}/w"] = rng.normal(0, 0.1, (outputs, inputs, kernel, kernel)).astype(np.float32)
        found[f"{name}/b"] = rng.normal(0, 0.1, outputs).astype(np.float32)

    found = {}
    layer("conv1", 96, 3, 7)
    channels = 96
    for fire, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64), start=2):
        layer(f"fire{fire}/conv1x1_1", squeeze, channels, 1)
        layer(f"fire{fire}/conv1x1_2", 4 * squeeze, squeeze, 1)
        layer(f"fire{fire}/conv3x3_2", 4 * squeeze, squeeze, 3)
        channels = 8 * squeeze
    layer("conv_final", classes, 512, 1)
    return found


@pytest.fixture
def saved(tmp_path):
    np.savez(tmp_path / "w.npz", **caffe_arrays())
    return tmp_path / "w.npz"


def test_every_array_finds_its_layer_and_images_are_prepared_as_for_caffe(saved):
    notes = []
    graph = load_weights(network(classes=5), saved, report=notes.append)
    arrays = caffe_arrays()
    for ours, theirs in (("conv1", "conv1"), ("conv10", "conv_final"), ("fire7/expand3x3", "fire7/conv3x3_2")):
        np.testing.assert_array_equal(graph.tensor(f"{ours}/kernel").array, arrays[f"{theirs}/w"].transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(graph.tensor(f"{ours}/bias").array, arrays[f"{theirs}/b"])
    assert graph.metadata["preprocessing"] == CAFFE.to_metadata()
    assert graph.metadata["weights"]["layout"] == "Caffe"
    assert [(note.kind, note.warning) for note in notes] == [("preprocessing", False)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv10_padding": 0}, "has Caffe's weights of squeezenet, .* conv10_padding 0: give --conv10-padding 1"),
        ({"version": "1.1", "conv10_padding": 0}, r"give --version 1\.0 --conv10-padding 1"),
        ({"classes": 6}, r"'conv_final/w' has shape \(5, 512, 1, 1\), 'conv10/kernel' needs \(6, 512, 1, 1\)"),
    ],
)
def test_networks_that_compute_something_else_are_refused(saved, options, message):
    with pytest.raises(WeightsError, match=message):
        load_weights(network(**{"classes": 5, **options}), saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("fire3/conv1x1_2/b"), r"no 'fire3/conv1x1_2/b', for 'fire3/expand1x1/bias' \(64,\)"),
        (lambda a: a.update({"fire1/w": np.zeros((2, 2, 1, 1), np.float32)}), r"no place for 'fire1/w' \(2, 2, 1, 1\)"),
        (lambda a: a.update({"conv1/b": np.zeros(96, np.int32)}), "'conv1/b' holds int32"),
    ],
)
def test_arrays_that_are_missing_or_unexpected_are_named(tmp_path, change, message):
    arrays = caffe_arrays()
    change(arrays)
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(WeightsError, match=message):
        load_weights(network(classes=5), tmp_path / "w.npz")


@pytest.mark.slow
def test_the_published_weights_reach_their_accuracy(data_dir, tmp_path):
    """308 and 409 of 500 photographs: 61.6 % and 81.8 %, as measured with the authors' network."""
    for needed in (FILE, "imagenet500", "imagenet_classes.txt"):
        if not (data_dir / needed).exists():
            pytest.skip(f"real data not found: {needed} is not in the data folder")
    graph = load_weights(network(), data_dir / FILE)
    (tmp_path / "squeezenet.onnx").write_bytes(onnx_bytes(graph))
    samples = open_source(data_dir / "imagenet500", classes=data_dir / "imagenet_classes.txt").samples(CAFFE)
    (result,) = evaluate_files([tmp_path / "squeezenet.onnx"], samples, threads=2)
    assert (result.samples, result.top1.count, result.top5.count) == (500, 308, 409)

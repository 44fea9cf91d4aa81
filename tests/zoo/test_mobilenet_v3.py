"""MobileNet V3: counts, agreement with Keras, structure."""

from __future__ import annotations

import os

import numpy as np
import pytest
from golden_counts import counts
from torch_twin import randomize_norms

from edgekit.data.preprocess import Preprocessing
from edgekit.graph.interpret import interpret
from edgekit.graph.validate import validate
from edgekit.zoo import build_model

# keras.applications 3.15 and torchvision 0.28 agree.
REFERENCES = [
    ("mobilenet_v3_small", {}, 2542856, 56510400),
    ("mobilenet_v3_large", {}, 5483032, 216589760),
    ("mobilenet_v3_small", {"padding": "symmetric"}, 2542856, 56510400),
    ("mobilenet_v3_large", {"padding": "symmetric"}, 5483032, 216589760),
]


@pytest.mark.parametrize(("model", "options", "parameters", "macs"), REFERENCES)
def test_counts_equal_the_references(model, options, parameters, macs):
    assert counts(model, **options) == (parameters, macs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "name", "alpha", "minimalistic", "resolution"),
    [
        ("mobilenet_v3_small", "MobileNetV3Small", 1.0, "off", 64),
        ("mobilenet_v3_small", "MobileNetV3Small", 0.75, "off", 65),
        ("mobilenet_v3_large", "MobileNetV3Large", 1.25, "off", 96),
        ("mobilenet_v3_large", "MobileNetV3Large", 0.75, "on", 64),
    ],
)
def test_counts_and_outputs_equal_keras_with_the_same_weights(model, name, alpha, minimalistic, resolution):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    keras = pytest.importorskip("keras")
    net = getattr(keras.applications, name)(
        input_shape=(resolution, resolution, 3),
        alpha=alpha,
        minimalistic=minimalistic == "on",
        weights=None,
        classes=10,
        include_preprocessing=False,
    )
    options = {"alpha": alpha, "minimalistic": minimalistic, "resolution": resolution, "classes": 10}
    graph = randomize_norms(build_model(model, **options))
    assert counts(model, **options)[0] == sum(w.shape.num_elements() for w in net.trainable_weights)
    for layer in net.layers:
        if layer.weights:
            values = [graph.tensor(t).array for t in _node(graph, layer.name).inputs[1:]]
            values[0] = values[0].transpose(0, 1, 3, 2) if "Depthwise" in type(layer).__name__ else values[0]
            layer.set_weights(values)
    x = np.random.default_rng(0).uniform(-1, 1, (1, resolution, resolution, 3)).astype(np.float32)
    theirs = net(x, training=False).numpy()
    assert theirs.std() > 1e-3
    np.testing.assert_allclose(interpret(graph, {"input": x})["predictions"], theirs, rtol=1e-4, atol=1e-5)


def _node(graph, name):
    return next(n for n in graph.nodes if n.name == name)


def test_symmetric_padding_is_pytorchs():
    graph = build_model("mobilenet_v3_small", padding="symmetric")
    for node in graph.nodes:
        if node.op == "conv2d":
            kernel = graph.shape(node.inputs[1])[0]
            assert node.attrs["padding"] == (kernel // 2,) * 4
    behind = build_model("mobilenet_v3_small")
    assert _node(behind, "expanded_conv_3_depthwise").attrs["padding"] == (1, 2, 1, 2)
    assert graph.shape("expanded_conv_10_project_bn") == behind.shape("expanded_conv_10_project_bn") == (1, 7, 7, 96)


@pytest.mark.parametrize(("model", "gates"), [("mobilenet_v3_small", 9), ("mobilenet_v3_large", 8)])
def test_minimalistic_has_small_kernels_relu_and_no_gates(model, gates):
    full, plain = (build_model(model, minimalistic=m, resolution=32) for m in ("off", "on"))
    assert sum(n.op == "hard_sigmoid" for n in full.nodes) == gates
    assert not any(n.op in ("hard_sigmoid", "hard_swish", "mul") for n in plain.nodes)
    assert max(plain.shape(n.inputs[1])[0] for n in plain.nodes if n.op == "conv2d") == 3
    assert max(full.shape(n.inputs[1])[0] for n in full.nodes if n.op == "conv2d") == 5


def test_last_convolution_grows_but_never_shrinks():
    shapes = [build_model("mobilenet_v3_large", alpha=a, resolution=32).shape("conv_2")[3] for a in (0.5, 1.0, 1.25)]
    assert shapes == [1280, 1280, 1600]


@pytest.mark.parametrize("model", ["mobilenet_v3_small", "mobilenet_v3_large"])
@pytest.mark.parametrize(("alpha", "resolution", "classes"), [(0.1, 32, 1), (0.35, 33, 5), (1.6, 47, 1000)])
def test_any_alpha_resolution_and_number_of_classes_build(model, alpha, resolution, classes):
    graph = validate(build_model(model, alpha=alpha, resolution=resolution, classes=classes))
    assert graph.shape(graph.outputs[0]) == (1, classes)
    described = Preprocessing.from_metadata(graph.metadata["preprocessing"])
    assert (described.height, described.value_range()) == (resolution, (-1.0, 1.0))

"""MobileNet V1 and V2: counts against Keras's and the papers', structure, random activations."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.data.preprocess import Preprocessing
from edgekit.errors import ModelError
from edgekit.graph.cost import graph_cost
from edgekit.graph.interpret import interpret
from edgekit.graph.validate import validate
from edgekit.zoo import build_model
from edgekit.zoo.mobilenet import make_divisible, mobilenet_v1, mobilenet_v2

# Trainable parameters and multiply-adds of keras.applications, counted layer by layer by Keras 3.15.
V1_KERAS = [
    (0.25, 128, 470072, 13570048),
    (0.25, 160, 470072, 21059200),
    (0.25, 224, 470072, 41030272),
    (0.5, 128, 1331592, 49160192),
    (0.5, 160, 1331592, 76524800),
    (0.5, 224, 1331592, 149497088),
    (0.75, 192, 2585560, 239273472),
    (0.75, 224, 2585560, 325400448),
    (1.0, 192, 4231976, 418121728),
]
V2_KERAS = [
    (0.35, 96, 1677128, 11934128),
    (0.35, 160, 1677128, 30874800),
    (0.35, 192, 1677128, 43896512),
    (0.35, 224, 1677128, 59285808),
    (0.5, 128, 1968680, 32578560),
    (0.5, 160, 1968680, 50184000),
    (0.75, 160, 2636424, 107295200),
    (0.75, 192, 2636424, 153941888),
    (0.75, 224, 2636424, 209069792),
    (1.0, 128, 3504872, 99074048),
    (1.3, 224, 5386792, 509374560),
    (1.4, 224, 6108776, 582195824),
]


@pytest.mark.parametrize(
    ("model", "alpha", "resolution", "parameters", "macs"),
    [("mobilenet_v1", *row) for row in V1_KERAS] + [("mobilenet_v2", *row) for row in V2_KERAS],
)
def test_counts_equal_keras(model, alpha, resolution, parameters, macs):
    cost = graph_cost(build_model(model, alpha=alpha, resolution=resolution))
    assert (cost.parameters, cost.macs) == (parameters, macs)


@pytest.mark.parametrize(
    ("options", "parameters", "macs"),
    [({"shallow": "on"}, 2887976, 307323392), ({"unit": "dense"}, 29294088, 4867293184)],
)
def test_counts_of_the_papers_other_two_networks(options, parameters, macs):
    """arXiv:1704.04861, tables 4 and 5: 29.3 M and 4866 M (convolutions alone), 2.9 M and 307 M."""
    cost = graph_cost(build_model("mobilenet_v1", **options))
    assert (cost.parameters, cost.macs) == (parameters, macs)


def test_the_shallow_network_lacks_the_five_units_that_repeat():
    deep, shallow = (build_model("mobilenet_v1", shallow=switch, resolution=64) for switch in ("off", "on"))
    assert len(deep.nodes) - len(shallow.nodes) == 5 * 6
    widths = [shallow.shape(f"conv_pw_{i}")[3] for i in range(1, 9)]
    assert widths == [64, 128, 128, 256, 256, 512, 1024, 1024]


def test_dense_units_have_one_full_convolution_each():
    graph = build_model("mobilenet_v1", unit="dense", alpha=0.25, resolution=64)
    kernels = [graph.shape(n.inputs[1])[:3] for n in graph.nodes if n.op == "conv2d"]
    assert kernels[1:4] == [(3, 3, 8), (3, 3, 16), (3, 3, 32)]
    assert len(kernels) == 1 + 13 + 1


@pytest.mark.parametrize(
    ("alpha", "resolution", "macs_millions"),
    [
        (1.0, 224, 569),
        (0.75, 224, 325),
        (0.5, 224, 149),
        (0.25, 224, 41),
        (1.0, 192, 418),
        (1.0, 160, 290),
        (1.0, 128, 186),
        (0.5, 160, 76),
    ],
)
def test_v1_multiply_adds_equal_the_papers(alpha, resolution, macs_millions):
    """arXiv:1704.04861, tables 6 and 7, which round some down and some to the nearest."""
    macs = graph_cost(mobilenet_v1(alpha=alpha, resolution=resolution)).macs / 1e6
    assert macs_millions in (int(macs), round(macs))


def test_v2_multiply_adds_equal_the_papers():
    """arXiv:1801.04381, table 4: 300 M and 585 M."""
    assert round(graph_cost(mobilenet_v2()).macs / 1e6) == 301
    assert graph_cost(mobilenet_v2(alpha=1.4)).macs / 1e6 == pytest.approx(585, rel=0.005)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(32 * 0.35, 16), (24 * 0.35, 8), (16 * 0.35, 8), (96 * 1.4, 136), (32 * 1.3, 40), (12, 16), (11, 16), (0.1, 8)],
)
def test_make_divisible(value, expected):
    assert make_divisible(value) == expected


def test_make_divisible_never_loses_more_than_a_tenth():
    for value in range(8, 2000):
        found = make_divisible(value)
        assert found % 8 == 0
        assert found >= 0.9 * value
        assert found <= 1.5 * value + 8


@pytest.mark.parametrize("model", ["mobilenet_v1", "mobilenet_v2"])
@pytest.mark.parametrize(
    ("alpha", "resolution", "classes"), [(0.1, 32, 1), (0.3, 33, 2), (1.1, 100, 5), (0.35, 225, 1000), (2.0, 47, 3)]
)
def test_any_alpha_resolution_and_number_of_classes_build(model, alpha, resolution, classes):
    graph = validate(build_model(model, alpha=alpha, resolution=resolution, classes=classes))
    assert graph.shape(graph.inputs[0]) == (1, resolution, resolution, 3)
    assert graph.shape(graph.outputs[0]) == (1, classes)


def test_v1_widths_are_cut_off_not_rounded():
    graph = mobilenet_v1(alpha=0.3, resolution=64)
    assert graph.shape("conv1")[3] == 9  # int(9.6)
    assert graph.shape("conv_pw_13")[3] == 307  # int(307.2)


def test_v1_refuses_an_alpha_that_leaves_no_channel():
    with pytest.raises(ModelError, match=r"alpha 0\.03 leaves a layer of 32 channels without any; give at least 1/32"):
        mobilenet_v1(alpha=0.03)


def test_v2_last_convolution_grows_but_never_shrinks():
    assert mobilenet_v2(alpha=0.35, resolution=32).shape("Conv_1")[3] == 1280
    assert mobilenet_v2(alpha=1.4, resolution=32).shape("Conv_1")[3] == 1792


@pytest.mark.parametrize(
    ("model", "layer", "resolution", "padding"),
    [
        ("mobilenet_v1", "conv1", 224, (0, 1, 0, 1)),
        ("mobilenet_v1", "conv1", 225, (1, 1, 1, 1)),
        ("mobilenet_v1", "conv_dw_2", 224, (0, 1, 0, 1)),
        ("mobilenet_v1", "conv_dw_2", 225, (0, 1, 0, 1)),  # 113 is odd, and still padded behind only
        ("mobilenet_v1", "conv_dw_3", 224, (1, 1, 1, 1)),
        ("mobilenet_v2", "block_1_depthwise", 224, (0, 1, 0, 1)),
        ("mobilenet_v2", "block_1_depthwise", 225, (1, 1, 1, 1)),
        ("mobilenet_v2", "block_2_depthwise", 224, (1, 1, 1, 1)),
    ],
)
def test_padding_is_keras_own(model, layer, resolution, padding):
    graph = build_model(model, alpha=0.35, resolution=resolution)
    assert next(n for n in graph.nodes if n.name == layer).attrs["padding"] == padding


def test_v2_adds_where_shapes_allow():
    added = [n.name for n in mobilenet_v2(alpha=1.0, resolution=32).nodes if n.op == "add"]
    assert added == [f"block_{i}_add" for i in (2, 4, 5, 7, 8, 9, 11, 12, 14, 15)]


def test_preprocessing_is_minus_one_to_one_at_the_models_size():
    described = Preprocessing.from_metadata(build_model("mobilenet_v2", resolution=96).metadata["preprocessing"])
    assert (described.height, described.width, described.value_range()) == (96, 96, (-1.0, 1.0))


def test_seeds_change_the_weights_and_nothing_else():
    one, same, other = (build_model("mobilenet_v1", alpha=0.25, resolution=32, seed=s) for s in (0, 0, 1))
    kernel = "conv_dw_5/kernel"
    np.testing.assert_array_equal(one.tensor(kernel).array, same.tensor(kernel).array)
    assert not np.array_equal(one.tensor(kernel).array, other.tensor(kernel).array)
    assert one.nodes == other.nodes


@pytest.mark.parametrize(
    ("model", "alpha"), [("mobilenet_v1", 0.25), ("mobilenet_v1", 1.0), ("mobilenet_v2", 0.35), ("mobilenet_v2", 1.0)]
)
def test_random_networks_keep_healthy_activations(model, alpha):
    """Not dead, not saturated, and a softmax with a clear winner: so that int8 has something to keep."""
    graph = build_model(model, alpha=alpha, resolution=96)
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (1, 6, 6, 3)).repeat(16, 1).repeat(16, 2).astype(np.float32)
    values = interpret(graph, {"input": image}, keep=True)
    for node in graph.nodes:
        if node.op == "relu6":
            found = values[node.output]
            assert 0.2 < (found > 0).mean() < 0.95, node.name
            assert (found >= 6).mean() < 0.1, node.name
            assert 0.03 < found.std() < 3, node.name
    assert values[graph.outputs[0]].max() > 10 / 1000

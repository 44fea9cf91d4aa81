from __future__ import annotations

import numpy as np
import pytest
from pass_helpers import assert_refuses, assert_rewrites, randomise

from edgekit.errors import GraphError
from edgekit.graph import GraphBuilder
from edgekit.graph.text import graph_text
from edgekit.passes import apply_passes
from edgekit.passes.lower_batch_norm import lower_batch_norm


@pytest.mark.parametrize("shape", [(1, 5, 4, 3), (2, 1, 1, 1)])
def test_maps_become_depthwise_convolutions(shape):
    b = GraphBuilder("net", shape)
    graph = randomise(b.finish(b.batch_norm("input", name="bn")))
    after = assert_rewrites(graph, lower_batch_norm, 1, ["conv2d"])
    assert (after.nodes[0].name, after.nodes[0].attrs["groups"]) == ("bn", shape[3])
    assert sorted(t.name for t in after.constants()) == ["bn/bias", "bn/kernel"]


@pytest.mark.parametrize("shape", [(2, 5), (1, 4, 3), (1, 2, 2, 3, 4)])
def test_other_tensors_get_a_mul_and_an_add(shape):
    b = GraphBuilder("net", shape)
    graph = randomise(b.finish(b.batch_norm("input", name="bn")))
    assert_rewrites(graph, lower_batch_norm, 1, ["mul", "add"])


def test_names_that_are_taken_are_left_to_their_owners():
    b = GraphBuilder("net", (1, 4, 4, 3))
    b.constant("bn/kernel", np.float32([1, 2, 3]))
    x = b.add(b.batch_norm("input", name="bn"), "bn/kernel", name="sum")
    after = assert_rewrites(randomise(b.finish(x)), lower_batch_norm, 1, ["conv2d", "add"])
    assert after.nodes[0].inputs == ("input", "bn/kernel_1", "bn/bias")


GOLDEN = """\
graph dense_layer
  input input: float32[1x4x4x4]
  relu1: float32[1x4x4x4] = conv2d(input, bn1/kernel: float32[1x1x1x4], bn1/bias: float32[4]) activation=relu groups=4
  relu2: float32[1x4x4x8] = conv2d(relu1, conv1/kernel: float32[1x1x4x8], conv1/bias: float32[8]) activation=relu
  conv2: float32[1x4x4x2] = conv2d(relu2, conv2/kernel: float32[3x3x4x2]) groups=2 padding=(1,1,1,1)
  cat: float32[1x4x4x6] = concat(input, conv2) axis=3
  output cat
"""


def test_golden_dense_layer():
    """A layer of CondenseNet (arXiv:1711.09224, figure 3): BN, ReLU, 1x1, BN, ReLU, 3x3 in groups, concat."""
    b = GraphBuilder("dense_layer", (1, 4, 4, 4))
    x = b.activation(b.batch_norm("input", name="bn1"), "relu", name="relu1")
    x = b.activation(b.batch_norm(b.conv2d(x, 8, 1, name="conv1"), name="bn2"), "relu", name="relu2")
    x = b.conv2d(x, 2, 3, groups=2, name="conv2")
    graph = randomise(b.finish(b.concat(["input", x], name="cat")))
    after, _ = apply_passes(graph)
    assert graph_text(after, weights=False) == GOLDEN


def test_computed_statistics_are_refused():
    b = GraphBuilder("net", (1, 4, 4, 3))
    mean = b.input("mean", (3,))
    gamma, beta, variance = (b.full(f"bn/{key}", 3, 1.0) for key in ("gamma", "beta", "variance"))
    graph = b.finish(b.op("batch_norm", ["input", gamma, beta, mean, variance], name="bn"))
    reason = assert_refuses(graph, lower_batch_norm)
    assert reason == "bn (batch_norm): its statistics are computed, not constant"


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_a_variance_that_is_not_positive_is_an_error(value):
    b = GraphBuilder("net", (1, 4, 4, 3))
    graph = b.finish(b.batch_norm("input", name="bn"))
    graph.set_tensor(graph.tensor("bn/variance").with_data(np.float32([1, 1, value])))
    with pytest.raises(GraphError, match=r"batch_norm 'bn': variance \+ epsilon of channel 2 is .*check the model"):
        lower_batch_norm(graph)

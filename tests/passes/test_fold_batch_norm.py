from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_helpers import assert_refuses, assert_rewrites, assert_same, randomise, share_kernel

from edgekit.errors import GraphError
from edgekit.graph import Graph, GraphBuilder
from edgekit.passes.fold_batch_norm import fold_batch_norm
from edgekit.passes.store_half import store_half


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(3, 7),
    per_group=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    multiplier=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    bias=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_folds_into_the_convolution_before(size, per_group, groups, multiplier, kernel, stride, bias, seed):
    b = GraphBuilder("net", (1, size, size, per_group * groups), seed=seed)
    x = b.conv2d("input", groups * multiplier, kernel, stride=stride, groups=groups, bias=bias, name="conv")
    graph = randomise(b.finish(b.batch_norm(x, name="bn")), seed)
    after = assert_rewrites(graph, fold_batch_norm, 1, ["conv2d"])
    assert sorted(t.name for t in after.constants()) == ["conv/bias", "conv/kernel"]


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(3, 7),
    per_group=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    multiplier=st.integers(1, 3),
    kernel=st.integers(1, 3),
    bias=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_folds_into_the_convolution_after_it_without_padding(size, per_group, groups, multiplier, kernel, bias, seed):
    b = GraphBuilder("net", (1, size, size, per_group * groups), seed=seed)
    x = b.batch_norm("input", name="bn")
    x = b.conv2d(x, groups * multiplier, kernel, padding="valid", groups=groups, bias=bias, name="conv")
    assert_rewrites(randomise(b.finish(x), seed), fold_batch_norm, 1, ["conv2d"])


@pytest.mark.parametrize("bias", [False, True])
def test_folds_into_dense_on_both_sides(bias):
    b = GraphBuilder("net", (2, 6))
    x = b.batch_norm("input", name="bn_before")
    x = b.dense(x, 4, bias=bias, name="fc")
    x = b.batch_norm(x, name="bn_after")
    assert_rewrites(randomise(b.finish(x)), fold_batch_norm, 2, ["dense"])


def test_merges_batch_norms_in_a_row():
    b = GraphBuilder("net", (1, 4, 4, 3))
    x = b.batch_norm(b.batch_norm(b.batch_norm("input", name="bn1"), name="bn2"), name="bn3")
    assert_rewrites(randomise(b.finish(x)), fold_batch_norm, 2, ["batch_norm"])


def test_folds_a_pure_scale_into_a_padded_convolution():
    b = GraphBuilder("net", (1, 5, 5, 4))
    graph = b.finish(b.conv2d(b.batch_norm("input", name="bn"), 4, 3, name="conv"))
    gamma = np.array([1, -2, 0.5, 3], np.float32)
    graph.set_tensor(graph.tensor("bn/gamma").with_data(gamma))
    assert_rewrites(graph, fold_batch_norm, 1, ["conv2d"])


def test_prefers_the_convolution_before():
    b = GraphBuilder("net", (1, 5, 5, 3))
    x = b.batch_norm(b.conv2d("input", 4, 1, name="before"), name="bn")
    graph = randomise(b.finish(b.conv2d(x, 4, 1, name="after")))
    after = assert_rewrites(graph, fold_batch_norm, 1, ["conv2d", "conv2d"])
    assert after.tensor("after/kernel") is graph.tensor("after/kernel")


def test_folds_forward_where_the_convolution_before_is_read_elsewhere():
    b = GraphBuilder("net", (1, 5, 5, 3))
    x = b.conv2d("input", 4, 1, name="before")
    y = b.conv2d(b.batch_norm(x, name="bn"), 4, 1, name="after")
    graph = randomise(b.finish(b.add(x, y, name="sum")))
    assert_rewrites(graph, fold_batch_norm, 1, ["conv2d", "conv2d", "add"])


def test_the_output_keeps_its_name_and_the_layer_its_own():
    b = GraphBuilder("net", (1, 4, 4, 3))
    after = randomise(b.finish(b.batch_norm(b.conv2d("input", 4, 3, name="conv"), name="bn")))
    fold_batch_norm(after)
    assert (after.nodes[0].name, after.outputs) == ("conv", ("bn",))


def test_statistics_shared_by_two_batch_norms_are_read_not_changed():
    b = GraphBuilder("net", (1, 4, 4, 3))
    x = b.batch_norm("input", name="one")
    two = b.op("batch_norm", [x, *(f"one/{k}" for k in ("gamma", "beta", "mean", "variance"))], name="two")
    three = b.batch_norm("input", name="three")
    graph = randomise(b.finish(b.add(two, three, name="sum")))
    assert_rewrites(graph, fold_batch_norm, 1, ["batch_norm", "batch_norm", "add"])


def test_a_bias_shared_by_two_convolutions_is_copied():
    b = GraphBuilder("net", (1, 4, 4, 3))
    x = b.conv2d("input", 3, 1, bias=True, name="one")
    kernel = b.random("two/kernel", (1, 1, 3, 3), 1.0)
    two = b.op("conv2d", ["input", kernel, "one/bias"], name="two")
    graph = randomise(b.finish(b.add(b.batch_norm(x, name="bn"), two, name="sum")))
    after = assert_rewrites(graph, fold_batch_norm, 1, ["conv2d", "conv2d", "add"])
    assert after.nodes[1].inputs[2] == "one/bias"


def test_values_that_nearly_cancel_are_folded_in_double_precision():
    b = GraphBuilder("net", (1, 3, 3, 2))
    graph = b.finish(b.batch_norm(b.conv2d("input", 2, 1, bias=True, name="conv"), name="bn"))
    for name, value in {"conv/bias": 1e6 + 1, "bn/mean": 1e6, "bn/variance": 0.3}.items():
        graph.set_tensor(graph.tensor(name).with_data(np.full(2, value, np.float32)))
    fold_batch_norm(graph)
    expected = 1 / np.sqrt(np.float64(np.float32(0.3)) + 1e-3)
    np.testing.assert_allclose(graph.tensor("conv/bias").array, expected, rtol=1e-7)


def padded_consumer() -> Graph:
    b = GraphBuilder("net", (1, 5, 5, 3))
    return b.finish(b.conv2d(b.batch_norm("input", name="bn"), 4, 3, name="conv"))


def shared_kernel() -> Graph:
    b = GraphBuilder("net", (1, 5, 5, 3))
    x = b.batch_norm(b.conv2d("input", 3, 1, name="conv"), name="bn")
    return b.finish(b.add(x, share_kernel(b, "input", "conv/kernel", name="twin"), name="sum"))


def read_elsewhere() -> Graph:
    b = GraphBuilder("net", (1, 5, 5, 3))
    x = b.conv2d("input", 3, 1, name="conv")
    return b.finish(b.add(x, b.batch_norm(x, name="bn"), name="sum"))


def output_before() -> Graph:
    b = GraphBuilder("net", (1, 5, 5, 3))
    x = b.conv2d("input", 3, 1, name="conv")
    return b.finish(x, b.batch_norm(x, name="bn"))


def fused_before() -> Graph:
    b = GraphBuilder("net", (1, 5, 5, 3))
    kernel = b.random("conv/kernel", (1, 1, 3, 3), 1.0)
    return b.finish(b.batch_norm(b.op("conv2d", ["input", kernel], {"activation": "relu"}, name="conv"), name="bn"))


def computed_kernel() -> Graph:
    b = GraphBuilder("net", (1, 5, 5, 3))
    kernel = b.input("kernel", (1, 1, 3, 3))
    return b.finish(b.batch_norm(b.op("conv2d", ["input", kernel], name="conv"), name="bn"))


def computed_statistics() -> Graph:
    b = GraphBuilder("net", (1, 5, 5, 3))
    mean = b.input("mean", (3,))
    constants = [b.full(f"bn/{key}", 3, 1.0) for key in ("gamma", "beta", "variance")]
    x = b.conv2d("input", 3, 1, name="conv")
    return b.finish(b.op("batch_norm", [x, constants[0], constants[1], mean, constants[2]], name="bn"))


def half_kernel() -> Graph:
    b = GraphBuilder("net", (1, 5, 5, 8))
    graph = b.finish(b.batch_norm(b.conv2d("input", 8, 1, name="conv"), name="bn"))
    assert store_half(graph) == 1
    return graph


def output_after() -> Graph:
    b = GraphBuilder("net", (1, 5, 5, 3))
    x = b.batch_norm("input", name="bn")
    return b.finish(x, b.conv2d(x, 3, 1, name="conv"))


def several_after() -> Graph:
    b = GraphBuilder("net", (1, 5, 5, 3))
    x = b.batch_norm("input", name="bn")
    return b.finish(b.conv2d(x, 3, 1, name="one"), b.conv2d(x, 3, 1, name="two"))


def used_as_kernel() -> Graph:
    b = GraphBuilder("net", (1, 5, 5, 3))
    x = b.batch_norm(b.input("weights", (1, 1, 3, 3)), name="bn")
    return b.finish(b.op("conv2d", ["input", x], name="conv"))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (padded_consumer, "no node comes before it; conv pads with zeros, which a shift would move"),
        (shared_kernel, "'conv/kernel' of conv is shared with twin; sum after it (add) has no weights"),
        (read_elsewhere, "'conv' is read by sum too"),
        (output_before, "'conv' is a graph output; 'bn' is a graph output"),
        (fused_before, "conv has a fused relu"),
        (computed_kernel, "'kernel' of conv is computed, not constant"),
        (computed_statistics, "bn (batch_norm): its statistics are computed, not constant"),
        (half_kernel, "'conv/kernel' of conv is stored as float16"),
        (output_after, "'bn' is a graph output"),
        (several_after, "'bn' is read by two too"),
        (used_as_kernel, "conv reads it as weights"),
    ],
)
def test_says_why_it_leaves_a_batch_norm_alone(build, reason):
    assert reason in assert_refuses(randomise(build()), fold_batch_norm)


def test_negative_variance_is_an_error():
    b = GraphBuilder("net", (1, 4, 4, 2))
    graph = b.finish(b.batch_norm(b.conv2d("input", 2, 1, name="conv"), name="bn"))
    graph.set_tensor(graph.tensor("bn/variance").with_data(np.array([1, -0.5], np.float32)))
    with pytest.raises(GraphError, match=r"batch_norm 'bn': variance \+ epsilon of channel 1 is -0.499"):
        fold_batch_norm(graph)


def test_overflow_is_an_error():
    b = GraphBuilder("net", (1, 4, 4, 2))
    graph = b.finish(b.batch_norm(b.conv2d("input", 2, 1, name="conv"), name="bn"))
    graph.set_tensor(graph.tensor("conv/kernel").with_data(np.full((1, 1, 2, 2), 1e30, np.float32)))
    graph.set_tensor(graph.tensor("bn/gamma").with_data(np.array([1, 1e30], np.float32)))
    with pytest.raises(GraphError, match=r"folding into node 'conv' gives 2 NaN or infinite weights"):
        fold_batch_norm(graph)


def test_the_input_graph_stays_as_it_was():
    b = GraphBuilder("net", (1, 4, 4, 3))
    graph = randomise(b.finish(b.batch_norm(b.conv2d("input", 4, 3, name="conv"), name="bn")))
    kernel = graph.tensor("conv/kernel").array.copy()
    twin = graph.copy()
    fold_batch_norm(twin)
    np.testing.assert_array_equal(graph.tensor("conv/kernel").array, kernel)
    assert_same(graph, twin)

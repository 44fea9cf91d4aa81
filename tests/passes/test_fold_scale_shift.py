from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_helpers import assert_refuses, assert_rewrites, randomise, share_kernel, values

from edgekit.graph import Graph, GraphBuilder
from edgekit.passes.fold_scale_shift import fold_scale_shift

SHAPES = [(), (1,), (4,), (1, 1, 1, 1), (1, 1, 1, 4), (1, 4)]


@settings(max_examples=40, deadline=None)
@given(
    op=st.sampled_from(["mul", "add"]),
    shape=st.sampled_from(SHAPES),
    swap=st.booleans(),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    activation=st.sampled_from(["none", "relu", "relu6"]),
    seed=st.integers(0, 2**16),
)
def test_folds_into_the_convolution_before(op, shape, swap, groups, bias, activation, seed):
    b = GraphBuilder("net", (1, 5, 5, 4), seed=seed)
    pair = [b.conv2d("input", 4, 3, groups=groups, bias=bias, name="conv"), values(b, "factor", shape)]
    x = b.op(op, pair[::-1] if swap else pair, {"activation": activation}, name="changed")
    after = assert_rewrites(randomise(b.finish(x), seed), fold_scale_shift, 1, ["conv2d"])
    assert after.nodes[0].attrs["activation"] == activation


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("op", ["mul", "add"])
def test_folds_into_the_convolution_after(op, shape):
    b = GraphBuilder("net", (1, 5, 5, 4))
    x = b.op(op, ["input", values(b, "factor", shape)], name="changed")
    graph = randomise(b.finish(b.conv2d(x, 6, 3, padding="valid", groups=2, bias=True, name="conv")))
    assert_rewrites(graph, fold_scale_shift, 1, ["conv2d"])


def test_folds_a_factor_into_a_padded_convolution():
    b = GraphBuilder("net", (1, 5, 5, 4))
    x = b.mul("input", values(b, "factor", (4,)), name="changed")
    assert_rewrites(b.finish(b.conv2d(x, 6, 3, name="conv")), fold_scale_shift, 1, ["conv2d"])


def test_folds_input_normalization_into_dense():
    b = GraphBuilder("net", (3, 4))
    x = b.mul("input", values(b, "factor", (4,)), name="scaled")
    x = b.dense(b.add(x, values(b, "offset", (1, 4)), name="shifted"), 5, name="fc")
    x = b.mul(x, values(b, "temperature", ()), name="logits")
    graph = randomise(b.finish(x))
    after = graph.copy()
    assert fold_scale_shift(after) == 2
    assert_rewrites(after, fold_scale_shift, 1, ["dense"])


def test_folds_around_a_batch_norm_that_nothing_else_takes():
    b = GraphBuilder("net", (1, 4, 4, 2))
    x = b.concat(["input", "input"], name="cat")
    x = b.batch_norm(b.mul(x, values(b, "factor", (4,)), name="scaled"), name="bn")
    x = b.add(x, values(b, "offset", (4,)), name="shifted")
    assert_rewrites(randomise(b.finish(x)), fold_scale_shift, 2, ["concat", "batch_norm"])


def test_a_constant_that_is_both_beta_and_mean_is_copied():
    b = GraphBuilder("net", (1, 4, 4, 3))
    gamma, zero, variance = (b.full(f"bn/{key}", 3, 1.0) for key in ("gamma", "beta", "variance"))
    x = b.op("batch_norm", ["input", gamma, zero, zero, variance], name="bn")
    graph = randomise(b.finish(b.add(x, values(b, "offset", (3,)), name="shifted")))
    assert_rewrites(graph, fold_scale_shift, 1, ["batch_norm"])


def fused_after_batch_norm() -> Graph:
    b = GraphBuilder("net", (1, 4, 4, 2))
    x = b.batch_norm("input", name="bn")
    return b.finish(b.op("mul", [x, values(b, "factor", (2,))], {"activation": "relu"}, name="scaled"))


def fused_before_convolution() -> Graph:
    b = GraphBuilder("net", (1, 4, 4, 2))
    x = b.op("mul", ["input", values(b, "factor", (2,))], {"activation": "relu"}, name="scaled")
    return b.finish(b.conv2d(x, 2, 1, name="conv"))


def shift_before_padding() -> Graph:
    b = GraphBuilder("net", (1, 4, 4, 2))
    return b.finish(b.conv2d(b.add("input", values(b, "offset", (2,)), name="shifted"), 2, 3, name="conv"))


def shared_kernel() -> Graph:
    b = GraphBuilder("net", (1, 4, 4, 3))
    x = b.mul(b.conv2d("input", 3, 1, name="conv"), values(b, "factor", (3,)), name="scaled")
    return b.finish(x, share_kernel(b, "input", "conv/kernel", name="twin"))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (fused_after_batch_norm, "bn cannot fuse a relu"),
        (fused_before_convolution, "scaled has a fused relu before conv"),
        (shift_before_padding, "conv pads with zeros"),
        (shared_kernel, "'conv/kernel' of conv is shared with twin"),
    ],
)
def test_says_why_it_leaves_a_factor_alone(build, reason):
    assert reason in assert_refuses(randomise(build()), fold_scale_shift)


@pytest.mark.parametrize("shape", [(1, 4, 4, 1), (1, 4, 1, 1), (4, 1), (1, 4, 4, 4), (2, 4, 4, 4)])
def test_a_factor_that_is_not_one_a_channel_is_no_candidate(shape):
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.conv2d("input", 4, 1, name="conv")
    assert assert_refuses(b.finish(b.mul(x, values(b, "factor", shape), name="scaled")), fold_scale_shift) == ""


def test_a_factor_that_widens_its_input_is_no_candidate():
    b = GraphBuilder("net", (1, 4, 4, 3))
    x = b.conv2d("input", 1, 1, name="conv")
    assert assert_refuses(b.finish(b.mul(x, values(b, "factor", (3,)), name="scaled")), fold_scale_shift) == ""


def test_a_factor_far_from_any_layer_is_no_candidate():
    b = GraphBuilder("net", (1, 4, 4, 3))
    graph = b.finish(b.mul("input", values(b, "factor", (3,)), name="scaled"))
    assert assert_refuses(graph, fold_scale_shift) == ""

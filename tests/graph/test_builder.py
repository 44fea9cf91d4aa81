"""The builder: padding, seeded weights, refusals."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgekit.errors import GraphError, ModelError, ShapeError
from edgekit.graph.builder import (
    CLASSIFIER_GAIN,
    CORRELATION,
    RANDOM_PIECE,
    GraphBuilder,
    ceil_padding,
    pair,
    same_padding,
)
from edgekit.graph.ops import conv_output_size

SIZES, KERNELS, STRIDES = st.integers(1, 300), st.integers(1, 11), st.integers(1, 5)


# -- padding -----------------------------------------------------------------------------------------------------------


@given(size=SIZES, kernel=KERNELS, stride=STRIDES, dilation=st.integers(1, 3))
def test_same_padding_gives_ceil_of_size_over_stride_with_the_odd_one_behind(size, kernel, stride, dilation):
    before, after = same_padding(size, kernel, stride, dilation)
    assert 0 <= after - before <= 1
    assert conv_output_size(size, kernel, stride, before, after, dilation) == math.ceil(size / stride)


@given(size=SIZES, kernel=KERNELS, stride=STRIDES, data=st.data())
def test_ceil_padding_covers_the_input_and_starts_no_window_behind_it(size, kernel, stride, data):
    pad = data.draw(st.integers(0, kernel // 2))
    assume(size + 2 * pad >= kernel)
    before, after = ceil_padding(size, kernel, stride, pad)
    out = conv_output_size(size, kernel, stride, before, after)
    last_start = (out - 1) * stride - pad
    floor_out = (size + 2 * pad - kernel) // stride + 1
    assert before == pad
    assert after >= 0
    assert last_start < size
    assert floor_out <= out + (last_start + stride >= size)
    # One more window would start behind the input, or the windows reach its padded end already.
    assert last_start + stride >= size or last_start + kernel >= size + pad


@pytest.mark.parametrize(("value", "expected"), [(3, (3, 3)), ((1, 3), (1, 3)), ([3, 1], (3, 1))])
def test_pair(value, expected):
    assert pair(value) == expected


@pytest.mark.parametrize(
    ("padding", "expected"),
    [("same", (0, 1, 0, 1)), ("valid", (0, 0, 0, 0)), (1, (1, 1, 1, 1)), ((1, 2, 3, 4), (1, 2, 3, 4))],
)
def test_padding_in_every_form(padding, expected):
    b = GraphBuilder("p", (1, 8, 8, 3))
    b.conv2d("input", 4, 3, stride=2, padding=padding, name="c")
    assert b.graph.nodes[0].attrs["padding"] == expected


def test_unknown_padding_is_refused():
    with pytest.raises(ModelError, match="padding 'full' is neither 'same' nor 'valid'"):
        GraphBuilder("p", (1, 8, 8, 3)).conv2d("input", 4, 3, padding="full", name="c")


@pytest.mark.parametrize("padding", ["same", (0, 1, 0, 1)])
def test_ceil_mode_takes_one_number(padding):
    with pytest.raises(ModelError, match="layer p: ceil mode takes one number as padding"):
        GraphBuilder("p", (1, 8, 8, 3)).pool("input", "max_pool", 3, stride=2, padding=padding, ceil=True, name="p")


# -- weights -----------------------------------------------------------------------------------------------------------


def kernels(seed: int, order: tuple[str, ...]) -> dict[str, np.ndarray]:
    b = GraphBuilder("k", (1, 8, 8, 16), seed=seed)
    for name in order:
        b.conv2d("input", 32, 3, name=name)
    return {t.name: t.array for t in b.graph.constants()}


def test_weights_depend_on_seed_and_name_only():
    first, swapped, other = kernels(0, ("a", "b")), kernels(0, ("b", "a")), kernels(1, ("a", "b"))
    for name in ("a/kernel", "b/kernel"):
        np.testing.assert_array_equal(first[name], swapped[name])
        assert not np.array_equal(first[name], other[name])
    assert not np.array_equal(first["a/kernel"], first["b/kernel"])


def test_weights_of_a_seed_never_change():
    values = kernels(0, ("a",))["a/kernel"].reshape(-1)
    np.testing.assert_allclose(values[:3], (-0.060059153, -0.132089421, -0.018005984), rtol=1e-6)


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_variance_is_gain_over_fan_in(gain):
    b = GraphBuilder("v", (1, 8, 8, 64))
    b.conv2d("input", 128, 3, groups=2, gain=gain, name="c")
    assert b.graph.tensor("c/kernel").array.var() == pytest.approx(gain / (9 * 32), rel=0.02)


def test_classifier_weights_are_stronger():
    b = GraphBuilder("v", (1, 256))
    b.dense("input", 500, name="d")
    assert b.graph.tensor("d/kernel").array.std() == pytest.approx(CLASSIFIER_GAIN / 16, rel=0.02)
    assert not b.graph.tensor("d/bias").array.any()


def test_batch_norm_starts_as_identity_and_activations_stay_healthy():
    b = GraphBuilder("v", (1, 4, 4, 2))
    b.batch_norm("input", epsilon=1e-5, name="n")
    assert [t.array.tolist() for t in b.graph.constants()] == [[1, 1], [0, 0], [0, 0], [1, 1]]
    assert [t.name for t in b.graph.constants()] == ["n/gamma", "n/beta", "n/mean", "n/variance"]
    assert b.graph.nodes[0].attrs["epsilon"] == 1e-5


# -- layers ------------------------------------------------------------------------------------------------------------


def test_every_layer_method_builds_a_valid_graph():
    b = GraphBuilder("all", (1, 8, 8, 4))
    x = b.conv2d("input", 8, (1, 3), bias=True, name="conv")
    x = b.activation(b.batch_norm(b.depthwise(x, 3, name="dw"), name="bn"), "relu", name="relu")
    left, right = b.split(x, (4, 4), name="split")
    x = b.concat([b.mul(left, right, name="mul"), b.add(left, right, name="add")], name="concat")
    x = b.gather(b.channel_shuffle(x, 2, name="shuffle"), range(7, -1, -1), name="gather")
    x = b.pool(b.pad(x, (0, 1, 0, 1), name="pad"), "max_pool", 3, stride=2, name="pool")
    x = b.transpose(b.transpose(x, (0, 3, 1, 2), name="nchw"), (0, 2, 3, 1), name="nhwc")
    x = b.dropout(b.global_avg_pool(x, keep_dims=True, name="gap"), 0.5, name="drop")
    graph = b.finish(b.dense(b.reshape(x, (1, 8), name="flat"), 3, name="fc"))
    assert graph.shape("fc") == (1, 3)
    assert graph.shape("pool") == (1, 4, 4, 8)
    assert b.channels("conv") == 8
    assert b.shape("pad") == (1, 9, 9, 8)
    assert len(graph.nodes) == 18


def test_a_graph_may_have_several_inputs():
    b = GraphBuilder("two")
    graph = b.finish(b.add(b.input("left", (1, 3)), b.input("right", (1, 3)), name="sum"))
    assert graph.inputs == ("left", "right")


def test_depthwise_has_one_group_a_channel():
    b = GraphBuilder("d", (1, 8, 8, 6))
    b.depthwise("input", (3, 5), stride=2, name="dw")
    assert b.graph.nodes[0].attrs["groups"] == 6
    assert b.shape("dw/kernel") == (3, 5, 1, 6)


@pytest.mark.parametrize(("filters", "groups"), [(6, 4), (5, 2), (6, 0)])
def test_groups_that_do_not_divide_are_refused(filters, groups):
    with pytest.raises(ModelError, match=f"layer c: 6 input and {filters} output channels do not divide into {groups}"):
        GraphBuilder("g", (1, 8, 8, 6)).conv2d("input", filters, 1, groups=groups, name="c")


def test_shape_errors_name_the_node():
    b = GraphBuilder("s", (1, 8, 8, 6))
    b.constant("k", np.zeros(5, np.float32))
    with pytest.raises(ShapeError, match=r"node 'sum' \(add\): shapes .* do not broadcast"):
        b.add("input", "k", name="sum")


def test_attribute_errors_and_double_names_are_refused():
    b = GraphBuilder("s", (1, 8, 8, 6))
    with pytest.raises(GraphError, match="op relu has no attribute 'alpha'"):
        b.op("relu", ["input"], {"alpha": 1.0}, name="r")
    b.activation("input", "relu", name="r")
    with pytest.raises(GraphError, match="has a tensor 'r' already"):
        b.activation("input", "relu", name="r")


def test_finish_validates():
    with pytest.raises(GraphError, match="after building: graph output 'nope' is made by no node"):
        GraphBuilder("s", (1, 2)).finish("nope")


# -- random numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 7, RANDOM_PIECE - 1, RANDOM_PIECE, RANDOM_PIECE + 1, 2 * RANDOM_PIECE + 5])
@pytest.mark.parametrize("variance", [1e-6, 0.3, 17.0])
def test_random_weights_are_numpys_float32_draws(size, variance):
    b = GraphBuilder("g", seed=3)
    ours = b.graph.tensor(b.random("w", (1, size), variance)).array
    unit = np.random.default_rng([3, zlib.crc32(b"w")]).random((1, size), np.float32) * np.float32(2) - np.float32(1)
    np.testing.assert_array_equal(ours, unit * np.float32(math.sqrt(3 * variance)))
    assert (ours.dtype, ours.flags.writeable) == (np.float32, False)


@pytest.mark.parametrize("shape", [(3, 3, 1, 40), (5, 5, 3, 40)])
def test_even_filters_keep_the_variance_of_correlated_inputs(shape):
    """And point where the plain ones do."""
    b = GraphBuilder("g", seed=3)
    fan_in = int(np.prod(shape[:3]))
    even = b.graph.tensor(b.random("even", shape, 2.0 / fan_in, even=True)).array.reshape(fan_in, 40).astype(float)
    covariance = np.full((fan_in, fan_in), CORRELATION) + (1 - CORRELATION) * np.eye(fan_in)
    np.testing.assert_allclose(np.einsum("if,ij,jf->f", even, covariance, even), 2.0, rtol=1e-6)
    plain = GraphBuilder("g", seed=3)
    drawn = plain.graph.tensor(plain.random("even", shape, 2.0 / fan_in)).array.reshape(fan_in, 40)
    ratio = even / drawn
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:1], ratio.shape), rtol=1e-5)

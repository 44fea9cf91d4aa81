"""Numpy references against PyTorch and TensorFlow."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

from edgekit.graph.builder import GraphBuilder, ceil_padding, same_padding
from edgekit.graph.interpret import interpret
from edgekit.graph.ops import complete_attrs, op_spec

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def run(op, arrays, **given):
    return op_spec(op).reference(arrays, complete_attrs(op, given))


def image(h=9, w=11, c=6, n=2, seed=0):
    return np.random.default_rng(seed).normal(0, 2, (n, h, w, c)).astype(np.float32)


def kernel(*shape, seed=1):
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


@pytest.fixture(scope="module")
def torch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch as module
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="module")
def tf():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as module
    return module


def to_torch(torch, x):
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def from_torch(y):
    return y.numpy().transpose(0, 2, 3, 1)


# -- convolution and dense -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 3), (5, 2)])
@pytest.mark.parametrize(
    ("strides", "dilation", "padding"),
    [((1, 1), (1, 1), (0, 0, 0, 0)), ((2, 1), (1, 1), (0, 1, 2, 0)), ((1, 3), (2, 1), (1, 3, 0, 2))],
)
def test_convolution_equals_torch(torch, groups, size, strides, dilation, padding):
    x, weights, bias = image(), kernel(*size, 6 // groups, 12), kernel(12, seed=2)
    found = run("conv2d", [x, weights, bias], strides=strides, dilation=dilation, padding=padding, groups=groups)[0]
    top, bottom, left, right = padding
    padded = torch.nn.functional.pad(to_torch(torch, x), (left, right, top, bottom))
    oihw = torch.from_numpy(np.ascontiguousarray(weights.transpose(3, 2, 0, 1)))
    expected = torch.nn.functional.conv2d(
        padded, oihw, torch.from_numpy(bias), stride=strides, dilation=dilation, groups=groups
    )
    np.testing.assert_allclose(found, from_torch(expected), **TOLERANCE)


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("h", "w"), [(8, 9), (7, 10)])
def test_depthwise_with_same_padding_equals_tensorflow(tf, multiplier, stride, h, w):
    x, weights = image(h, w), kernel(3, 3, 6, multiplier)
    padding = (*same_padding(h, 3, stride), *same_padding(w, 3, stride))
    ours = weights.reshape(3, 3, 1, 6 * multiplier)
    found = run("conv2d", [x, ours], strides=(stride, stride), padding=padding, groups=6)[0]
    expected = tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], "SAME").numpy()
    np.testing.assert_allclose(found, expected, **TOLERANCE)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("h", [4, 7, 8, 13])
def test_same_padding_equals_tensorflow(tf, size, stride, h):
    x, weights = image(h, 9), kernel(size, size, 6, 4)
    padding = (*same_padding(h, size, stride), *same_padding(9, size, stride))
    found = run("conv2d", [x, weights], strides=(stride, stride), padding=padding)[0]
    np.testing.assert_allclose(found, tf.nn.conv2d(x, weights, stride, "SAME").numpy(), **TOLERANCE)


@pytest.mark.parametrize("h", [8, 9])
def test_dilated_same_padding_equals_tensorflow(tf, h):
    x, weights = image(h, h), kernel(3, 3, 6, 4)
    padding = same_padding(h, 3, 1, dilation=2) * 2
    found = run("conv2d", [x, weights], dilation=(2, 2), padding=padding)[0]
    np.testing.assert_allclose(found, tf.nn.conv2d(x, weights, 1, "SAME", dilations=2).numpy(), **TOLERANCE)


@pytest.mark.parametrize(("activation", "low", "high"), [("relu", 0, np.inf), ("relu6", 0, 6)])
@pytest.mark.parametrize("op", ["conv2d", "dense", "add", "mul"])
def test_fused_activations_clip_the_plain_result(op, activation, low, high):
    x = image(4, 4, 6) * 4
    inputs = {
        "conv2d": [x, kernel(1, 1, 6, 3)],
        "dense": [x[0, 0], kernel(6, 3)],
        "add": [x, x],
        "mul": [x, kernel(6)],
    }[op]
    plain, fused = run(op, inputs)[0], run(op, inputs, activation=activation)[0]
    assert plain.min() < low
    assert op == "dense" or activation == "relu" or plain.max() > high
    np.testing.assert_array_equal(fused, np.clip(plain, low, high))


def test_dense_equals_torch(torch):
    x, weights, bias = kernel(4, 7), kernel(7, 3), kernel(3)
    expected = torch.nn.functional.linear(*(torch.from_numpy(np.ascontiguousarray(a)) for a in (x, weights.T, bias)))
    np.testing.assert_allclose(run("dense", [x, weights, bias])[0], expected.numpy(), **TOLERANCE)


# -- pools -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("h", [7, 8, 9, 10])
def test_pools_equal_torch_in_both_modes(torch, kind, size, stride, pad, ceil, h):
    x = image(h, 11, 3) - 5
    b = GraphBuilder("pool", x.shape)
    padding = pad if ceil else (pad,) * 4
    graph = b.finish(b.pool("input", kind, size, stride=stride, padding=padding, ceil=ceil, name="y"))
    if kind == "max_pool":
        layer = torch.nn.MaxPool2d(size, stride, pad, ceil_mode=ceil)
    else:
        layer = torch.nn.AvgPool2d(size, stride, pad, ceil_mode=ceil, count_include_pad=False)
    expected = from_torch(layer(to_torch(torch, x)))
    np.testing.assert_allclose(interpret(graph, {"input": x})["y"], expected, **TOLERANCE)


@pytest.mark.parametrize("kind", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("h", [7, 8])
def test_pools_with_same_padding_equal_tensorflow(tf, kind, h):
    x = image(h, 10, 3) - 5
    b = GraphBuilder("pool", x.shape)
    graph = b.finish(b.pool("input", kind, 3, stride=2, padding="same", name="y"))
    pool = tf.nn.max_pool2d if kind == "max_pool" else tf.nn.avg_pool2d
    np.testing.assert_allclose(interpret(graph, {"input": x})["y"], pool(x, 3, 2, "SAME").numpy(), **TOLERANCE)


def test_max_pool_of_integers_never_takes_the_padding():
    x = np.full((1, 2, 2, 1), -100, np.int8)
    assert run("max_pool", [x], kernel=(2, 2), padding=(1, 1, 1, 1))[0].tolist() == np.full((1, 3, 3, 1), -100).tolist()


@pytest.mark.parametrize("keep_dims", [False, True])
def test_global_average_equals_numpys_mean(keep_dims):
    x = image()
    found = run("global_avg_pool", [x], keep_dims=keep_dims)[0]
    np.testing.assert_allclose(found, x.astype(np.float64).mean((1, 2), keepdims=keep_dims), rtol=1e-6)


# -- elementwise -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("relu", "relu"),
        ("relu6", "relu6"),
        ("hard_swish", "hardswish"),
        ("swish", "silu"),
        ("sigmoid", "sigmoid"),
        ("hard_sigmoid", "hardsigmoid"),
    ],
)
def test_activations_equal_torch(torch, op, function):
    x = np.linspace(-12, 12, 1201, dtype=np.float32)
    expected = getattr(torch.nn.functional, function)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(run(op, [x])[0], expected, rtol=2e-6, atol=1e-6)


def test_hard_sigmoid_takes_slope_and_offset(torch):
    x = np.linspace(-5, 5, 101, dtype=np.float32)
    np.testing.assert_allclose(
        run("hard_sigmoid", [x], slope=0.2, offset=0.5)[0], np.clip(x * 0.2 + 0.5, 0, 1), rtol=1e-6
    )


def test_sigmoid_does_not_overflow():
    assert run("sigmoid", [np.asarray([-1e4, 1e4], np.float32)])[0].tolist() == [0.0, 1.0]


def test_softmax_equals_torch_even_for_large_logits(torch):
    x = kernel(3, 10) * 1000
    expected = torch.softmax(torch.from_numpy(x), -1).numpy()
    np.testing.assert_allclose(run("softmax", [x])[0], expected, rtol=1e-5, atol=1e-7)


def test_batch_norm_equals_torch(torch):
    x = image()
    gamma, beta, mean = kernel(6, seed=3), kernel(6, seed=4), kernel(6, seed=5)
    variance = np.abs(kernel(6, seed=6)) + 0.1
    expected = torch.nn.functional.batch_norm(
        to_torch(torch, x), *(torch.from_numpy(a) for a in (mean, variance, gamma, beta)), eps=1e-2
    )
    found = run("batch_norm", [x, gamma, beta, mean, variance], epsilon=1e-2)[0]
    np.testing.assert_allclose(found, from_torch(expected), **TOLERANCE)


# -- moving data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2, 3, 6, 12])
def test_channel_shuffle_equals_torch(torch, groups):
    x = image(2, 2, 12)
    expected = torch.nn.functional.channel_shuffle(to_torch(torch, x), groups)
    np.testing.assert_array_equal(run("channel_shuffle", [x], groups=groups)[0], from_torch(expected))


def test_concat_undoes_split():
    x = image(c=6)
    pieces = run("split", [x], axis=3, sizes=(1, 3, 2))
    assert [p.shape[3] for p in pieces] == [1, 3, 2]
    np.testing.assert_array_equal(run("concat", pieces, axis=3)[0], x)


def test_slice_gather_pad_reshape_transpose_are_numpys():
    x = image(4, 5, 6)
    sliced = run("slice", [x], begin=(0, 1, 0, 2), end=(2, 4, 5, 6), strides=(1, 2, 3, 1))[0]
    np.testing.assert_array_equal(sliced, x[:, 1:4:2, ::3, 2:])
    np.testing.assert_array_equal(run("gather", [x], axis=3, indices=(5, 0, 0))[0], x[..., [5, 0, 0]])
    padded = run("pad", [x], before=(0, 1, 2, 0), after=(0, 0, 1, 3), value=-1.5)[0]
    assert padded.shape == (2, 5, 8, 9)
    np.testing.assert_array_equal(padded[:, 1:, 2:-1, :6], x)
    assert padded.sum() == pytest.approx(x.sum() - 1.5 * (padded.size - x.size), rel=1e-5)
    np.testing.assert_array_equal(run("reshape", [x], shape=(2, 120))[0], x.reshape(2, 120))
    np.testing.assert_array_equal(run("transpose", [x], perm=(0, 3, 1, 2))[0], x.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("op", ["identity", "dropout"])
def test_identity_and_dropout_change_nothing(op):
    np.testing.assert_array_equal(run(op, [image()])[0], image())


@pytest.mark.parametrize(
    ("size", "kernel_size", "stride", "pad", "after"), [(111, 3, 2, 0, 0), (54, 3, 2, 0, 1), (13, 3, 2, 0, 0)]
)
def test_ceil_padding_of_squeezenets_pools(size, kernel_size, stride, pad, after):
    assert ceil_padding(size, kernel_size, stride, pad) == (pad, after)

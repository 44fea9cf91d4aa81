from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_helpers import assert_refuses, assert_rewrites, randomise

from edgekit.graph import Graph, GraphBuilder
from edgekit.passes.fold_padding import fold_padding

SIDES = st.tuples(*[st.integers(0, 2)] * 4)


@settings(max_examples=40, deadline=None)
@given(
    padding=SIDES,
    own=SIDES,
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 4]),
    seed=st.integers(0, 2**16),
)
def test_folds_zeros_into_convolutions(padding, own, kernel, stride, dilation, groups, seed):
    b = GraphBuilder("net", (1, 6, 7, 4), seed=seed)
    x = b.pad("input", padding, name="pad")
    x = b.conv2d(x, 4, kernel, stride=stride, dilation=dilation, padding=own, groups=groups, bias=True, name="conv")
    after = assert_rewrites(randomise(b.finish(x), seed), fold_padding, 1, ["conv2d"])
    assert after.nodes[0].attrs["padding"] == tuple(a + o for a, o in zip(padding, own, strict=True))


@settings(max_examples=30, deadline=None)
@given(padding=SIDES, kernel=st.integers(3, 4), stride=st.integers(1, 2), value=st.sampled_from([0.0, -1.0, -math.inf]))
def test_folds_into_max_pool_behind_a_relu(padding, kernel, stride, value):
    b = GraphBuilder("net", (1, 6, 7, 2))
    x = b.activation("input", "relu", name="relu")
    sides = {"before": (0, padding[0], padding[2], 0), "after": (0, padding[1], padding[3], 0), "value": value}
    x = b.pool(b.op("pad", [x], sides, name="pad"), "max_pool", kernel, stride=stride, name="pool")
    assert_rewrites(b.finish(x), fold_padding, 1, ["relu", "max_pool"])


def test_folds_minus_infinity_into_max_pool_of_anything():
    b = GraphBuilder("net", (1, 6, 6, 2))
    x = b.op("pad", ["input"], {"before": (0, 1, 1, 0), "after": (0, 1, 1, 0), "value": -math.inf}, name="pad")
    graph = b.finish(b.pool(x, "max_pool", 3, stride=2, name="pool"))
    assert_rewrites(graph, fold_padding, 1, ["max_pool"])


def test_folds_into_every_reader():
    b = GraphBuilder("net", (1, 6, 6, 2))
    x = b.pad(b.activation("input", "relu6", name="relu"), (1, 1, 1, 1), name="pad")
    one, two = (b.conv2d(x, 3, 3, padding="valid", name=name) for name in ("one", "two"))
    graph = b.finish(one, two, b.pool(x, "max_pool", 3, stride=1, name="pool"))
    assert_rewrites(graph, fold_padding, 1, ["relu6", "conv2d", "conv2d", "max_pool"])


def test_folds_pads_in_a_row_from_the_last():
    b = GraphBuilder("net", (1, 6, 6, 2))
    x = b.pad(b.pad("input", (1, 0, 0, 0), name="one"), (0, 1, 0, 2), name="two")
    graph = b.finish(b.conv2d(x, 3, 3, padding="valid", name="conv"))
    assert fold_padding(graph) == 1
    assert_rewrites(graph, fold_padding, 1, ["conv2d"])


def reader(op: str, *, value: float = 0.0, kernel: int = 3, relu: bool = False) -> Graph:
    b = GraphBuilder("net", (1, 6, 6, 2))
    x = b.activation("input", "relu", name="relu") if relu else "input"
    x = b.op("pad", [x], {"before": (0, 1, 1, 0), "after": (0, 1, 1, 0), "value": value}, name="pad")
    if op == "conv2d":
        return b.finish(b.conv2d(x, 2, kernel, padding="valid", name="reader"))
    if op in ("max_pool", "avg_pool"):
        return b.finish(b.pool(x, op, kernel, stride=1, name="reader"))
    return b.finish(b.op(op, [x], name="reader"))


def channels() -> Graph:
    b = GraphBuilder("net", (1, 6, 6, 2))
    x = b.op("pad", ["input"], {"before": (0, 0, 0, 0), "after": (0, 1, 1, 2)}, name="pad")
    return b.finish(b.conv2d(x, 2, 3, padding="valid", name="conv"))


def output() -> Graph:
    b = GraphBuilder("net", (1, 6, 6, 2))
    x = b.pad("input", (1, 1, 1, 1), name="pad")
    return b.finish(x, b.conv2d(x, 2, 3, padding="valid", name="conv"))


def one_of_two() -> Graph:
    b = GraphBuilder("net", (1, 6, 6, 2))
    x = b.pad("input", (1, 1, 1, 1), name="pad")
    y = b.conv2d(x, 2, 1, padding="valid", name="conv")
    return b.finish(b.add(x, y, name="sum"))


def used_as_kernel() -> Graph:
    b = GraphBuilder("net", (1, 6, 6, 3))
    x = b.pad(b.input("weights", (1, 1, 1, 3)), (1, 1, 1, 1), name="pad")
    return b.finish(b.op("conv2d", ["input", x], name="conv"))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: reader("avg_pool"), "reader (avg_pool) does not count its own padding"),
        (lambda: reader("relu"), "reader (relu) has no padding"),
        (lambda: reader("conv2d", value=1.5), "reader pads with 0, not 1.5"),
        (lambda: reader("max_pool"), "'input' may be negative, so that padding with 0 can win in reader"),
        (lambda: reader("max_pool", relu=True, value=0.5), "padding with 0.5 can win in reader"),
        (lambda: reader("max_pool", relu=True, kernel=1), "reader: padding (1, 1, 1, 1) leaves windows (1, 1)"),
        (channels, "pads other axes than H and W"),
        (output, "'pad' is a graph output"),
        (one_of_two, "sum (add) has no padding"),
        (used_as_kernel, "conv reads it as weights"),
    ],
)
def test_says_why_a_pad_stays(build, reason):
    assert reason in assert_refuses(build(), fold_padding)

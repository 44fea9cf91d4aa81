from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quantize_helpers import images, statistics_of

from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.ops import OPS
from edgekit.quantize.channel_scales import _RULES, _connect, channel_classes
from edgekit.quantize.equalize import equalize_channels

FIXED_ON_PURPOSE = {
    "batch_norm", "hard_swish", "swish", "sigmoid", "hard_sigmoid", "softmax", "quantize", "dequantize",
}  # fmt: skip


def builder(channels: int = 6) -> tuple[GraphBuilder, str]:
    """A builder with free channels called `x`: a convolution of the input."""
    b = GraphBuilder("net", (1, 4, 4, 3))
    return b, b.conv2d("input", channels, 1, name="x")


def finish(b: GraphBuilder, *ends: str) -> Graph:
    """Each end goes through a layer of its own, so that the outputs fix none of them."""
    done = []
    for end in ends:
        rank, c = len(b.shape(end)), b.channels(end)
        if rank == 4:
            done.append(b.conv2d(end, 2, 1, name=f"{end}/out"))
        elif rank == 2:
            done.append(b.dense(end, 2, name=f"{end}/out"))
        else:
            x = b.reshape(end, (1, *b.shape(end)[-2:-1], 1, c), name=f"{end}/map")
            done.append(b.conv2d(x, 2, 1, name=f"{end}/out"))
    return b.finish(*done)


def links(graph: Graph, source: str, target: str) -> list[list[int]]:
    """For each channel of `target`, the channels of `source` that are in its class."""
    classes = channel_classes(graph).classes
    return [np.flatnonzero(classes[source] == c).tolist() for c in classes[target]]


def is_fixed(graph: Graph, name: str) -> list[bool]:
    found = channel_classes(graph)
    return found.fixed[found.classes[name]].tolist()


def test_every_op_has_a_rule_or_is_fixed_on_purpose():
    assert set(OPS) == set(_RULES) | FIXED_ON_PURPOSE
    assert not set(_RULES) & FIXED_ON_PURPOSE


@pytest.mark.parametrize("op", ["relu", "relu6", "identity", "dropout"])
def test_elementwise_ops_tie_channel_to_channel(op):
    b, x = builder()
    graph = finish(b, b.op(op, [x], name="y"))
    assert links(graph, "x", "y") == [[i] for i in range(6)]
    assert not any(is_fixed(graph, "x"))


@pytest.mark.parametrize("op", ["hard_swish", "sigmoid"])
def test_curves_fix_both_sides(op):
    b, x = builder()
    graph = finish(b, b.activation(x, op, name="y"))
    assert all(is_fixed(graph, "x"))
    assert all(is_fixed(graph, "y"))


def test_convolutions_untie_their_sides_and_ends_are_fixed():
    b, x = builder()
    graph = b.finish(b.conv2d(x, 6, 3, groups=2, name="y"))
    assert links(graph, "x", "y") == [[]] * 6
    assert is_fixed(graph, "x") == [False] * 6
    assert all(is_fixed(graph, "input"))
    assert all(is_fixed(graph, "y"))


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_split_slice_and_gather_go_by_the_last_axis(rank):
    b, x = builder()
    x = {2: lambda: b.global_avg_pool(x, name="v"), 3: lambda: b.reshape(x, (1, 16, 6), name="v"), 4: lambda: x}[rank]()
    last = rank - 1
    left, right = b.split(x, (2, 4), axis=last, name="split")
    turned = b.gather(x, (5, 0, 0, 3), axis=last, name="gather")
    begin, end, strides = (0,) * last + (1,), (*b.shape(x)[:-1], 6), (1,) * last + (2,)
    cut = b.op("slice", [x], {"begin": begin, "end": end, "strides": strides}, name="cut")
    shuffled = b.channel_shuffle(x, 2, name="shuffled")
    joined = b.concat([right, left], axis=last, name="joined")
    graph = finish(b, turned, cut, shuffled, joined)
    assert links(graph, "x", "split/1") == [[2], [3], [4], [5]]
    assert links(graph, "x", "gather") == [[5], [0], [0], [3]]
    assert links(graph, "x", "cut") == [[1], [3], [5]]
    assert links(graph, "x", "shuffled") == [[0], [3], [1], [4], [2], [5]]
    assert links(graph, "x", "joined") == [[2], [3], [4], [5], [0], [1]]
    assert not any(is_fixed(graph, "x"))


@pytest.mark.parametrize("axis", [1, 2])
def test_split_and_gather_of_other_axes_keep_the_channels(axis):
    b, x = builder()
    pieces = b.split(x, (1, 3), axis=axis, name="split")
    picked = b.gather(x, (3, 1), axis=axis, name="picked")
    rows = b.concat([*pieces, picked], axis=axis, name="rows")
    graph = finish(b, rows)
    for name in ("split/0", "split/1", "picked", "rows"):
        assert links(graph, "x", name) == [[i] for i in range(6)]


def test_a_permutation_of_a_vector_is_followed():
    """A permutation keeps the size: taken for no-op it would scale the wrong columns, silently."""
    b, x = builder()
    x = b.global_avg_pool(x, name="pool")
    graph = finish(b, b.gather(x, (5, 4, 3, 2, 1, 0), axis=1, name="y"))
    assert links(graph, "x", "y") == [[5], [4], [3], [2], [1], [0]]
    after, _, _ = equalize_channels(graph, statistics_of(graph, images(graph)), 1.0)
    factors = [after.tensor(f"{n}/kernel").array / graph.tensor(f"{n}/kernel").array for n in ("x", "y/out")]
    np.testing.assert_allclose(factors[0][0, 0, 0][::-1] * factors[1][:, 0], 1, rtol=1e-5)


def test_concat_of_a_tensor_with_itself():
    b, x = builder(2)
    graph = finish(b, b.concat([x, x], name="y"))
    assert links(graph, "x", "y") == [[0], [1], [0], [1]]


def test_concat_and_addition_of_a_constant_fix():
    for op in ("concat", "add"):
        b, x = builder(2)
        c = b.constant("c", np.ones((1, 4, 4, 2), np.float32))
        graph = finish(b, b.concat([x, c], name="y") if op == "concat" else b.add(x, c, name="y"))
        assert all(is_fixed(graph, "x")), op


def test_reshapes_that_mix_channels_fix():
    for shape, free in (((1, 16, 1, 6), True), ((1, 16, 6), True), ((1, 8, 2, 6), True), ((1, 96), False)):
        b, x = builder()
        graph = finish(b, b.reshape(x, shape, name="y"))
        assert is_fixed(graph, "x") == [not free] * 6, shape


def test_transposes_that_move_the_channels_fix():
    for perm, free in (((0, 2, 1, 3), True), ((0, 1, 3, 2), False), ((0, 3, 1, 2), False)):
        b, x = builder(4)
        graph = finish(b, b.transpose(x, perm, name="y"))
        assert is_fixed(graph, "x") == [not free] * 4, perm


def test_pads_of_channels_or_with_a_value_fix():
    for before, value, free in (((0, 1, 1, 0), 0.0, True), ((0, 0, 0, 1), 0.0, False), ((0, 1, 0, 0), 0.5, False)):
        b, x = builder()
        attrs = {"before": before, "after": (0, 0, 0, 0), "value": value}
        graph = finish(b, b.op("pad", [x], attrs, name="y"))
        assert is_fixed(graph, "x") == [not free] * 6, attrs


def test_a_gate_is_fixed_and_the_gated_is_free():
    b, x = builder()
    gate = b.conv2d(b.global_avg_pool(x, keep_dims=True, name="squeeze"), 6, 1, name="gate")
    for order in ([x, gate], [gate, x]):
        b.op("mul", order, name=f"y_{order[0]}")
    graph = finish(b, "y_x", "y_gate")
    assert links(graph, "x", "y_x") == links(graph, "x", "y_gate") == [[i] for i in range(6)]
    assert all(is_fixed(graph, "gate"))
    assert not any(is_fixed(graph, "x"))


def test_products_of_equals_and_squares():
    b, x = builder()
    other = b.conv2d("input", 6, 1, name="other")
    graph = finish(b, b.mul(x, other, name="y"))
    assert sorted([all(is_fixed(graph, "x")), all(is_fixed(graph, "other"))]) == [False, True]
    b, x = builder()
    graph = finish(b, b.mul(x, x, name="square"))
    assert all(is_fixed(graph, "x"))


def test_broadcast_over_channels_fixes_the_wide_side():
    for op in ("add", "mul"):
        b, x = builder()
        narrow = b.conv2d("input", 1, 1, name="narrow")
        graph = finish(b, b.op(op, [x, narrow], name="y"))
        assert all(is_fixed(graph, "narrow")), op
        assert is_fixed(graph, "x") == [op == "add"] * 6, op


@pytest.mark.parametrize("shared", ["kernel", "bias"])
@pytest.mark.parametrize("kind", ["conv2d", "dense"])
def test_shared_constants_fix_all_their_layers(shared, kind):
    b, x = builder(2)
    start = x if kind == "conv2d" else b.global_avg_pool(x, name="v")
    shape = (1, 1, 2, 2) if kind == "conv2d" else (2, 2)
    one = {"kernel": b.constant("k", np.ones(shape, np.float32)), "bias": b.constant("b", np.ones(2, np.float32))}
    two = {"kernel": b.constant("k2", np.ones(shape, np.float32)), "bias": b.constant("b2", np.ones(2, np.float32))}
    y = b.op(kind, [start, one["kernel"], one["bias"]], name="first")
    other = {**two, shared: one[shared]}
    y = b.op(kind, [y, other["kernel"], other["bias"]], name="second")
    graph = finish(b, y)
    assert all(is_fixed(graph, "x"))
    assert all(is_fixed(graph, "first"))
    assert all(is_fixed(graph, "second"))


@settings(max_examples=200, deadline=None)
@given(count=st.integers(1, 40), data=st.data())
def test_connect_finds_connected_components(count, data):
    ends = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(ends, ends), min_size=1, max_size=60))
    a, b = np.array(pairs, np.int64).T
    label = _connect(np.arange(count, dtype=np.int64), a, b)
    component = list(range(count))
    for _ in range(count):
        for i, j in pairs:
            component[i] = component[j] = min(component[i], component[j])
    assert label.tolist() == component

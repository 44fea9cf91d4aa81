from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pass_helpers import assert_refuses, assert_rewrites, assert_same, values

from edgekit.graph import Graph, GraphBuilder
from edgekit.passes import apply_passes
from edgekit.passes.hoist_activations import hoist_activations
from edgekit.zoo import build_model

SHAPE = (1, 6, 6, 4)

HANDING_ON = {
    "channel_shuffle": {"groups": 2},
    "gather": {"axis": 3, "indices": (3, 3, 0, 1)},
    "slice": {"begin": (0, 1, 0, 1), "end": (1, 5, 6, 4), "strides": (1, 2, 1, 1)},
    "reshape": {"shape": (1, 12, 3, 4)},
    "transpose": {"perm": (0, 3, 1, 2)},
    "pad": {"before": (0, 1, 0, 0), "after": (0, 1, 2, 0)},
    "max_pool": {"kernel": (3, 3), "strides": (2, 2), "padding": (1, 1, 1, 1)},
    "dropout": {"rate": 0.3},
    "identity": {},
}


@pytest.mark.parametrize("kind", ["relu", "relu6"])
@pytest.mark.parametrize("op", HANDING_ON)
def test_goes_before_an_op_that_hands_values_on(op, kind):
    b = GraphBuilder("net", SHAPE)
    x = b.op(op, [b.conv2d("input", 4, 3, bias=True, name="conv")], HANDING_ON[op], name="move")
    after = assert_rewrites(b.finish(b.activation(x, kind, name="act")), hoist_activations, 1, ["conv2d", kind, op])
    assert (after.nodes[-1].name, after.nodes[-1].outputs) == ("move", ("act",))
    assert after.nodes[1].outputs == (f"conv/{kind}",)


@pytest.mark.parametrize("kind", ["relu", "relu6"])
def test_goes_to_every_input_of_a_concat(kind):
    b = GraphBuilder("net", SHAPE)
    x, y = b.conv2d("input", 2, 1, name="a"), b.add("input", "input", name="b")
    graph = b.finish(b.activation(b.concat([x, y, x], name="both"), kind, name="act"))
    after = assert_rewrites(graph, hoist_activations, 1, ["conv2d", "add", kind, kind, "concat"])
    assert after.nodes[-1].inputs == (f"a/{kind}", f"b/{kind}", f"a/{kind}")
    assert [n.op for n in apply_passes(graph)[0].nodes] == ["conv2d", "add", "concat"]


def test_leaves_out_what_is_not_negative_anyway():
    """A unit of ShuffleNet V1 that halves the map: the pooled input has gone through a ReLU before."""
    b = GraphBuilder("net", SHAPE)
    x = b.activation(b.conv2d("input", 4, 1, name="before"), "relu", name="before/relu")
    pooled = b.pool(b.pad(x, (1, 1, 1, 1), name="pad"), "avg_pool", 3, stride=2, name="pool")
    y = b.conv2d(x, 3, 3, stride=2, padding=1, name="own")
    graph = b.finish(b.activation(b.concat([y, pooled], name="both"), "relu", name="act"))
    rest = ["conv2d", "relu", "pad", "avg_pool", "conv2d"]
    assert_rewrites(graph, hoist_activations, 1, [*rest, "relu", "concat"])
    ends = [(n.op, n.attrs.get("activation")) for n in apply_passes(graph)[0].nodes if n.op in ("conv2d", "relu")]
    assert ends == [("conv2d", "relu")] * 2


def test_climbs_step_by_step():
    b = GraphBuilder("net", SHAPE)
    x = b.channel_shuffle(b.conv2d("input", 4, 1, name="conv"), 2, name="shuffle")
    x = b.pool(b.concat([x, b.mul("input", "input", name="square")], name="both"), "max_pool", 2, stride=2, name="pool")
    graph = b.finish(b.activation(x, "relu", name="act"))
    after, reports = apply_passes(graph)
    assert_same(graph, after)
    assert [n.op for n in after.nodes] == ["conv2d", "channel_shuffle", "mul", "concat", "max_pool"]
    assert [n.attrs["activation"] for n in after.nodes if n.op in ("conv2d", "mul")] == ["relu", "relu"]
    assert not any(r.refusals for r in reports)


def test_shufflenet_v1_keeps_no_activation_of_its_own():
    graph = build_model("shufflenet_v1", groups=3, alpha=0.25, resolution=32, classes=4)
    after, _ = apply_passes(graph)
    assert not [n.name for n in after.nodes if n.op in ("relu", "relu6")]
    assert_same(graph, after)


def concat_of(make: str, kind: str = "relu") -> Graph:
    """An activation after the concat of a convolution with something."""
    b = GraphBuilder("net", SHAPE)
    x = b.conv2d("input", 4, 1, name="conv")
    outputs: list[str] = []
    if make in ("hard_swish", "sigmoid"):
        y = b.activation("input", make, name="other")
    elif make == "input":
        y = "input"
    elif make == "constant":
        y = values(b, "constant", SHAPE)
    elif make == "shared":
        y = b.conv2d("input", 4, 1, name="other")
        outputs = [b.activation(y, "sigmoid", name="reader")]
    else:
        y = b.conv2d("input", 4, 1, name="other")
        outputs = [y]
    return b.finish(b.activation(b.concat([x, y], name="both"), kind, name="act"), *outputs)


def padded_with_ones() -> Graph:
    b = GraphBuilder("net", SHAPE)
    x = b.conv2d("input", 4, 1, name="conv")
    sides = {"before": (0, 1, 1, 0), "after": (0, 1, 1, 0), "value": -1.0}
    return b.finish(b.activation(b.op("pad", [x], sides, name="pad"), "relu", name="act"))


def averaged() -> Graph:
    b = GraphBuilder("net", SHAPE)
    x = b.pool(b.conv2d("input", 4, 1, name="conv"), "avg_pool", 2, stride=2, name="pool")
    return b.finish(b.activation(b.channel_shuffle(x, 2, name="shuffle"), "relu", name="act"))


def mover_read_twice() -> Graph:
    b = GraphBuilder("net", SHAPE)
    x = b.channel_shuffle(b.conv2d("input", 4, 1, name="conv"), 2, name="shuffle")
    return b.finish(b.add(x, b.activation(x, "relu", name="act"), name="sum"))


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (concat_of("hard_swish"), "act (relu): other (hard_swish) has no fused activation"),
        (concat_of("sigmoid", "relu6"), "act (relu6): other (sigmoid) has no fused activation"),
        (concat_of("input"), "act (relu): 'input' is made by no node"),
        (concat_of("constant"), "act (relu): 'constant' is made by no node"),
        (concat_of("shared"), "act (relu): 'other' is read by reader too"),
        (concat_of("output"), "act (relu): 'other' is a graph output"),
        (averaged(), "act (relu): pool (avg_pool) has no fused activation"),
        (mover_read_twice(), "act (relu): 'shuffle' is read by sum too"),
        (padded_with_ones(), ""),
    ],
)
def test_stays_where_it_would_cost_as_much(graph, reason):
    assert assert_refuses(graph, hoist_activations) == reason


@st.composite
def trees(draw: st.DrawFn) -> Graph:
    """An activation over a random tree of ops that hand values on, its leaves of all kinds."""
    b = GraphBuilder("tree", SHAPE, seed=draw(st.integers(0, 99)))
    count = 0

    def leaf(name: str) -> str:
        kind = draw(st.sampled_from(["conv", "conv", "add", "relu", "input", "hard_swish"]))
        if kind == "conv":
            return b.conv2d("input", 4, 1, bias=True, name=name)
        if kind in ("relu", "hard_swish"):
            return b.activation("input", kind, name=name)
        return b.add("input", "input", name=name) if kind == "add" else "input"

    def grow(depth: int) -> str:
        nonlocal count
        count += 1
        name = f"n{count}"
        op = draw(st.sampled_from(["leaf", "concat", "channel_shuffle", "max_pool", "gather", "avg_pool"]))
        if op == "leaf" or depth == 0:
            return leaf(name)
        if op == "concat":
            x = b.concat([grow(depth - 1), grow(depth - 1)], name=name)
            picked = draw(st.sampled_from([(0, 1, 2, 3), (0, 7, 2, 5), (4, 6, 4, 6)]))
            return b.gather(x, picked, name=f"{name}/four")
        x = grow(depth - 1)
        if op in ("max_pool", "avg_pool"):
            return b.pool(x, op, 3, stride=1, padding=1, name=name)
        return b.op(op, [x], HANDING_ON[op], name=name)

    return b.finish(b.activation(grow(3), draw(st.sampled_from(["relu", "relu6"])), name="act"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graph=trees())
def test_random_trees_compute_the_same(graph):
    alone = graph.copy()
    hoist_activations(alone)
    assert_same(graph, alone)
    after, _ = apply_passes(graph)
    assert_same(graph, after)
    assert sum(n.op in ("relu", "relu6") for n in after.nodes) <= sum(n.op in ("relu", "relu6") for n in graph.nodes)

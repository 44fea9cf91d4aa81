from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_helpers import assert_refuses, assert_rewrites, assert_same, randomise

from edgekit.graph import Graph, GraphBuilder
from edgekit.passes import apply_passes
from edgekit.passes.hoist_batch_norms import hoist_batch_norms
from edgekit.zoo import build_model

SHAPE = (1, 4, 4, 6)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 3, 6]),
    shuffles=st.lists(st.sampled_from([(2, 1), (3, 1), (2, 3), (3, 2), "gather"]), min_size=1, max_size=3),
    seed=st.integers(0, 2**16),
)
def test_ends_in_the_convolution_before_the_permutations(groups, shuffles, seed):
    b = GraphBuilder("net", SHAPE, seed=seed)
    x = b.conv2d("input", 6, 1, groups=groups, name="conv")
    for i, how in enumerate(shuffles):
        if how == "gather":
            x = b.gather(x, np.random.default_rng(seed).permutation(6).tolist(), name=f"p{i}")
        else:
            x = b.op("channel_shuffle", [x], {"groups": how[0], "block": how[1]}, name=f"p{i}")
    graph = randomise(b.finish(b.activation(b.batch_norm(x, name="bn"), "relu", name="act")), seed)
    alone = graph.copy()
    assert hoist_batch_norms(alone) == len(shuffles)
    assert_same(graph, alone)
    assert hoist_batch_norms(alone) == 0
    assert [n.op for n in alone.nodes][1] == "batch_norm"
    after, _ = apply_passes(graph)
    assert_same(graph, after)
    assert [n.op for n in after.nodes if n.op not in ("channel_shuffle", "gather")] == ["conv2d"]
    assert after.nodes[0].attrs["activation"] == "relu"


def test_statistics_that_others_read_stay_as_they_are():
    b = GraphBuilder("net", SHAPE)
    x = b.channel_shuffle(b.conv2d("input", 6, 1, name="conv"), 2, name="shuffle")
    y = b.batch_norm(x, name="bn")
    statistics = b.graph.producer(y).inputs[1:]
    z = b.op("batch_norm", [b.conv2d("input", 6, 1, name="other"), *statistics], name="second")
    graph = randomise(b.finish(y, z))
    after = assert_rewrites(
        graph, hoist_batch_norms, 1, ["conv2d", "batch_norm", "channel_shuffle", "conv2d", "batch_norm"]
    )
    assert after.nodes[1].outputs == ("conv/normalized",)
    assert after.nodes[2].outputs == ("bn",)


@pytest.mark.parametrize(("model", "options"), [("igcv2_cifar", {"depth": 8, "width": 16}), ("igcv1_cifar", {})])
def test_networks_with_permutations_keep_no_layer_that_only_normalizes(model, options):
    graph = build_model(model, resolution=32, **options)
    after, _ = apply_passes(graph)
    assert_same(graph, after)
    convolutions = [sum(n.op == "conv2d" for n in g.nodes) for g in (graph, after)]
    assert convolutions[0] == convolutions[1]


def net(make: str) -> Graph:
    b = GraphBuilder("net", SHAPE)
    x = "input" if make == "input" else b.conv2d("input", 6, 1, name="conv")
    if make == "active":
        x = b.op("conv2d", ["input", b.random("kernel", (1, 1, 6, 6), 1.0)], {"activation": "relu"}, name="active")
    if make == "pool":
        x = b.pool(x, "max_pool", 2, stride=2, name="pool")
    shuffled = b.channel_shuffle(x, 3, name="shuffle")
    if make == "gather":
        shuffled = b.gather(x, (0, 1, 2, 3, 4, 4), name="index")
    if make == "computed":
        gamma = b.reshape(b.global_avg_pool("input", name="squeeze"), (6,), name="gamma")
        rest = [b.full(f"bn/{name}", 6, 1.0) for name in ("beta", "mean", "variance")]
        return b.finish(b.op("batch_norm", [shuffled, gamma, *rest], name="bn"))
    y = b.batch_norm(shuffled, name="bn")
    others = {"read": lambda: [b.activation(shuffled, "sigmoid", name="reader")], "output": lambda: [x]}
    return b.finish(y, *others.get(make, list)())


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        ("active", "active has a fused relu"),
        ("input", "no layer comes before it"),
        ("pool", "pool before it (max_pool) has no weights"),
        ("computed", "its statistics 'gamma' are computed, not constant"),
        ("read", "'shuffle' is read by reader too"),
        ("output", "'conv' is a graph output"),
        ("gather", ""),
    ],
)
def test_says_why_it_stays(make, reason):
    assert assert_refuses(net(make), hoist_batch_norms) == (f"bn (batch_norm): {reason}" if reason else "")

from __future__ import annotations

import pytest
from pass_helpers import assert_refuses, assert_rewrites, randomise

from edgekit.graph import Graph, GraphBuilder
from edgekit.passes.fuse_activations import fuse_activations


def producer(b: GraphBuilder, op: str) -> str:
    """A node of that op called "first"; "input" is (1, 4, 4, 3)."""
    if op == "conv2d":
        return b.conv2d("input", 3, 3, bias=True, name="first")
    if op == "dense":
        return b.dense(b.global_avg_pool("input", name="pool"), 4, name="first")
    if op == "concat":
        return b.concat(["input", "input"], name="first")
    return b.op(op, ["input", "input"], name="first")


@pytest.mark.parametrize("kind", ["relu", "relu6"])
@pytest.mark.parametrize("op", ["conv2d", "dense", "add", "mul"])
def test_fuses_into_the_layer_before(op, kind):
    b = GraphBuilder("net", (1, 4, 4, 3))
    graph = randomise(b.finish(b.activation(producer(b, op), kind, name="act")))
    rest = ["global_avg_pool"] if op == "dense" else []
    after = assert_rewrites(graph, fuse_activations, 1, [*rest, op])
    assert (after.nodes[-1].name, after.nodes[-1].attrs["activation"]) == ("first", kind)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [("relu", "relu", "relu"), ("relu", "relu6", "relu6"), ("relu6", "relu", "relu6"), ("relu6", "relu6", "relu6")],
)
def test_fuses_one_after_the_other(first, second, both):
    b = GraphBuilder("net", (1, 4, 4, 3))
    x = b.activation(b.activation(b.add("input", "input", name="sum"), first, name="one"), second, name="two")
    after = assert_rewrites(b.finish(x), fuse_activations, 2, ["add"])
    assert after.nodes[0].attrs["activation"] == both


def read_elsewhere() -> Graph:
    b = GraphBuilder("net", (1, 4, 4, 3))
    x = producer(b, "conv2d")
    return b.finish(b.add(x, b.activation(x, "relu", name="act"), name="sum"))


def output_before() -> Graph:
    b = GraphBuilder("net", (1, 4, 4, 3))
    x = producer(b, "conv2d")
    return b.finish(x, b.activation(x, "relu", name="act"))


def after_concat() -> Graph:
    b = GraphBuilder("net", (1, 4, 4, 3))
    return b.finish(b.activation(producer(b, "concat"), "relu6", name="act"))


def after_input() -> Graph:
    b = GraphBuilder("net", (1, 4, 4, 3))
    return b.finish(b.activation("input", "relu6", name="act"))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (read_elsewhere, "act (relu): 'first' is read by sum too"),
        (output_before, "act (relu): 'first' is a graph output"),
        (after_concat, "act (relu6): first before it (concat) has no fused activation"),
        (after_input, "act (relu6): no node comes before it"),
    ],
)
def test_says_why_an_activation_stays(build, reason):
    assert assert_refuses(build(), fuse_activations) == reason

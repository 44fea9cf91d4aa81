from __future__ import annotations

import numpy as np
from pass_helpers import assert_refuses, assert_rewrites, values

from edgekit.graph import GraphBuilder
from edgekit.passes.fold_constants import fold_constants
from edgekit.passes.store_half import store_half


def test_computes_chains_of_constants():
    b = GraphBuilder("net", (1, 4, 4, 3))
    kernel = b.transpose(values(b, "weights", (5, 3, 1, 1)), (2, 3, 1, 0), name="transposed")
    kernel = b.mul(kernel, values(b, "factor", (5,)), name="scaled")
    graph = b.finish(b.op("conv2d", ["input", kernel], name="conv"))
    after = assert_rewrites(graph, fold_constants, 2, ["conv2d"])
    assert [t.name for t in after.constants()] == ["scaled"]


def test_computes_every_piece_of_a_split():
    b = GraphBuilder("net", (1, 4, 4, 3))
    one, two = b.split(values(b, "pair", (1, 1, 1, 6)), (3, 3), name="pieces")
    assert_rewrites(b.finish(b.add(b.mul("input", one, name="m"), two, name="a")), fold_constants, 1, ["mul", "add"])


def test_keeps_half_precision_constants_half():
    b = GraphBuilder("net", (1, 4, 4, 4))
    graph = b.finish(b.conv2d("input", 4, 1, name="conv"))
    assert store_half(graph) == 1
    source = graph.tensor("conv/kernel")
    twin = GraphBuilder("net", (1, 4, 4, 4))
    flat = twin.reshape(twin.constant("flat", source.array.reshape(4, 4)), (1, 1, 4, 4), name="kernel")
    after = assert_rewrites(twin.finish(twin.op("conv2d", ["input", flat], name="conv")), fold_constants, 1, ["conv2d"])
    assert after.tensor("kernel").dtype == "float16"


def test_a_graph_output_needs_its_node():
    b = GraphBuilder("net", (1, 4, 4, 3))
    known = b.activation(values(b, "known", (3,)), "relu", name="answer")
    graph = b.finish(b.add("input", known, name="sum"), known)
    assert assert_refuses(graph, fold_constants) == "answer (relu): 'answer' is a graph output"


def test_overflow_is_left_to_the_runtime():
    b = GraphBuilder("net", (1, 4, 4, 3))
    huge = b.constant("huge", np.full(3, 1e30, np.float32))
    graph = b.finish(b.add("input", b.mul(huge, huge, name="product"), name="sum"))
    assert assert_refuses(graph, fold_constants) == "product (mul): its result is not finite"

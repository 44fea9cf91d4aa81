from __future__ import annotations

from pass_helpers import assert_rewrites

from edgekit.graph import GraphBuilder
from edgekit.passes.remove_dead_nodes import remove_dead_nodes


def test_removes_what_no_output_needs():
    b = GraphBuilder("net", (1, 4, 4, 3))
    x = b.conv2d("input", 3, 1, name="conv")
    b.activation(b.conv2d(x, 3, 1, name="dead"), "relu", name="deader")
    graph = b.finish(b.activation(x, "relu", name="act"))
    after = assert_rewrites(graph, remove_dead_nodes, 2, ["conv2d", "relu"])
    assert sorted(after.tensors) == ["act", "conv", "conv/kernel", "input"]


def test_keeps_a_node_of_which_one_output_is_read():
    b = GraphBuilder("net", (1, 4, 4, 3))
    one, _ = b.split("input", (1, 2), name="pieces")
    assert_rewrites(b.finish(b.activation(one, "relu", name="act")), remove_dead_nodes, 0, ["split", "relu"])


def test_keeps_an_input_that_nobody_reads():
    b = GraphBuilder("net", (1, 4, 4, 3))
    b.input("unused", (1, 2))
    assert assert_rewrites(
        b.finish(b.activation("input", "relu", name="act")), remove_dead_nodes, 0, ["relu"]
    ).inputs == ("input", "unused")

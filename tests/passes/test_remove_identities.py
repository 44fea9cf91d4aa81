from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pass_helpers import assert_refuses, assert_rewrites, assert_same, values

from edgekit.graph import GraphBuilder
from edgekit.passes.remove_identities import remove_identities

SHAPE = (1, 4, 3, 6)
NOTHING = {
    "identity": {},
    "dropout": {"rate": 0.3},
    "reshape": {"shape": SHAPE},
    "transpose": {"perm": (0, 1, 2, 3)},
    "pad": {"before": (0, 0, 0, 0), "after": (0, 0, 0, 0), "value": 3.0},
    "slice": {"begin": (0, 0, 0, 0), "end": SHAPE, "strides": (2, 1, 1, 1)},
    "split": {"axis": 3, "sizes": (6,)},
    "concat": {"axis": 3},
    "gather": {"axis": 3, "indices": (0, 1, 2, 3, 4, 5)},
    "channel_shuffle": {"groups": 6},
    "max_pool": {"kernel": (1, 1)},
    "avg_pool": {"kernel": (1, 1)},
}
SOMETHING = {
    "reshape": {"shape": (1, 3, 4, 6)},
    "transpose": {"perm": (0, 2, 1, 3)},
    "pad": {"before": (0, 0, 0, 0), "after": (0, 1, 0, 0)},
    "slice": {"begin": (0, 0, 0, 0), "end": SHAPE, "strides": (1, 2, 1, 1)},
    "gather": {"axis": 3, "indices": (0, 1, 2, 3, 5, 4)},
    "channel_shuffle": {"groups": 2},
    "max_pool": {"kernel": (1, 1), "strides": (2, 2)},
    "avg_pool": {"kernel": (2, 1)},
}


@pytest.mark.parametrize("op", NOTHING)
def test_removes_it_between_two_layers(op):
    b = GraphBuilder("net", SHAPE)
    x = b.op(op, [b.conv2d("input", 6, 1, name="before")], NOTHING[op], name="nothing")
    assert_rewrites(b.finish(b.conv2d(x, 2, 1, name="after")), remove_identities, 1, ["conv2d", "conv2d"])


@pytest.mark.parametrize("op", NOTHING)
def test_a_graph_output_keeps_its_name(op):
    b = GraphBuilder("net", SHAPE)
    x = b.conv2d("input", 6, 1, name="before")
    y = b.activation(x, "relu", name="side")
    graph = b.finish(b.op(op, [x], NOTHING[op], name="nothing"), y)
    after = assert_rewrites(graph, remove_identities, 1, ["conv2d", "relu"])
    assert (after.nodes[0].outputs, after.nodes[1].inputs) == (("nothing",), ("nothing",))


@pytest.mark.parametrize("op", SOMETHING)
def test_keeps_what_changes_something(op):
    b = GraphBuilder("net", SHAPE)
    assert assert_refuses(b.finish(b.op(op, ["input"], SOMETHING[op], name="node")), remove_identities) == ""


def test_removes_a_chain():
    b = GraphBuilder("net", SHAPE)
    x = b.conv2d("input", 6, 1, name="conv")
    for op, attrs in NOTHING.items():
        x = b.op(op, [x], attrs, name=f"nothing_{op}")
    assert_rewrites(b.finish(x), remove_identities, len(NOTHING), ["conv2d"])


def test_keeps_the_second_of_two_outputs_of_a_split_apart():
    b = GraphBuilder("net", SHAPE)
    one, two = b.split("input", (2, 4), name="pieces")
    graph = b.finish(one, b.op("identity", [two], name="second"))
    assert assert_rewrites(graph, remove_identities, 1, ["split"]).nodes[0].outputs == ("pieces/0", "second")


@given(st.permutations(range(4)), st.permutations(range(4)))
def test_two_transposes_become_one_or_none(first, second):
    b = GraphBuilder("net", (2, 3, 4, 5))
    x = b.activation("input", "relu", name="relu")
    graph = b.finish(b.transpose(b.transpose(x, first, name="one"), second, name="two"))
    both = [first[p] for p in second]
    remove_identities(after := graph.copy())
    assert [n.op for n in after.nodes] == ["relu"] + ["transpose"] * (both != [0, 1, 2, 3])
    assert_rewrites(after, remove_identities, 0, [n.op for n in after.nodes])


@pytest.mark.parametrize("perm", list(itertools.permutations(range(4))))
def test_a_transpose_that_moves_no_data_becomes_a_reshape(perm):
    b = GraphBuilder("net", (1, 1, 3, 5))
    graph = b.finish(b.transpose(b.activation("input", "relu", name="relu"), perm, name="t"))
    remove_identities(after := graph.copy())
    shape = after.shape("t")
    if perm.index(2) > perm.index(3):
        expected = ["relu", "transpose"]
    else:
        expected = ["relu"] if shape == (1, 1, 3, 5) else ["relu", "reshape"]
    assert [n.op for n in after.nodes] == expected
    assert_same(graph, after)


def test_reshapes_in_a_row_become_one():
    b = GraphBuilder("net", SHAPE)
    x = b.reshape(b.reshape("input", (4, 18), name="one"), (8, 9), name="two")
    graph = b.finish(b.reshape(x, (1, 72), name="three"), b.activation("two", "relu", name="act"))
    after = graph.copy()
    assert remove_identities(after) == 2
    assert_rewrites(after, remove_identities, 0, ["reshape", "reshape", "relu"])
    assert [n.inputs for n in after.nodes[:2]] == [("input",), ("input",)]


def test_reshape_there_and_back_disappears():
    b = GraphBuilder("net", SHAPE)
    x = b.reshape(b.reshape(b.activation("input", "relu", name="a"), (4, 18), name="one"), SHAPE, name="two")
    assert_rewrites(b.finish(b.activation(x, "sigmoid", name="b")), remove_identities, 2, ["relu", "sigmoid"])


def test_an_input_cannot_become_an_output():
    b = GraphBuilder("net", SHAPE)
    graph = b.finish(b.op("identity", ["input"], name="same"))
    reason = assert_refuses(graph, remove_identities)
    assert reason == "same (identity): graph output 'same' would be 'input', which no node makes"


def test_a_constant_cannot_become_an_output():
    b = GraphBuilder("net", SHAPE)
    same = b.op("identity", [values(b, "known", (3,))], name="same")
    graph = b.finish(b.activation("input", "relu", name="relu"), same)
    assert "would be 'known', which no node makes" in assert_refuses(graph, remove_identities)


def test_two_outputs_cannot_become_one():
    b = GraphBuilder("net", SHAPE)
    x = b.activation("input", "relu", name="one")
    graph = b.finish(x, b.dropout(x, 0.5, name="two"))
    reason = assert_refuses(graph, remove_identities)
    assert reason == "two (dropout): graph outputs 'one' and 'two' would be one tensor"

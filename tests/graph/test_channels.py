from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import GraphError
from edgekit.graph import GraphBuilder
from edgekit.graph.channels import ChannelMap, ChannelSpace, LayoutTracer, block_shuffle, renamed_channels
from edgekit.graph.interpret import interpret
from edgekit.graph.kernels import shuffle_indices


def test_numbers_of_two_tensors_never_touch():
    space = ChannelSpace()
    a, b = space.add("a", 3), space.add("b", 2)
    joined = ChannelMap.join([a, b])
    assert [(r.position, r.length) for r in joined.runs()] == [(0, 3), (3, 2)]
    assert [space.owner(int(n)) for n in joined.ids] == ["a", "a", "a", "b", "b"]
    assert space.owners(joined.take([4, 0])) == ["a", "b"]


def test_a_name_is_numbered_once():
    space = ChannelSpace()
    space.add("a", 3)
    with pytest.raises(GraphError, match="channels of 'a' are numbered already"):
        space.add("a", 3)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_position_outside_is_an_error(index):
    with pytest.raises(GraphError, match="outside a mapping of 3"):
        ChannelSpace().add("a", 3).take([0, index])


def test_positions_need_every_channel_once():
    whole = ChannelSpace().add("a", 4)
    assert whole.take([3, 1]).positions_in(whole).tolist() == [3, 1]
    with pytest.raises(GraphError, match="lacks"):
        whole.take([1]).positions_in(whole.take([0, 2]))
    with pytest.raises(GraphError, match="cannot be expressed"):
        whole.take([1]).positions_in(whole.take([1, 1]))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(groups=st.integers(1, 6), per_group=st.integers(1, 6), block=st.integers(1, 5))
def test_every_shuffle_is_recognised(groups, per_group, block):
    size = groups * per_group * block
    order = shuffle_indices(size, groups, block)
    form = block_shuffle(order)
    if groups == 1 or per_group == 1:
        assert form is None
        assert order.tolist() == list(range(size))
    else:
        assert form is not None
        assert shuffle_indices(size, *form).tolist() == order.tolist()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(order=st.permutations(range(6)))
def test_what_is_recognised_is_a_shuffle(order):
    form = block_shuffle(np.array(order))
    assert form is None or shuffle_indices(6, *form).tolist() == list(order)


def moves() -> GraphBuilder:
    b = GraphBuilder("moves", (1, 2, 3, 12))
    x = b.channel_shuffle("input", 3, name="shuffle")
    left, right = b.split(x, (5, 7), name="split")
    x = b.concat([right, left, right], name="concat")
    x = b.gather(x, [0, 18, 3, 3, 7, 11], name="gather")
    x = b.op("slice", [x], {"begin": (0, 0, 0, 1), "end": (1, 2, 3, 6), "strides": (1, 1, 1, 2)}, name="slice")
    b.op("identity", [x], name="same")
    return b


def test_renaming_is_what_the_reference_computes():
    graph = moves().finish("same")
    maps = {"input": ChannelSpace().add("input", 12)}
    for node in graph.nodes:
        outputs = renamed_channels(graph, node, maps)
        assert outputs is not None
        maps.update(zip(node.outputs, outputs, strict=True))
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 12)).astype(np.float32)
    for name, value in interpret(graph, {"input": x}, keep=True).items():
        np.testing.assert_array_equal(value, x[..., maps[name].ids])


def test_slices_of_height_are_no_renaming():
    b = GraphBuilder("net", (1, 4, 4, 6))
    b.op("slice", ["input"], {"begin": (0, 1, 0, 0), "end": (1, 4, 4, 6), "strides": (1,) * 4}, name="rows")
    graph = b.finish("rows")
    assert renamed_channels(graph, graph.nodes[0], {"input": ChannelSpace().add("input", 6)}) is None


def test_a_reshape_transpose_reshape_chain_is_followed():
    b = GraphBuilder("net", (1, 2, 3, 12))
    x = b.reshape("input", (1, 2, 3, 4, 3), name="apart")
    x = b.transpose(x, (0, 1, 2, 4, 3), name="turned")
    b.reshape(x, (1, 2, 3, 12), name="together")
    graph = b.finish("together")
    tracer = LayoutTracer(graph)
    found = [tracer.permutation(node) for node in graph.nodes]
    assert found[:2] == [None, None]
    assert found[2] is not None
    assert (found[2][0], found[2][1].tolist()) == ("input", shuffle_indices(12, 4).tolist())


def test_a_chain_that_moves_positions_is_not_taken_for_a_renaming():
    b = GraphBuilder("net", (1, 2, 2, 4))
    x = b.transpose("input", (0, 3, 1, 2), name="turned")
    b.reshape(x, (1, 2, 2, 4), name="mixed")
    graph = b.finish("mixed")
    tracer = LayoutTracer(graph)
    assert [tracer.permutation(node) for node in graph.nodes] == [None, None]

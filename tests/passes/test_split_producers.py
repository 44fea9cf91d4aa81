"""Layers whose results are cut up are computed in pieces where that costs less, and every value stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from fusion_nets import assert_exact, int8_of, retargeted

from edgekit.graph import Graph, GraphBuilder
from edgekit.passes import apply_passes
from edgekit.passes.split_producers import split_producers
from edgekit.passes.target import Target

BYTES_ARE_DEAR = replace(retargeted().int8, overhead=0.0, byte=1.0, piece=0.0)
DEAR = Target("bytes are dear", BYTES_ARE_DEAR, BYTES_ARE_DEAR, 9)


def cut(b: GraphBuilder, x: str, begin: int, end: int, name: str) -> str:
    rows = b.shape(x)[:3]
    return b.op("slice", [x], {"begin": (0, 0, 0, begin), "end": (*rows, end), "strides": (1,) * 4}, name=name)


def whole() -> GraphBuilder:
    b = GraphBuilder("net", (1, 4, 4, 5))
    b.activation(b.conv2d("input", 12, 3, bias=True, name="whole"), "relu", name="relu")
    return b


def two_halves() -> Graph:
    b = whole()
    return b.finish(b.add(cut(b, "relu", 0, 6, "a"), cut(b, "relu", 6, 12, "b"), name="sum"))


def overlapping() -> Graph:
    b = whole()
    half = cut(b, "relu", 0, 6, "a")
    x = b.conv2d(b.concat(["relu", half], name="joined"), 6, 1, name="x")
    return b.finish(b.add(x, half, name="sum"))


def some_unread() -> Graph:
    b = whole()
    return b.finish(
        b.conv2d(cut(b, "relu", 3, 5, "a"), 3, 1, name="x"), b.conv2d(cut(b, "relu", 8, 9, "b"), 2, 1, name="y")
    )


@pytest.mark.parametrize("make", [two_halves, overlapping, some_unread])
def test_values_stay_and_slices_go(make: Callable[[], Graph]):
    source, _ = apply_passes(make())
    for graph in (source, int8_of(source)):
        fused = graph.copy()
        lines = split_producers(fused, DEAR)
        assert lines[0].startswith("whole: computed in ")
        assert "slice" not in {n.op for n in fused.nodes}
        assert_exact(graph, fused)


def test_channels_that_nobody_reads_are_not_computed():
    graph, _ = apply_passes(some_unread())
    split_producers(graph, DEAR)
    made = [graph.shape(n.output)[-1] for n in graph.nodes if n.name.startswith("relu/")]
    assert made == [2, 1]


def test_concats_take_no_more_inputs_than_the_target_runs():
    graph, _ = apply_passes(overlapping())
    assert split_producers(graph, replace(DEAR, concat_inputs=2)) == []


def test_a_layer_whose_pieces_cost_more_than_the_slices_stays_whole():
    graph, _ = apply_passes(two_halves())
    dear = replace(retargeted().int8, overhead=1e6, byte=0.0, piece=0.0)
    prices = Target("dear", dear, dear, 5)
    assert split_producers(graph, prices)  # two layers for a layer and two slices
    graph, _ = apply_passes(overlapping())
    assert split_producers(graph, prices) == []  # two layers for a layer and a slice, nothing gained


def seen_outside() -> Graph:
    b = whole()
    return b.finish(cut(b, "relu", 0, 6, "a"), "relu")


def slice_seen_outside() -> Graph:
    b = whole()
    return b.finish(cut(b, "relu", 0, 6, "a"), b.conv2d(cut(b, "relu", 6, 12, "b"), 2, 1, name="x"))


def read_by_a_layer_too() -> Graph:
    b = whole()
    return b.finish(b.conv2d("relu", 6, 1, name="x"), b.conv2d(cut(b, "relu", 0, 6, "a"), 2, 1, name="y"))


def every_second_channel() -> Graph:
    b = whole()
    bounds = {"begin": (0, 0, 0, 0), "end": (1, 4, 4, 12), "strides": (1, 1, 1, 2)}
    return b.finish(b.conv2d(b.op("slice", ["relu"], bounds, name="a"), 2, 1, name="y"))


def rows_cut() -> Graph:
    b = whole()
    bounds = {"begin": (0, 1, 0, 0), "end": (1, 4, 4, 12), "strides": (1, 1, 1, 1)}
    return b.finish(b.conv2d(b.op("slice", ["relu"], bounds, name="a"), 2, 1, name="y"))


@pytest.mark.parametrize(
    "make", [seen_outside, slice_seen_outside, read_by_a_layer_too, every_second_channel, rows_cut]
)
def test_what_others_need_whole_is_left_alone(make: Callable[[], Graph]):
    graph, _ = apply_passes(make())
    nodes = graph.nodes
    assert split_producers(graph, DEAR) == []
    assert graph.nodes == nodes

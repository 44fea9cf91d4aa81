"""Groups are merged where a target computes them no faster apart, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_nets import assert_exact, int8_of, retargeted, tiled

from edgekit.graph import Graph, GraphBuilder
from edgekit.passes import apply_passes
from edgekit.passes.fuse_channels import fuse_channels
from edgekit.passes.merge_groups import merge_groups, merged_blocks


def grouped(groups: int, outputs: int, kernel: int = 3) -> Graph:
    b = GraphBuilder("net", (1, 5, 5, 6))
    x = b.conv2d("input", 16, 1, bias=True, name="first")
    return b.finish(b.conv2d(x, outputs, kernel, groups=groups, bias=True, name="grouped"))


@pytest.mark.parametrize(("groups", "outputs", "left"), [(4, 8, 1), (4, 16, 2), (8, 32, 4), (2, 16, 2)])
def test_groups_are_merged_until_they_fill_a_tile(groups, outputs, left):
    for graph in (grouped(groups, outputs), int8_of(apply_passes(grouped(groups, outputs))[0])):
        merged = graph.copy()
        lines, refused = merge_groups(merged, tiled())
        assert refused == {}
        assert_exact(graph, merged)
        assert merged.nodes[-1].attrs["groups"] == left
        assert lines == ([f"grouped: {groups} groups computed as {left}, which costs less"] if left != groups else [])


def test_a_net_without_moves_is_rewritten_and_says_so():
    graph = grouped(4, 8)
    fused, report = fuse_channels(graph, tiled())
    assert report.changed
    assert report.layers == ("grouped: 4 groups computed as 1, which costs less",)
    assert (report.before, report.after, report.left) == ({}, {}, ())
    assert_exact(graph, fused)


def test_arithmetic_that_costs_by_the_multiply_add_is_not_multiplied():
    graph = grouped(2, 64)
    fused, report = fuse_channels(graph, retargeted(mac=1.0))
    assert not report.changed
    assert fused.nodes[-1].attrs["groups"] == 2


def test_a_shared_kernel_is_not_merged_and_the_reason_given():
    b = GraphBuilder("net", (1, 5, 5, 16))
    x = b.conv2d("input", 16, 1, groups=4, name="a")
    y = b.op("conv2d", [x, "a/kernel"], {"groups": 4}, name="again")
    graph = b.finish(y)
    fused, report = fuse_channels(graph, tiled())
    assert_exact(graph, fused)
    assert [n.attrs["groups"] for n in fused.nodes] == [4, 4]
    assert "a: its kernel 'a/kernel' is shared with again" in report.notes


def test_depthwise_layers_stay():
    b = GraphBuilder("net", (1, 5, 5, 6))
    graph = b.finish(b.conv2d(b.depthwise("input", 3, name="d"), 12, 1, groups=6, name="doubling"))
    assert merge_groups(graph, tiled()) == ([], {})


def test_blocks_stand_on_the_diagonal():
    kernel = np.arange(1, 13, dtype=np.int8).reshape(1, 1, 1, 12)
    np.testing.assert_array_equal(merged_blocks(kernel, 6, 6), kernel)
    wide = merged_blocks(kernel, 6, 2)[0, 0]
    assert wide.shape == (3, 12)
    np.testing.assert_array_equal(wide[:, :6], [[1, 2, 0, 0, 0, 0], [0, 0, 3, 4, 0, 0], [0, 0, 0, 0, 5, 6]])
    np.testing.assert_array_equal((wide != 0).sum(axis=0), 1)

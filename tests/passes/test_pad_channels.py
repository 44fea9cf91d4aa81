"""Padded channels change no value that anybody reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fusion_nets import assert_exact, int8_of, tiled

from edgekit.graph import Graph, GraphBuilder
from edgekit.passes import apply_passes
from edgekit.passes.fuse_channels import fuse_channels
from edgekit.passes.pad_channels import pad_channels


def bottleneck(channels: int = 6) -> GraphBuilder:
    b = GraphBuilder("net", (1, 5, 5, 4))
    x = b.activation(b.conv2d("input", channels, 1, bias=True, name="reduce"), "relu", name="relu")
    x = b.pool(b.depthwise(x, 3, name="middle"), "max_pool", 3, stride=1, padding=1, name="pool")
    b.conv2d(x, 5, 1, bias=True, name="expand")
    return b


@pytest.mark.parametrize(("channels", "padded"), [(5, 8), (6, 8), (8, 8), (13, 16), (17, 24)])
def test_channels_are_rounded_up(channels, padded):
    graph = bottleneck(channels).finish("expand")
    for form in (graph, apply_passes(graph)[0], int8_of(apply_passes(graph)[0])):
        wide = form.copy()
        lines = pad_channels(wide, tiled())
        assert_exact(form, wide)
        middle = next(n for n in wide.nodes if n.name == "middle")
        assert middle.attrs["groups"] == wide.shape(middle.output)[-1] == padded
        assert bool(lines) == (padded != channels)


@pytest.mark.parametrize(("picked", "padded"), [((0, 2, 3, 5, 6), 8), ((7, 7, 1), 8), ((3, 1, 0, 2, 7, 6, 5, 4), 8)])
def test_a_gather_before_a_depthwise_layer_takes_one_channel_more(picked, padded):
    b = GraphBuilder("net", (1, 5, 5, 8))
    b.op("gather", ["input"], {"axis": 3, "indices": picked}, name="picked")
    x = b.activation(b.depthwise("picked", 1, name="middle"), "relu", name="relu")
    b.conv2d(x, 4, 1, bias=True, name="layer")
    b.op("gather", [x], {"axis": 3, "indices": (2, 0, 2)}, name="some")
    b.op("slice", [x], {"begin": (0, 0, 0, 1), "end": (1, 5, 5, 3), "strides": (1, 1, 1, 1)}, name="two")
    graph = b.finish("layer", "some", "two")
    for form in (graph, apply_passes(graph)[0], int8_of(apply_passes(graph)[0])):
        wide = form.copy()
        lines = pad_channels(wide, tiled())
        assert_exact(form, wide)
        middle = next(n for n in wide.nodes if n.name == "middle")
        assert middle.attrs["groups"] == wide.shape(middle.inputs[0])[-1] == padded
        assert bool(lines) == (padded != len(picked))


def test_padded_tensors_have_another_name_and_the_report_names_the_layer():
    graph = bottleneck().finish("expand")
    fused, report = fuse_channels(graph, tiled())
    assert report.changed
    assert report.layers == ("reduce: 6 channels computed as 8, which costs less",)
    names = {"reduce/padded", "relu/padded", "middle/padded", "pool/padded"}
    assert names <= fused.tensors.keys()
    assert not {"reduce", "middle"} & fused.tensors.keys()


def seen_outside(b: GraphBuilder) -> Graph:
    return b.finish("expand", "middle")


def added_up(b: GraphBuilder) -> Graph:
    return b.finish("expand", b.add("middle", "relu", name="sum"))


def read_as_a_kernel(b: GraphBuilder) -> Graph:
    kernel = b.reshape("middle", (5, 5, 6, 1), name="kernel")
    return b.finish("expand", b.op("conv2d", ["relu", kernel], {}, name="product"))


def read_by_groups(b: GraphBuilder) -> Graph:
    return b.finish("expand", b.conv2d("middle", 4, 1, groups=2, name="grouped"))


def of_shared_weights(b: GraphBuilder) -> Graph:
    return b.finish("expand", b.op("conv2d", ["pool", "expand/kernel"], {}, name="again"))


@pytest.mark.parametrize("use", [seen_outside, added_up, read_as_a_kernel, read_by_groups, of_shared_weights])
def test_tensors_that_others_see_are_left_alone(use: Callable[[GraphBuilder], Graph]):
    graph = use(bottleneck())
    assert pad_channels(graph, tiled()) == []

"""ShuffleNet V2's guidelines: each against the paper's formula by hand, and what they say to known networks."""

from __future__ import annotations

import json
import math

import pytest

from edgekit.graph.builder import GraphBuilder
from edgekit.graph.cost import node_cost
from edgekit.graph.fragments import Fragments
from edgekit.graph.guidelines import absorbed_nodes, check_guidelines, many_groups, unequal_widths
from edgekit.zoo import build_model


def convolution(inputs: int, outputs: int, *, size: int = 56, kernel: int = 1, groups: int = 1):
    b = GraphBuilder("g", (1, size, size, inputs))
    return b.finish(b.conv2d("input", outputs, kernel, groups=groups, name="c"))


@pytest.mark.parametrize(("inputs", "outputs"), [(52, 312), (312, 52), (36, 432)])
def test_unequal_widths_are_measured_against_equal_ones_with_as_many_macs(inputs, outputs):
    """arXiv:1807.11164, table 1: 128 to 128, 90 to 180, 52 to 312 and 36 to 432 channels on 56x56."""
    graph = convolution(inputs, outputs)
    node = graph.nodes[0]
    remark = unequal_widths(graph, node)
    least = 2 * math.sqrt(56 * 56 * node_cost(graph, node).macs) + inputs * outputs  # equation 2
    assert remark is not None
    assert remark.excess == pytest.approx(node_cost(graph, node).memory_access_bytes / 4 / least - 1)
    assert remark.text.startswith(f"{inputs} to {outputs} channels, +")


@pytest.mark.parametrize(
    "graph",
    [convolution(128, 128), convolution(90, 180), convolution(52, 312, kernel=3), convolution(52, 312, size=1)],
    ids=["equal", "1:2", "3x3", "weights dominate"],
)
def test_widths_that_cost_little_are_not_remarked_on(graph):
    assert unequal_widths(graph, graph.nodes[0]) is None


@pytest.mark.parametrize(("groups", "excess"), [(4, 0.60), (8, 0.78)])
def test_groups_are_measured_against_a_dense_convolution_with_as_many_macs(groups, excess):
    grouped, dense = convolution(240, 240, groups=groups), convolution(240, 240 // groups)
    remark = many_groups(grouped, grouped.nodes[0])
    moved, moved_dense = (node_cost(g, g.nodes[0]).memory_access_bytes for g in (grouped, dense))
    assert node_cost(grouped, grouped.nodes[0]).macs == node_cost(dense, dense.nodes[0]).macs
    assert remark is not None
    assert remark.excess == pytest.approx(moved / moved_dense - 1)
    assert remark.excess == pytest.approx(excess, abs=0.02)
    assert remark.text.startswith(f"{groups} groups, +")


@pytest.mark.parametrize("groups", [1, 2, 240])
def test_few_groups_and_depthwise_are_not_remarked_on(groups):
    graph = convolution(240, 240, groups=groups)
    assert many_groups(graph, graph.nodes[0]) is None


def branchy(*branches: int):
    """Branches of so many 3x3 convolutions over one stem, added up or joined."""
    b = GraphBuilder("branchy", (1, 8, 8, 4))
    stem, ends = b.conv2d("input", 4, 3, name="stem"), []
    for i, length in enumerate(branches):
        x = stem
        for j in range(length):
            x = b.conv2d(x, 4, 3, name=f"branch{i}_{j}")
        ends.append(x)
    return b.finish(b.concat(ends, name="join"))


@pytest.mark.parametrize(
    ("branches", "expected"),
    [((1, 1), (2, 2)), ((2, 3), (2, 5)), ((0, 3), (1, 3)), ((1, 1, 1, 1), (4, 4)), ((0, 2, 1), (2, 3))],
)
def test_branches_are_counted_back_to_where_they_part(branches, expected):
    graph = branchy(*branches)
    assert Fragments(graph).joined_by(graph.producer("join")) == expected


def test_what_all_branches_have_in_common_is_no_branch():
    """A cell reads the cell before and the one before that, which the first has read too."""
    b = GraphBuilder("cells", (1, 8, 8, 4))
    older = b.conv2d("input", 4, 3, name="older")
    newer = b.conv2d(older, 4, 3, name="newer")
    left, right = b.conv2d(newer, 4, 3, name="left"), b.conv2d(older, 4, 3, name="right")
    both = b.add(b.add(left, newer, name="first"), b.add(right, older, name="second"), name="both")
    graph = b.finish(both)
    fragments = Fragments(graph)
    assert fragments.joined_by(graph.producer("first")) == (1, 1)
    assert fragments.joined_by(graph.producer("both")) == (2, 3)  # left, right, and newer, which only `first` reads


def test_a_gate_is_no_second_branch():
    assert check_guidelines(build_model("mobilenet_v3_small", resolution=64)).counts["G3"] == 0


def test_elementwise_shares_by_hand():
    """8x8x4 in: depthwise, then a sum and a ReLU that runs inside it, then a sigmoid of its own."""
    b = GraphBuilder("e", (1, 8, 8, 4))
    x = b.activation(b.batch_norm(b.depthwise("input", 3, name="dw"), name="bn"), "relu6", name="relu6")
    x = b.activation(b.add(x, "input", name="add"), "relu", name="relu")
    graph = b.finish(b.activation(x, "sigmoid", name="sigmoid"))
    assert absorbed_nodes(graph) == {"bn", "relu6", "relu"}
    map_size = 8 * 8 * 4
    moved = {
        "depthwise": 2 * map_size + 9 * 4,
        "sums and products": 3 * map_size,
        "norms and activations": 2 * map_size,
    }
    report = check_guidelines(graph)
    assert report.elementwise_share == pytest.approx(1.0)
    for kind, elements in moved.items():
        assert report.elementwise_shares[kind] == pytest.approx(elements / sum(moved.values()))
    assert [(r.layer, r.guideline) for r in report.remarks] == [("dw", "G4"), ("add", "G4"), ("sigmoid", "G4")]


def test_norms_and_activations_that_no_layer_can_take_in_count():
    b = GraphBuilder("pre", (1, 8, 8, 4))
    x = b.activation(b.batch_norm("input", name="before"), "relu", name="relu_before")
    x = b.conv2d(x, 4, 3, name="conv")
    twice = b.add(b.batch_norm(x, name="shared"), x, name="add")
    late = b.batch_norm(b.activation(b.conv2d(twice, 4, 1, name="last"), "relu", name="inside"), name="after")
    assert absorbed_nodes(b.finish(b.activation(late, "relu", name="relu_after"))) == {"inside"}


def test_the_guidelines_tell_the_networks_apart():
    """The paper's discussion: MobileNet V2 breaks G1 with its inverted bottlenecks, ShuffleNet V1 also G2; its own
    network breaks neither, and moves the smallest share by element-wise operations."""
    reports = {name: check_guidelines(build_model(name)) for name in ("mobilenet_v2", "shufflenet_v1", "shufflenet_v2")}
    counts = {name: report.counts for name, report in reports.items()}
    assert counts["mobilenet_v2"]["G1"] > 20
    assert counts["mobilenet_v2"]["G2"] == 0
    assert min(counts["shufflenet_v1"]["G1"], counts["shufflenet_v1"]["G2"]) > 10
    assert (counts["shufflenet_v2"]["G1"], counts["shufflenet_v2"]["G2"]) == (0, 0)
    assert reports["shufflenet_v2"].elementwise_share < 0.5 * reports["mobilenet_v2"].elementwise_share


def test_the_worst_layer_and_json():
    report = check_guidelines(build_model("shufflenet_v1", groups=8))
    worst = report.worst("G2")
    assert worst is not None
    assert worst.excess == max(r.excess for r in report.remarks if r.guideline == "G2")
    document = json.loads(json.dumps(report.to_json()))
    assert document["counts"] == report.counts
    assert len(document["remarks"]) == sum(report.counts.values())
    assert document["elementwise_share"] == pytest.approx(sum(document["elementwise_shares"].values()))
    assert check_guidelines(build_model("squeezenet")).worst("G4") is None

"""Costs against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.cost import graph_cost, node_cost, peak_activation_bytes
from edgekit.zoo import build_model


def residual() -> Graph:
    """8x8x3 -> conv 3x3/2 to 4 with bias -> bn -> relu6 -> depthwise 3x3 -> add -> mean -> dense to 10."""
    b = GraphBuilder("residual", (1, 8, 8, 3))
    x = b.batch_norm(b.conv2d("input", 4, 3, stride=2, bias=True, name="conv"), name="bn")
    x = b.activation(x, "relu6", name="relu")
    x = b.add(x, b.depthwise(x, 3, name="dw"), name="add")
    return b.finish(b.dense(b.global_avg_pool(x, name="gap"), 10, name="fc"))


def test_parameters_and_macs_by_hand():
    cost = graph_cost(residual())
    conv, bn, depthwise, dense = 3 * 3 * 3 * 4 + 4, 2 * 4, 3 * 3 * 4, 4 * 10 + 10
    assert cost.parameters == conv + bn + depthwise + dense
    assert cost.macs == 4 * 4 * (3 * 3 * 3 * 4) + 4 * 4 * (3 * 3 * 4) + 4 * 10
    assert cost.weight_bytes == 4 * (conv + 2 * bn + depthwise + dense)
    by_name = {row.name: row for row in cost.nodes}
    assert [row.macs for row in cost.nodes if row.macs] == [1728, 576, 40]
    assert by_name["bn"].parameters == 8
    assert by_name["fc"].output_shape == (1, 10)


def test_grouped_convolution_counts_its_share():
    b = GraphBuilder("g", (1, 5, 5, 8))
    graph = b.finish(b.conv2d("input", 12, 3, groups=4, padding="valid", name="c"))
    assert graph_cost(graph).macs == 3 * 3 * 12 * (3 * 3 * 2)
    assert graph_cost(graph).parameters == 3 * 3 * 2 * 12


def test_memory_access_of_a_pointwise_convolution_follows_the_formula():
    """arXiv:1807.11164, section 2, G1: hw (c1 + c2) + c1 c2 elements."""
    b = GraphBuilder("g", (1, 7, 5, 6))
    graph = b.finish(b.conv2d("input", 9, 1, name="c"))
    row = node_cost(graph, graph.nodes[0])
    assert row.memory_access_bytes == 4 * (7 * 5 * (6 + 9) + 6 * 9)
    assert row.read_bytes == 4 * (7 * 5 * 6 + 6 * 9)
    assert graph_cost(graph).memory_access_bytes == row.memory_access_bytes


def test_a_shared_constant_counts_once_in_the_totals():
    b = GraphBuilder("shared", (1, 4, 4, 3))
    b.conv2d("input", 3, 3, name="first")
    b.op("conv2d", ["first", "first/kernel"], {"padding": (1, 1, 1, 1)}, name="second")
    cost = graph_cost(b.finish("second"))
    assert cost.parameters == 81
    assert [row.parameters for row in cost.nodes] == [81, 81]
    assert cost.weight_bytes == 324


def test_peak_memory_keeps_the_residuals_input_alive():
    """While dw runs: relu (256) and dw (256); while conv runs: input (768) and conv (256)."""
    graph = residual()
    assert peak_activation_bytes(graph) == 768 + 256
    x = graph.nodes[0]
    assert x.name == "conv"


def test_peak_memory_of_a_branch_by_hand():
    b = GraphBuilder("branch", (1, 4, 4, 1))  # 64 bytes
    wide = b.conv2d("input", 8, 1, name="wide")  # 512
    narrow = b.conv2d(wide, 1, 1, name="narrow")  # 64, wide dies
    graph = b.finish(b.concat(["input", narrow], name="out"))  # 128; the input lives until here
    assert peak_activation_bytes(graph) == 64 + 512 + 64


def test_outputs_and_unread_results_count_while_they_live():
    b = GraphBuilder("o", (1, 10))  # 40 bytes
    b.activation("input", "relu", name="kept")  # 40, an output: lives to the end
    b.activation("input", "relu6", name="unread")  # 40, gone after its node
    graph = b.finish("kept", b.dense("input", 5, name="d"))  # 20
    assert peak_activation_bytes(graph) == 40 + 40 + 40


def test_int8_takes_a_quarter():
    graph = residual()
    halves = graph_cost(graph)
    graph.map_tensors(lambda t: t.with_data(t.array.astype(np.int8)) if t.is_constant else replace(t, dtype="int8"))
    cost = graph_cost(graph)
    assert cost.weight_bytes * 4 == halves.weight_bytes
    assert cost.peak_activation_bytes * 4 == halves.peak_activation_bytes
    assert cost.memory_access_bytes * 4 == halves.memory_access_bytes
    assert (cost.parameters, cost.macs) == (halves.parameters, halves.macs)


def test_split_counts_all_its_outputs():
    b = GraphBuilder("s", (1, 2, 2, 4))
    graph = b.finish(*b.split("input", (1, 3), name="s"))
    assert graph_cost(graph).nodes[0].written_bytes == 64
    assert peak_activation_bytes(graph) == 128


@pytest.mark.parametrize("op", ["relu", "softmax"])
def test_ops_without_weights_have_no_macs(op):
    b = GraphBuilder("n", (1, 4))
    assert graph_cost(b.finish(b.activation("input", op, name="y"))).macs == 0


def test_peak_memory_equals_the_sum_of_what_is_live_at_every_node():
    """Against the plain definition, on a network with many long shortcuts."""
    graph = build_model("condensenet_cifar", depth=20)
    readers = {name: [i for i, n in enumerate(graph.nodes) if name in n.inputs] for name in graph.tensors}
    made = {name: i for i, n in enumerate(graph.nodes) for name in n.outputs}
    made["input"] = 0
    last = {name: max([made[name], *readers[name]]) for name in made} | {graph.outputs[0]: len(graph.nodes)}
    live = [sum(graph.tensor(n).nbytes for n in made if made[n] <= i <= last[n]) for i in range(len(graph.nodes))]
    assert peak_activation_bytes(graph) == max(live)

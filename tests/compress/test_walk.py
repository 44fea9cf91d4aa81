from __future__ import annotations

import numpy as np
import pytest
from calibrated_nets import small_net, smooth_images

from edgekit.compress.layer_rows import weight_layers
from edgekit.compress.walk import numpy_engine, subgraph, walk
from edgekit.errors import GraphError
from edgekit.graph import GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.pipeline.engine import onnx_engine


@pytest.mark.parametrize(("engine", "tolerance"), [(numpy_engine, 0.0), (onnx_engine(), 1e-5)], ids=["numpy", "onnx"])
def test_a_walk_gives_what_the_whole_network_gives(engine, tolerance):
    graph, images = small_net(), smooth_images(3)
    visited = []

    def visit(node, state):
        visited.append(node.name)
        whole = interpret(graph, {"input": images[1]}, keep=True)[node.inputs[0]]
        np.testing.assert_allclose(state[node.inputs[0]][1], first(whole), rtol=tolerance, atol=tolerance)

    def first(value):
        return value.transpose(0, 3, 1, 2) if value.ndim == 4 else value

    found = walk(graph, images, engine, weight_layers(graph), visit, ("dense", "pool"))
    assert visited == [node.name for node in weight_layers(graph)]
    assert len(visited) == 5
    for image, (dense, pool) in zip(images, found, strict=True):
        whole = interpret(graph, {"input": image}, keep=True)
        np.testing.assert_allclose(dense, whole["dense"], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(pool, first(whole["pool"]), rtol=tolerance, atol=tolerance)


def test_what_a_visit_changes_holds_from_there_on():
    graph, images = small_net(), smooth_images(2)

    def visit(node, state):
        if node.name == "dense":
            for tensor in map(graph.tensor, node.inputs[1:]):
                graph.set_tensor(tensor.with_data(2 * tensor.array))

    before = [interpret(graph, {"input": image}, keep=True)["dense"] for image in images]
    found = walk(graph, images, numpy_engine, weight_layers(graph), visit, ("dense",))
    for (dense,), value in zip(found, before, strict=True):
        np.testing.assert_allclose(dense, 2 * value, rtol=1e-6)


def test_a_part_of_a_graph_runs_from_what_is_known():
    graph, (image,) = small_net(), smooth_images(1)
    whole = interpret(graph, {"input": image}, keep=True)
    part = subgraph(graph, ["grouped_relu", "conv_relu"], ["dense"])
    assert part.inputs == ("grouped_relu",)
    assert "conv" not in [node.name for node in part.nodes]
    found = interpret(part, {"grouped_relu": whole["grouped_relu"]})
    np.testing.assert_array_equal(found["dense"], whole["dense"])


def test_a_graph_of_two_inputs_is_refused():
    b = GraphBuilder("two", (1, 2, 2, 3))
    graph = b.finish(b.add("input", b.input("other", (1, 2, 2, 3)), name="sum"))
    with pytest.raises(GraphError, match="graph 'two' has 2 inputs; images go into one"):
        walk(graph, [np.zeros((1, 2, 2, 3), np.float32)], numpy_engine, (), lambda node, state: None, ("sum",))

"""The numpy interpreter as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import GraphError
from edgekit.graph import Graph, GraphBuilder, Node, Tensor
from edgekit.graph.interpret import interpret, run_node


def small() -> Graph:
    b = GraphBuilder("g", (1, 2, 2, 1))
    first, second = b.split(b.concat(["input", "input"], name="twice"), (1, 1), name="parts")
    b.add(first, b.constant("one", np.ones(1, np.float32)), name="plus")
    return b.finish("plus", second)


X = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)


def test_outputs_come_by_name_in_the_graphs_order():
    found = interpret(small(), {"input": X})
    assert list(found) == ["plus", "parts/1"]
    np.testing.assert_array_equal(found["plus"], X + 1)
    np.testing.assert_array_equal(found["parts/1"], X)


def test_keep_returns_every_activation_and_no_constant():
    assert list(interpret(small(), {"input": X}, keep=True)) == ["input", "twice", "parts/0", "parts/1", "plus"]


def test_inputs_are_not_changed():
    before = X.copy()
    interpret(small(), {"input": X})
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, r"input 'input' takes float32\(1, 2, 2, 1\), got nothing"),
        ({"input": X[0]}, r"got float32\(2, 2, 1\)"),
        ({"input": X.astype(np.float64)}, r"got float64\(1, 2, 2, 1\)"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(feeds, message):
    with pytest.raises(GraphError, match=message):
        interpret(small(), feeds)


def test_half_precision_constants_compute_in_single_precision():
    b = GraphBuilder("half", (1, 3))
    graph = b.finish(b.dense("input", 2, name="d"))
    for tensor in graph.constants():
        graph.set_tensor(tensor.with_data(tensor.array.astype(np.float16)))
    x = np.asarray([[1, -2, 3]], np.float32)
    found = interpret(graph, {"input": x})["d"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, x @ graph.tensor("d/kernel").array.astype(np.float32), rtol=1e-6)


def test_boundary_ops_need_quantized_tensors():
    graph = Graph("b", ["x"], ["y"])
    graph.add_tensor(Tensor("x", (1,)))
    graph.add_tensor(Tensor("y", (1,)))
    node = graph.add_node(Node("n", "dequantize", ("x",), ("y",)))
    with pytest.raises(GraphError, match="node 'n': op dequantize needs quantized tensors"):
        run_node(graph, node, [np.zeros(1, np.float32)])

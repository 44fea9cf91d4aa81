"""Tensors, nodes and the graph's editing methods."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import GraphError
from edgekit.graph import Graph, GraphBuilder, Node, Tensor, validate
from edgekit.graph.interpret import interpret


def chain() -> Graph:
    """input -> a (relu) -> b (relu6) -> c (add of a and b)."""
    b = GraphBuilder("chain", (1, 2, 2, 3))
    b.activation("input", "relu", name="a")
    b.activation("a", "relu6", name="b")
    return b.finish(b.add("a", "b", name="c"))


def node(graph: Graph, name: str) -> Node:
    return next(n for n in graph.nodes if n.name == name)


# -- values ----------------------------------------------------------------------------------------------------------


def test_a_constant_copies_a_writable_array_and_is_read_only():
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = Tensor.constant("k", data)
    data[0, 0] = 9
    assert tensor.array[0, 0] == 0
    assert (tensor.shape, tensor.dtype, tensor.size, tensor.nbytes) == ((2, 3), "float32", 6, 24)
    with pytest.raises(ValueError, match="read-only"):
        tensor.array[0, 0] = 1


def test_a_read_only_array_is_shared_not_copied():
    data = np.zeros(4, np.float32)
    data.flags.writeable = False
    assert Tensor.constant("k", data).array is data


def test_with_data_follows_the_values_shape_and_dtype():
    tensor = Tensor.constant("k", np.zeros(3, np.float32)).with_data(np.zeros((2, 2), np.float16))
    assert (tensor.name, tensor.shape, tensor.dtype, tensor.nbytes) == ("k", (2, 2), "float16", 8)


def test_an_activation_has_no_array():
    with pytest.raises(GraphError, match="tensor 'x' is not a constant"):
        _ = Tensor("x", (1,)).array


def test_attributes_of_a_node_are_read_only_and_changed_by_copy():
    first = Node("n", "pad", ("x",), ("y",), {"value": 0.0})
    second = first.with_attrs(value=1.0)
    assert (first.attrs["value"], second.attrs["value"], second.output) == (0.0, 1.0, "y")
    with pytest.raises(TypeError, match="does not support item assignment"):
        first.attrs["value"] = 2.0  # type: ignore[index]  # the point of the test


# -- reading -----------------------------------------------------------------------------------------------------------


def test_producers_and_consumers_are_found():
    graph = chain()
    assert graph.producer("input") is None
    assert graph.producer("b").name == "b"
    assert [n.name for n in graph.consumers("a")] == ["b", "c"]
    assert {name: [n.name for n in nodes] for name, nodes in graph.consumer_map().items()} == {
        "input": ["a"],
        "a": ["b", "c"],
        "b": ["c"],
    }


def test_only_consumer_is_none_for_several_readers_and_for_outputs():
    graph = chain()
    assert graph.only_consumer("b").name == "c"
    assert graph.only_consumer("a") is None
    assert graph.only_consumer("c") is None
    graph.outputs = ("c", "b")
    assert graph.only_consumer("b") is None


def test_a_node_that_reads_a_tensor_twice_consumes_it_once():
    b = GraphBuilder("square", (1, 2))
    graph = b.finish(b.mul("input", "input", name="y"))
    assert [n.name for n in graph.consumer_map()["input"]] == ["y"]
    assert graph.only_consumer("input").name == "y"


def test_unknown_tensors_are_named():
    with pytest.raises(GraphError, match="graph 'chain' has no tensor 'nope'"):
        chain().tensor("nope")


# -- editing -----------------------------------------------------------------------------------------------------------


def test_a_tensor_cannot_be_added_twice_nor_set_before_it_exists():
    graph = chain()
    with pytest.raises(GraphError, match="graph 'chain' has a tensor 'a' already"):
        graph.add_tensor(Tensor("a", (1,)))
    with pytest.raises(GraphError, match="has no tensor 'z'"):
        graph.set_tensor(Tensor("z", (1,)))


def test_nodes_are_inserted_before_replaced_and_removed_by_name():
    graph = chain()
    graph.add_tensor(Tensor("extra", (1, 2, 2, 3)))
    graph.add_node(Node("extra", "identity", ("input",), ("extra",)), before=node(graph, "b"))
    assert [n.name for n in graph.nodes] == ["a", "extra", "b", "c"]
    graph.replace_node(node(graph, "b"), Node("b", "relu", ("a",), ("b",)))
    assert [n.op for n in graph.nodes] == ["relu", "identity", "relu", "add"]
    graph.remove_node(node(graph, "extra"))
    assert [n.name for n in graph.nodes] == ["a", "b", "c"]
    assert "extra" in graph.tensors


def test_a_node_that_is_not_there_cannot_be_removed():
    with pytest.raises(GraphError, match="graph 'chain' has no node 'ghost'"):
        chain().remove_node(Node("ghost", "relu", ("a",), ("b",)))


def test_replace_uses_rewires_readers_and_outputs():
    graph = chain()
    graph.outputs = ("c", "b")
    graph.replace_uses("b", "a")
    assert node(graph, "c").inputs == ("a", "a")
    assert graph.outputs == ("c", "a")
    assert graph.drop_unused() == 1
    validate(graph)


def test_rename_tensor_reaches_inputs_outputs_and_nodes_and_keeps_the_result():
    graph = chain()
    x = np.linspace(-9, 9, 12, dtype=np.float32).reshape(1, 2, 2, 3)
    before = interpret(graph, {"input": x})["c"]
    for old, new in (("input", "image"), ("a", "first"), ("c", "result")):
        graph.rename_tensor(old, new)
    assert (graph.inputs, graph.outputs) == (("image",), ("result",))
    assert list(graph.tensors) == ["image", "first", "b", "result"]
    np.testing.assert_array_equal(interpret(validate(graph), {"image": x})["result"], before)


def test_rename_tensor_refuses_a_name_that_exists():
    with pytest.raises(GraphError, match="cannot rename 'a': 'b' exists"):
        chain().rename_tensor("a", "b")


def test_drop_unused_removes_dead_chains_and_their_constants():
    b = GraphBuilder("dead", (1, 4, 4, 3))
    used = b.conv2d("input", 2, 3, name="used")
    dead = b.conv2d("input", 2, 3, name="dead")
    b.activation(dead, "relu", name="dead_relu")
    graph = b.finish(used)
    assert graph.drop_unused() == 2
    assert list(graph.tensors) == ["input", "used/kernel", "used"]
    assert graph.drop_unused() == 0


def test_drop_unused_keeps_all_outputs_of_a_node_of_which_one_is_read():
    b = GraphBuilder("split", (1, 2, 2, 4))
    first, second = b.split("input", (1, 3), name="s")
    graph = b.finish(b.activation(second, "relu", name="r"))
    assert graph.drop_unused() == 0
    assert first in graph.tensors
    validate(graph)


def test_sort_is_stable_and_mends_any_order():
    graph = chain()
    a, b, c = graph.nodes
    for n in (a, b, c):
        graph.remove_node(n)
    for n in (c, b, a):
        graph.add_node(n)
    graph.sort()
    assert [n.name for n in graph.nodes] == ["a", "b", "c"]
    independent = GraphBuilder("two", (1, 2))
    independent.activation("input", "relu", name="z")
    independent.activation("input", "relu", name="y")
    two = independent.finish("z", "y")
    two.sort()
    assert [n.name for n in two.nodes] == ["z", "y"]


def test_sort_refuses_a_cycle():
    graph = Graph("cycle", ["x"], ["p"])
    for name in ("x", "p", "q"):
        graph.add_tensor(Tensor(name, (1,)))
    graph.add_node(Node("p", "add", ("x", "q"), ("p",)))
    graph.add_node(Node("q", "relu", ("p",), ("q",)))
    with pytest.raises(GraphError, match="node 'p' waits for inputs that no node makes"):
        graph.sort()


def test_unique_name_counts_past_tensors_and_nodes():
    graph = chain()
    assert graph.unique_name("fresh") == "fresh"
    assert graph.unique_name("a") == "a_1"
    graph.add_tensor(Tensor("a_1", (1,)))
    assert graph.unique_name("a") == "a_2"


def test_map_tensors_changes_every_tensor():
    graph = chain()
    graph.map_tensors(lambda t: Tensor(t.name, t.shape, "float16"))
    assert {t.dtype for t in graph.tensors.values()} == {"float16"}


def test_a_copy_is_independent():
    graph = chain()
    graph.metadata = {"weights": {"notes": [1]}, "size": (2, 3)}
    twin = graph.copy()
    twin.metadata["weights"]["notes"].append(2)
    twin.rename_tensor("a", "other")
    twin.outputs = ("b",)
    assert graph.metadata == {"weights": {"notes": [1]}, "size": (2, 3)}
    assert twin.metadata["size"] == [2, 3]
    assert "a" in graph.tensors
    assert graph.outputs == ("c",)
    assert [n.name for n in graph.nodes] == [n.name for n in twin.nodes]


def test_nodes_are_a_snapshot_while_editing():
    graph = chain()
    for n in graph.nodes:
        graph.remove_node(n)
    assert graph.nodes == ()

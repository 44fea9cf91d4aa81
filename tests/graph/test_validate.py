"""Each invariant, broken on purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgekit.errors import GraphError, ShapeError
from edgekit.graph import Graph, GraphBuilder, Node, QuantParams, Tensor, validate
from edgekit.graph.validate import check_finite


def conv_graph() -> Graph:
    b = GraphBuilder("g", (1, 4, 4, 3))
    return b.finish(b.activation(b.conv2d("input", 2, 3, bias=True, name="conv"), "relu", name="relu"))


def refused(graph: Graph, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        validate(graph)


def change_node(graph: Graph, index: int, **changes: object) -> Graph:
    node = graph.nodes[index]
    graph.replace_node(node, replace(node, **changes))
    return graph


def test_a_sound_graph_is_returned():
    graph = conv_graph()
    assert validate(graph) is graph


def test_the_message_names_the_step():
    graph = conv_graph()
    graph.outputs = ("nope",)
    with pytest.raises(GraphError, match="after fold_batch_norm: graph output 'nope' is made by no node"):
        validate(graph, "fold_batch_norm")


def test_shape_errors_stay_shape_errors():
    graph = conv_graph()
    graph.set_tensor(Tensor.constant("conv/bias", np.zeros(5, np.float32)))
    with pytest.raises(ShapeError, match=r"after building: node 'conv' \(conv2d\): bias has shape \(5,\)"):
        validate(graph)


# -- tensors -----------------------------------------------------------------------------------------------------------


def test_a_tensor_under_another_name_is_refused():
    graph = conv_graph()
    graph.map_tensors(lambda t: replace(t, name="other") if t.name == "relu" else t)
    refused(graph, "tensor 'other' is filed under 'relu'")


def test_an_unknown_dtype_is_refused():
    graph = conv_graph()
    graph.map_tensors(lambda t: replace(t, dtype="complex64") if t.name == "relu" else t)
    refused(graph, "tensor 'relu' has dtype 'complex64'")


@pytest.mark.parametrize("shape", [(1, 0, 4, 3), (1, -1, 4, 3), (1, 4.0, 4, 3)])
def test_a_dimension_that_is_no_positive_integer_is_refused(shape):
    graph = conv_graph()
    graph.map_tensors(lambda t: replace(t, shape=shape) if t.name == "input" else t)
    refused(graph, "tensor 'input' has shape .*; every dimension must be a positive integer")


@pytest.mark.parametrize("data", [np.zeros(3, np.float32), np.zeros(2, np.float16)])
def test_a_constant_of_another_shape_or_dtype_is_refused(data):
    graph = conv_graph()
    graph.map_tensors(lambda t: replace(t, data=data) if t.name == "conv/bias" else t)
    refused(graph, "constant 'conv/bias' holds float")


@pytest.mark.parametrize(
    ("name", "dtype", "quant", "message"),
    [
        ("relu", "float32", QuantParams.per_tensor(1, 0), "tensor 'relu' is float32 but quantized as int8"),
        ("relu", "int8", QuantParams.per_channel(np.ones(2), 3), "activation 'relu' has per-channel scales"),
        ("relu", "int8", QuantParams.per_channel(np.ones(5), 3), "5 scales on axis 3 do not fit 'relu'"),
        ("relu", "int8", QuantParams.per_channel(np.ones(2), 4), "2 scales on axis 4 do not fit 'relu'"),
    ],
)
def test_quantization_that_does_not_fit_is_refused(name, dtype, quant, message):
    graph = conv_graph()
    graph.map_tensors(lambda t: replace(t, dtype=dtype, quant=quant) if t.name == name else t)
    refused(graph, message)


# -- nodes -------------------------------------------------------------------------------------------------------------


def test_two_nodes_of_one_name_are_refused():
    refused(change_node(conv_graph(), 1, name="conv"), "two nodes are called 'conv'")


def test_an_unknown_op_is_refused():
    refused(change_node(conv_graph(), 1, op="warp"), r"node 'relu' \(warp\): no such op in the table")


def test_incomplete_attributes_are_refused():
    graph = change_node(conv_graph(), 0, attrs={"padding": (1, 1, 1, 1)})
    refused(graph, r"node 'conv' \(conv2d\): attributes are not complete")


def test_unknown_attributes_are_refused():
    refused(change_node(conv_graph(), 1, attrs={"slope": 1.0}), "op relu has no attribute 'slope'")


def test_a_wrong_number_of_outputs_is_refused():
    refused(change_node(conv_graph(), 1, outputs=("relu", "extra")), "makes 1 tensors, names 2")


def test_a_wrong_output_shape_is_refused():
    graph = conv_graph()
    graph.map_tensors(lambda t: replace(t, shape=(1, 4, 4, 9)) if t.name == "conv" else t)
    refused(graph, r"output 'conv' is \(1, 4, 4, 9\), should be \(1, 4, 4, 2\)")


def test_nodes_out_of_order_are_refused():
    graph = conv_graph()
    relu = graph.nodes[1]
    graph.remove_node(relu)
    graph.add_node(relu, before=graph.nodes[0])
    refused(graph, "node 'relu' reads 'conv' before it is made")


def test_a_tensor_made_twice_is_refused():
    graph = conv_graph()
    graph.add_node(Node("again", "relu", ("conv",), ("relu",)))
    refused(graph, "tensor 'relu' is made twice, the second time by node 'again'")


def test_a_node_that_writes_a_constant_is_refused():
    graph = conv_graph()
    graph.add_tensor(Tensor.constant("k", np.zeros((1, 4, 4, 2), np.float32)))
    graph.add_node(Node("again", "relu", ("conv",), ("k",)))
    refused(graph, "tensor 'k' is made twice")


def test_a_missing_tensor_is_refused():
    refused(change_node(conv_graph(), 1, inputs=("ghost",)), "has no tensor 'ghost'")


# -- dtypes ------------------------------------------------------------------------------------------------------------


def boundary(op: str, source: Tensor, result: Tensor) -> Graph:
    graph = Graph("boundary", [source.name], [result.name])
    graph.add_tensor(source)
    graph.add_tensor(result)
    graph.add_node(Node("n", op, (source.name,), (result.name,)))
    return graph


INT8 = Tensor("q", (1, 2), "int8", None, QuantParams.per_tensor(0.5, 3))
FLOAT = Tensor("f", (1, 2))


def test_quantize_and_dequantize_at_the_boundary_are_sound():
    assert validate(boundary("quantize", FLOAT, INT8))
    assert validate(boundary("dequantize", INT8, FLOAT))


@pytest.mark.parametrize(
    ("op", "source", "result", "message"),
    [
        ("quantize", FLOAT, Tensor("g", (1, 2), "int8"), "output 'g' has no quantization"),
        ("dequantize", FLOAT, Tensor("g", (1, 2)), "goes from quantized to float"),
        ("dequantize", INT8, replace(INT8, name="p"), "goes from quantized to float"),
        ("relu", FLOAT, INT8, "turns float32 into int8"),
    ],
)
def test_dtypes_that_do_not_fit_the_op_are_refused(op, source, result, message):
    refused(boundary(op, source, result), message)


# -- ends --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["inputs", "outputs"])
def test_a_graph_without_ends_is_refused(end):
    graph = boundary("relu", FLOAT, Tensor("g", (1, 2)))
    setattr(graph, end, ())
    refused(graph, "needs inputs and outputs|before it is made")


def test_an_input_that_is_a_constant_is_refused():
    graph = conv_graph()
    graph.inputs = ("input", "conv/bias")
    refused(graph, "graph input 'conv/bias' is a constant")


# -- NaN ---------------------------------------------------------------------------------------------------------------


def test_check_finite_names_source_tensor_and_count():
    graph = conv_graph()
    check_finite(graph, "model.onnx")
    graph.set_tensor(Tensor.constant("conv/bias", np.asarray([np.nan, np.inf], np.float32)))
    with pytest.raises(GraphError, match=r"model\.onnx: 'conv/bias' holds 2 NaN or infinite values"):
        check_finite(graph, "model.onnx")


def test_check_finite_looks_past_integers():
    graph = conv_graph()
    graph.set_tensor(Tensor.constant("conv/bias", np.asarray([1, 2], np.int32)))
    assert check_finite(graph, "x") is None

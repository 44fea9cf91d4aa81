"""Every op of the table as Keras layers, against the numpy interpreter; every refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_support import assert_same_weights, check_outputs, keras

from edgekit.errors import ModelError, UnsupportedOpError, WeightsError
from edgekit.graph import GraphBuilder, QuantParams, Tensor
from edgekit.graph.ir import Graph, Node
from edgekit.graph.ops import OPS
from edgekit.train.keras_model import graph_with_weights, keras_model
from edgekit.train.keras_rows import REFUSED, ROWS

IMAGE = (1, 7, 8, 6)
WINDOW = {"kernel": (3, 2), "strides": (2, 2)}
SAME = (1, 1, 0, 0)
"""What `same` is for WINDOW over IMAGE."""

CASES: list[tuple[str, dict[str, Any], list[tuple[int, ...]]]] = [
    ("conv2d", {"strides": (2, 2), "padding": (1, 1, 1, 1)}, [(3, 3, 6, 4), (4,)]),
    ("conv2d", {"strides": (2, 1), "padding": (0, 2, 1, 0), "activation": "relu6"}, [(3, 3, 6, 4), (4,)]),
    ("conv2d", {"dilation": (2, 1), "groups": 3}, [(3, 3, 2, 9)]),
    ("conv2d", {"groups": 6, "padding": (1, 1, 1, 1), "activation": "relu"}, [(3, 3, 1, 12), (12,)]),
    ("conv2d", {"groups": 6, "strides": (1, 2)}, [(3, 3, 1, 6)]),
    ("batch_norm", {"epsilon": 0.01}, [(6,)] * 4),
    *((op, {}, []) for op in ("relu", "relu6", "hard_swish", "swish", "sigmoid", "hard_sigmoid", "softmax")),
    ("hard_sigmoid", {"slope": 0.2, "offset": 0.4}, []),
    ("add", {"activation": "relu6"}, [(6,)]),
    ("mul", {}, [(1, 7, 1, 6)]),
    *(
        (op, {**WINDOW, "padding": padding}, [])
        for op in ("max_pool", "avg_pool")
        for padding in ((0, 0, 0, 0), SAME, (1, 0, 1, 1))
    ),
    ("global_avg_pool", {"keep_dims": True}, []),
    ("global_avg_pool", {}, []),
    ("concat", {"axis": 3}, []),
    ("split", {"axis": 3, "sizes": (1, 3, 2)}, []),
    ("split", {"axis": 2, "sizes": (4, 4)}, []),
    ("slice", {"begin": (0, 1, 0, 1), "end": (1, 7, 8, 6), "strides": (1, 2, 3, 2)}, []),
    ("gather", {"axis": 3, "indices": (3, 0, 3)}, []),
    ("gather", {"axis": 1, "indices": (6, 2)}, []),
    ("pad", {"before": (0, 1, 0, 0), "after": (0, 2, 1, 0)}, []),
    ("pad", {"before": (0, 1, 0, 2), "after": (0, 2, 1, 0), "value": -1.5}, []),
    ("reshape", {"shape": (1, 56, 6)}, []),
    ("transpose", {"perm": (0, 3, 1, 2)}, []),
    ("channel_shuffle", {"groups": 2}, []),
    ("channel_shuffle", {"groups": 3, "block": 2}, []),
    ("identity", {}, []),
    ("dropout", {"rate": 0.2}, []),
]


def one_node(op: str, attrs: dict[str, Any], constants: list[tuple[int, ...]], shape: tuple[int, ...] = IMAGE) -> Graph:
    b = GraphBuilder("one", shape)
    rng = np.random.default_rng(1)
    inputs = ["input"]
    for i, size in enumerate(constants):
        inputs.append(b.constant(f"c{i}", rng.uniform(0.2, 1.2, size).astype(np.float32)))
    outputs = [f"y{i}" for i in range(len(attrs.get("sizes", "1")))]
    b.op_many(op, inputs, attrs, outputs, name="node/of one")
    return b.finish(*outputs)


def test_every_op_has_a_row_or_a_refusal():
    assert ROWS.keys() | REFUSED.keys() == OPS.keys()
    assert not ROWS.keys() & REFUSED.keys()
    assert {op for op, _, _ in CASES} | {"dense"} == ROWS.keys()


@pytest.mark.parametrize(("op", "attrs", "constants"), CASES)
def test_op_equals_the_reference_and_its_weights_come_back(op, attrs, constants):
    graph = one_node(op, attrs, constants)
    model = keras_model(graph)
    check_outputs(graph, model, 1e-6)
    assert_same_weights(graph, graph_with_weights(graph, model))
    loaded = keras.Model.from_config(model.get_config())
    loaded.set_weights(model.get_weights())
    check_outputs(graph, loaded, 1e-6)


def test_dense():
    graph = one_node("dense", {"activation": "relu"}, [(5, 30), (30,)], (1, 5))
    model = keras_model(graph)
    check_outputs(graph, model, 1e-6)
    assert_same_weights(graph, graph_with_weights(graph, model))


@pytest.mark.parametrize("op", ["add", "mul"])
@pytest.mark.parametrize("gate", [IMAGE, (1, 1, 1, 6)])
def test_two_activations(op, gate):
    b = GraphBuilder("two", IMAGE)
    b.input("gate", gate)
    b.op(op, ["input", "gate"], {"activation": "relu"}, name="y")
    check_outputs(b.finish("y"), keras_model(b.graph), 1e-6)


def test_padding_of_a_max_pool_is_written_with_zeros_where_nothing_is_negative():
    b = GraphBuilder("pools", IMAGE)
    x = b.activation("input", "relu", name="relu")
    b.op("max_pool", [x], {**WINDOW, "padding": (1, 0, 1, 1)}, name="y")
    graph = b.finish("y")
    model = keras_model(graph)
    assert isinstance(model.get_layer("y->pad"), keras.layers.ZeroPadding2D)
    check_outputs(graph, model, 1e-6)


def test_the_batch_is_open():
    graph = one_node("channel_shuffle", {"groups": 3}, [])
    model = keras_model(graph)
    images = np.random.default_rng(0).standard_normal((5, *IMAGE[1:]), np.float32)
    found = keras.ops.convert_to_numpy(model(images))
    np.testing.assert_array_equal(found, images[..., [0, 2, 4, 1, 3, 5]])


def test_nodes_with_the_same_weights_are_one_layer():
    b = GraphBuilder("shared", IMAGE)
    first = b.conv2d("input", 6, 3, bias=True, name="first")
    kernel, bias = b.graph.producer(first).inputs[1:]
    b.op("conv2d", [first, kernel, bias], dict(b.graph.producer(first).attrs), name="second")
    graph = b.finish("second")
    model = keras_model(graph)
    assert len(model.weights) == 2
    check_outputs(graph, model, 1e-6)
    assert_same_weights(graph, graph_with_weights(graph, model))


def refused(graph: Graph, why: str) -> None:
    with pytest.raises(UnsupportedOpError, match=why):
        keras_model(graph)


def test_what_moves_the_batch_is_refused():
    refused(one_node("transpose", {"perm": (1, 0, 2, 3)}, []), "a Keras model cannot take op transpose.*batch")
    refused(one_node("reshape", {"shape": (7, 8, 6)}, []), "it changes the batch")
    b = GraphBuilder("twice", IMAGE)
    b.concat(["input", "input"], axis=0, name="y")
    refused(b.finish("y"), "it changes the batch")
    refused(one_node("split", {"axis": 0, "sizes": (1, 1)}, [], (2, 4)), "it changes the batch")
    refused(one_node("gather", {"axis": 0, "indices": (1, 0)}, [], (2, 4)), "along the batch")
    refused(one_node("add", {}, [(2, 4)], (2, 4)), "a batch of its own")


def test_constants_where_a_layer_has_none_are_refused():
    b = GraphBuilder("constants", IMAGE)
    constant = b.constant("ones", np.ones(IMAGE, np.float32))
    b.concat(["input", constant], name="y")
    refused(b.finish("y"), "its input 'ones' is a constant")
    b = GraphBuilder("only constants", IMAGE)
    b.activation(b.constant("ones", np.ones(IMAGE, np.float32)), "relu", name="y")
    refused(b.finish("y"), "reads only constants")


def test_computed_weights_unequal_ranks_and_strided_dilation_are_refused():
    b = GraphBuilder("computed", (1, 5))
    b.input("kernel", (5, 3))
    b.op("dense", ["input", "kernel"], name="y")
    refused(b.finish("y"), "its weights are computed")
    b = GraphBuilder("ranks", IMAGE)
    b.input("gate", (6,))
    b.mul("input", "gate", name="y")
    refused(b.finish("y"), "not equally many axes")
    refused(one_node("conv2d", {"strides": (2, 2), "dilation": (2, 2)}, [(3, 3, 6, 4)]), "dilated convolution")


def test_quantized_graphs_are_refused():
    graph = one_node("relu", {}, [])
    graph.set_tensor(Tensor("input", IMAGE, "int8", quant=QuantParams.per_tensor(0.1, 0)))
    refused(graph, "the graph is quantized")
    b = GraphBuilder("quantized", IMAGE)
    b.graph.add_tensor(Tensor("y", IMAGE, "int8", quant=QuantParams.per_tensor(0.1, 0)))
    b.graph.add_node(Node("y", "quantize", ("input",), ("y",)))
    refused(b.finish("y"), "integers are not trained")


def test_weights_that_are_partly_shared_are_refused():
    b = GraphBuilder("shared", IMAGE)
    first = b.conv2d("input", 6, 3, name="first")
    b.op("conv2d", [first, "first/kernel"], {"activation": "relu"}, name="second")
    with pytest.raises(ModelError, match=r"'first' and 'second' share the weights 'first/kernel'.*its own copy"):
        keras_model(b.finish("second"))


def test_weights_of_another_model_are_refused():
    graph = one_node("conv2d", {}, [(3, 3, 6, 4)])
    empty = keras.Sequential([keras.layers.Input((3,))])
    with pytest.raises(WeightsError, match=r"no layer 'node\.of\.>20>one' for node 'node/of one'"):
        graph_with_weights(graph, empty)
    other = keras_model(one_node("conv2d", {}, [(3, 3, 6, 5)]))
    with pytest.raises(WeightsError, match=r"holds weights \[\(3, 3, 6, 5\)\], node 'node/of one' has"):
        graph_with_weights(graph, other)

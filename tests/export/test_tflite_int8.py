"""The writer's int8 files: what TensorFlow's converter writes comes out again, and XNNPACK takes all of it."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from small_models import image, tflite_models
from tflite_helpers import (
    fill_biases,
    open_tflite,
    quantize_min_max,
    quantized_feeds,
    random_feeds,
    run_tflite,
    with_boundaries,
)

from edgekit.export.tflite import op_names, tflite_bytes
from edgekit.graph.builder import GraphBuilder, same_padding
from edgekit.graph.interpret import interpret
from edgekit.graph.ir import Graph, Node, Tensor
from edgekit.graph.ops import complete_attrs
from edgekit.graph.quant_params import QuantParams
from edgekit.graph.validate import validate
from edgekit.quantize.xnnpack_forms import compute_in_float
from edgekit.runtime import xnnpack_coverage

DTYPES = {schema.TensorType.INT8: "int8", schema.TensorType.INT32: "int32"}


class ConverterGraph:
    """Reads the few ops of the converter's test file into a graph, with its integers and scales."""

    def __init__(self, data: bytes) -> None:
        self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        self.part, self.ops = self.model.subgraphs[0], op_names(data)
        self.names = [f"t{i}" for i in range(len(self.part.tensors))]
        ends = ([self.names[i] for i in indices] for indices in (self.part.inputs, self.part.outputs))
        self.graph = Graph("converted", *ends)

    def read(self) -> Graph:
        for position in self.part.inputs:
            self._activation(position)
        for operator, op in zip(self.part.operators, self.ops, strict=True):
            getattr(self, f"_{op.lower()}")(operator)
        return validate(self.graph)

    def _quant(self, position: int, axis: int | None = None) -> QuantParams:
        tensor = self.part.tensors[position]
        scales, zeros = tensor.quantization.scale, tensor.quantization.zeroPoint
        per_channel = axis if len(scales) > 1 else None
        return QuantParams(tuple(map(float, scales)), tuple(map(int, zeros)), DTYPES[tensor.type], per_channel)

    def _activation(self, position: int) -> None:
        shape = tuple(int(d) for d in self.part.tensors[position].shape)
        self.graph.add_tensor(Tensor(self.names[position], shape, "int8", None, self._quant(position)))

    def _array(self, position: int) -> np.ndarray:
        tensor = self.part.tensors[position]
        dtype = np.dtype(DTYPES[tensor.type])
        return np.asarray(self.model.buffers[tensor.buffer].data).view(dtype).reshape(tensor.shape)

    def _add(self, op: str, operator: schema.OperatorT, attrs: dict, inputs: int = 1) -> None:
        output = operator.outputs[0]
        self._activation(output)
        name, sources = self.names[output], tuple(self.names[i] for i in operator.inputs[:inputs] if i >= 0)
        self.graph.add_node(Node(name, op, sources, (name,), complete_attrs(op, attrs)))

    def _weights(self, operator: schema.OperatorT, perm: tuple[int, ...]) -> np.ndarray:
        _, weights, bias = operator.inputs
        kernel = self._array(weights).transpose(perm)
        quant = self._quant(weights, kernel.ndim - 1)
        self.graph.add_tensor(Tensor.constant(self.names[weights], kernel, quant))
        if bias >= 0:  # -1 stands for an input that is left out
            self.graph.add_tensor(Tensor.constant(self.names[bias], self._array(bias), self._quant(bias, 0)))
        return kernel

    def _activated(self, options) -> str:
        return {0: "none", 1: "relu", 3: "relu6"}[options.fusedActivationFunction]

    def _window(self, operator: schema.OperatorT, kernel: np.ndarray) -> dict:
        options, shape = operator.builtinOptions, self.part.tensors[operator.inputs[0]].shape
        strides = (options.strideH, options.strideW)
        same = [same_padding(int(shape[a + 1]), kernel.shape[a], strides[a]) for a in (0, 1)]
        padding = (*same[0], *same[1]) if options.padding == schema.Padding.SAME else (0, 0, 0, 0)
        return {"strides": strides, "padding": padding, "activation": self._activated(options)}

    def _conv_2d(self, operator: schema.OperatorT) -> None:
        kernel = self._weights(operator, (1, 2, 3, 0))
        self._add("conv2d", operator, self._window(operator, kernel), 3)

    def _depthwise_conv_2d(self, operator: schema.OperatorT) -> None:
        kernel = self._weights(operator, (1, 2, 0, 3))
        self._add("conv2d", operator, self._window(operator, kernel) | {"groups": kernel.shape[3]}, 3)

    def _mean(self, operator: schema.OperatorT) -> None:
        self._add("global_avg_pool", operator, {"keep_dims": bool(operator.builtinOptions.keepDims)})

    def _fully_connected(self, operator: schema.OperatorT) -> None:
        self._weights(operator, (1, 0))
        self._add("dense", operator, {"activation": self._activated(operator.builtinOptions)}, 3)

    def _softmax(self, operator: schema.OperatorT) -> None:
        self._add("softmax", operator, {})


@pytest.fixture(scope="module")
def converted() -> tuple[bytes, Graph]:
    data = tflite_models()["int8"]
    return data, ConverterGraph(data).read()


@pytest.mark.parametrize("kernels", ["xnnpack", "reference"])
def test_the_converters_model_written_again_gives_its_outputs(converted, kernels):
    theirs, graph = converted
    ours = tflite_bytes(graph)
    assert op_names(ours) == op_names(theirs)
    for seed in range(3):
        x = graph.tensor(graph.inputs[0]).quant.quantize(image(seed))
        results = []
        for data in (theirs, ours):
            interpreter = open_tflite(data, kernels=kernels)
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
            interpreter.invoke()
            results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
        np.testing.assert_array_equal(*results)


def test_the_interpreter_gives_the_converters_outputs(converted):
    theirs, graph = converted
    x = graph.tensor(graph.inputs[0]).quant.quantize(image(5))
    interpreter = open_tflite(theirs)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    want = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    got = interpret(graph, {graph.inputs[0]: x})[graph.outputs[0]]
    assert np.abs(got.astype(int) - want).max() <= 1


def _classifier(size: int = 20) -> Graph:
    """A small MobileNet: everything that its int8 file has."""
    b = GraphBuilder("classifier", (1, size, size, 3))
    x = b.op("conv2d", ["input", b.random("stem/kernel", (3, 3, 3, 8), 0.1)], _relu6(2, (0, 1, 0, 1)), name="stem")
    for i in range(2):
        kernel = b.random(f"depthwise{i}/kernel", (3, 3, 1, 8), 0.2)
        y = b.op("conv2d", [x, kernel], _relu6(1, (1, 1, 1, 1)) | {"groups": 8}, name=f"depthwise{i}")
        x = b.add(x, b.conv2d(y, 8, 1, bias=True, gain=1.0, name=f"project{i}"), name=f"add{i}")
    x = b.dense(b.global_avg_pool(x, name="pool"), 10, name="logits")
    return fill_biases(b.finish(b.activation(x, "softmax", name="scores")))


def _relu6(stride: int, padding: tuple[int, ...]) -> dict:
    return {"strides": (stride, stride), "padding": padding, "activation": "relu6"}


def _float_softmax() -> Graph:
    graph = quantize_min_max(_classifier())
    compute_in_float(graph, ["softmax"])
    return graph


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_xnnpack_takes_the_whole_file(dtype):
    graph = _float_softmax()
    graph = graph if dtype == "int8" else with_boundaries(graph, dtype)
    coverage = xnnpack_coverage(tflite_bytes(graph))
    assert coverage.complete, coverage.left
    assert coverage.partitions == 1


def test_xnnpack_leaves_only_the_conversion_of_uint8_ends():
    coverage = xnnpack_coverage(tflite_bytes(with_boundaries(_float_softmax(), "uint8")))
    assert coverage.left == ("QUANTIZE", "QUANTIZE")
    assert coverage.partitions == 1


def test_an_int8_softmax_stays_one_op():
    graph = quantize_min_max(_classifier())
    whole, split = tflite_bytes(graph), tflite_bytes(_float_softmax())
    assert op_names(whole)[-2:] == ["FULLY_CONNECTED", "SOFTMAX"]
    assert op_names(split)[-4:] == ["FULLY_CONNECTED", "DEQUANTIZE", "SOFTMAX", "QUANTIZE"]
    assert xnnpack_coverage(whole).left == ("SOFTMAX",)
    feeds = quantized_feeds(graph, random_feeds(graph, 4))
    results = [run_tflite(data, feeds)["scores"].astype(int) for data in (whole, split)]
    assert np.abs(results[0] - results[1]).max() <= 1


def test_scales_and_layouts_in_the_file():
    graph = quantize_min_max(_classifier())
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite_bytes(graph), 0))
    tensors = {tensor.name.decode(): tensor for tensor in model.subgraphs[0].tensors}
    expected = {
        "stem/kernel": ([8, 3, 3, 3], 0),
        "depthwise0/kernel": ([1, 3, 3, 8], 3),
        "logits/kernel": ([10, 8], 0),
        "stem/bias": ([8], 0),
        "logits/bias": ([10], 0),
    }
    for name, (shape, axis) in expected.items():
        assert tensors[name].shape.tolist() == shape
        assert tensors[name].quantization.quantizedDimension == axis
        assert not tensors[name].quantization.zeroPoint.any()
    np.testing.assert_array_equal(tensors["stem/kernel"].quantization.scale, graph.tensor("stem/kernel").quant.scale)
    products = np.float32(graph.tensor("input").quant.scale[0]) * tensors["stem/kernel"].quantization.scale
    np.testing.assert_allclose(tensors["stem/bias"].quantization.scale, products, rtol=1e-6)
    assert tensors["input"].quantization.scale.tolist() == list(graph.tensor("input").quant.scale)
    assert tensors["input"].quantization.zeroPoint.tolist() == list(graph.tensor("input").quant.zero_point)

"""Small model files for tests: TFLite ones by TensorFlow's converter, ONNX ones by onnx.helper, of equal weights."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

SIZE, CLASSES = 12, 10
LAYERS = ("conv", "depthwise", "pool", "dense", "softmax")
_RNG = np.random.default_rng(7)
CONV = (_RNG.standard_normal((3, 3, 3, 8)) * 0.4).astype(np.float32)
DEPTHWISE = (_RNG.standard_normal((3, 3, 8, 1)) * 0.4).astype(np.float32)
DENSE = _RNG.standard_normal((8, CLASSES)).astype(np.float32)


def image(seed: int = 0, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, size, size, 3)).astype(np.float32)


@functools.cache
def tflite_models() -> dict[str, bytes]:
    """By name: float, int8, uint8, logits_int8, reverse, reverse_fp16, custom, any_batch, open_size, two_inputs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _convert_all()


def _convert_all() -> dict[str, bytes]:
    import tensorflow as tf

    def features(x: Any) -> Any:
        y = tf.nn.relu6(tf.nn.conv2d(x, CONV, 1, "SAME"))
        return tf.nn.relu(tf.nn.depthwise_conv2d(y, DEPTHWISE, [1, 1, 1, 1], "SAME"))

    def logits(x: Any) -> Any:
        return tf.linalg.matmul(tf.reduce_mean(features(x), [1, 2]), DENSE)

    def classify(x: Any) -> Any:
        return tf.nn.softmax(logits(x))

    def reverse(x: Any) -> Any:
        y = tf.reverse(tf.nn.relu6(tf.nn.conv2d(x, CONV, 1, "SAME")), [1])
        return tf.nn.relu(tf.nn.depthwise_conv2d(y, DEPTHWISE, [1, 1, 1, 1], "SAME"))

    def custom(x: Any) -> Any:
        return tf.raw_ops.Betainc(a=x, b=x, x=x)

    fixed = (1, SIZE, SIZE, 3)
    return {
        "float": rename_tensors(_convert(classify, fixed), LAYERS),
        "int8": rename_tensors(_convert(classify, fixed, _int8("int8")), LAYERS),
        "uint8": _convert(classify, fixed, _int8("uint8")),
        "logits_int8": _convert(logits, fixed, _int8("int8")),
        "reverse": _convert(reverse, fixed),
        "reverse_fp16": _convert(reverse, fixed, _fp16),
        "custom": _convert(custom, fixed, _allow_custom),
        "any_batch": _convert(classify, (None, SIZE, SIZE, 3)),
        "open_size": _convert(features, (1, None, SIZE, 3)),
        "two_inputs": _convert(lambda x, y: x + y, fixed, inputs=2),
    }


def _convert(
    function: Callable[..., Any], shape: tuple[int | None, ...], configure: Any = None, inputs: int = 1
) -> bytes:
    import tensorflow as tf

    signature = [tf.TensorSpec(shape, tf.float32, name=f"x{i}") for i in range(inputs)]
    concrete = tf.function(function, input_signature=signature, autograph=False).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if configure:
        configure(converter)
    return bytes(converter.convert())


def _int8(io: str) -> Callable[[Any], None]:
    def configure(converter: Any) -> None:
        import tensorflow as tf

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image(seed)] for seed in range(20))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, io)

    return configure


def _fp16(converter: Any) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _allow_custom(converter: Any) -> None:
    converter.allow_custom_ops = True


def rename_tensors(model: bytes, names: tuple[str, ...]) -> bytes:
    """The file with the results of its nodes, in order, given these names."""
    parsed = _parse_tflite(model)
    graph = parsed.subgraphs[0]
    assert len(graph.operators) == len(names)
    for operator, name in zip(graph.operators, names, strict=True):
        graph.tensors[operator.outputs[0]].name = name.encode()
    return _pack_tflite(parsed)


def with_unread_node(model: bytes) -> bytes:
    """The file with its first node twice; nothing reads what the second one computes."""
    import copy

    parsed = _parse_tflite(model)
    graph = parsed.subgraphs[0]
    twin = copy.deepcopy(graph.operators[0])
    tensor = copy.deepcopy(graph.tensors[twin.outputs[0]])
    tensor.name = b"unread"
    graph.tensors.append(tensor)
    twin.outputs = [len(graph.tensors) - 1]
    graph.operators.insert(1, twin)
    return _pack_tflite(parsed)


def with_op_version(model: bytes, version: int) -> bytes:
    """The file with its first op said to be of another version."""
    parsed = _parse_tflite(model)
    parsed.operatorCodes[0].version = version
    return _pack_tflite(parsed)


def _parse_tflite(model: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))


def _pack_tflite(parsed: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def onnx_classifier(batch: int | str = 1, dense: np.ndarray = DENSE, softmax: bool = True) -> bytes:
    """The float TFLite file's network in NCHW, with the same names for its tensors."""
    from onnx import TensorProto, helper, numpy_helper

    weights = {
        "conv_w": CONV.transpose(3, 2, 0, 1),
        "depthwise_w": DEPTHWISE.transpose(2, 3, 0, 1),
        "dense_w": dense,
        "zero": np.float32(0),
        "six": np.float32(6),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv_w"], ["conv_raw"], pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["conv_raw", "zero", "six"], ["conv"]),
        helper.make_node("Conv", ["conv", "depthwise_w"], ["depthwise_raw"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("Relu", ["depthwise_raw"], ["depthwise"]),
        helper.make_node("GlobalAveragePool", ["depthwise"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense_w"], ["dense"]),
        helper.make_node("Softmax", ["dense"], ["softmax"]),
    ]
    output = "softmax" if softmax else "dense"
    return _onnx_model(
        nodes if softmax else nodes[:-1],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, dense.shape[1]])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )


def onnx_quantized(kind: str = "uint8", metadata: dict[str, str] | None = None) -> bytes:
    """uint8 or int8 in and out, scales 0.05 and 0.1: dequantize, 3x3 convolution, relu, quantize, all QDQ."""
    from onnx import TensorProto, helper, numpy_helper

    dtype, zero = np.dtype(kind), 128 if kind == "uint8" else 0
    kernel = np.clip(np.rint(CONV.transpose(3, 2, 0, 1) / 0.02), -127, 127).astype(np.int8)
    constants = {
        "kernel_q": kernel,
        "kernel_scale": np.float32(0.02),
        "in_scale": np.float32(0.05),
        "out_scale": np.float32(0.1),
        "zero_point": dtype.type(zero),
        "out_zero_point": dtype.type(zero - 128),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "in_scale", "zero_point"], ["x_dq"]),
        helper.make_node("DequantizeLinear", ["kernel_q", "kernel_scale"], ["kernel"]),
        helper.make_node("Conv", ["x_dq", "kernel"], ["conv_raw"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv_raw"], ["conv_float"]),
        helper.make_node("QuantizeLinear", ["conv_float", "out_scale", "out_zero_point"], ["conv_q"]),
        helper.make_node("DequantizeLinear", ["conv_q", "out_scale", "out_zero_point"], ["conv_dq"]),
        helper.make_node("MaxPool", ["conv_dq"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("QuantizeLinear", ["pool", "out_scale", "out_zero_point"], ["y"]),
    ]
    element = TensorProto.UINT8 if kind == "uint8" else TensorProto.INT8
    if metadata is None:
        metadata = {
            "edgekit.layout": "NCHW",
            "edgekit.scale.x": "0.05",
            "edgekit.zero_point.x": str(zero),
            "edgekit.scale.y": "0.1",
            "edgekit.zero_point.y": str(zero - 128),
        }
    return _onnx_model(
        nodes,
        [helper.make_tensor_value_info("x", element, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", element, [1, 8, SIZE // 2, SIZE // 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
        metadata,
    )


def onnx_single_op(
    op: str, shape: list[int | str] | None = None, dtype: str = "FLOAT", domain: str = "", **attributes: Any
) -> bytes:
    """One node from input x to output y of the same type and shape."""
    from onnx import TensorProto, helper

    shape = shape or [1, 3, SIZE, SIZE]
    element = getattr(TensorProto, dtype)
    node = helper.make_node(op, ["x"], ["y"], name="only", domain=domain, **attributes)
    values = [helper.make_tensor_value_info(name, element, shape) for name in ("x", "y")]
    return _onnx_model([node], values[:1], values[1:], [], domain=domain)


def _onnx_model(
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    constants: list[Any],
    metadata: dict[str, str] | None = None,
    domain: str = "",
) -> bytes:
    from onnx import helper

    graph = helper.make_graph(nodes, "small", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    helper.set_model_props(model, metadata or {})
    return bytes(model.SerializeToString())

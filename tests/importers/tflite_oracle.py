"""Runs a TFLite file in its runtime, and its import in onnxruntime and as another TFLite file, and compares."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from tflite_helpers import open_tflite

from edgekit.export.onnx import onnx_bytes
from edgekit.export.tflite import tflite_bytes
from edgekit.graph import Graph
from edgekit.importers.tflite import import_tflite
from edgekit.passes.registry import apply_passes

TOLERANCE = 1e-4
"""Of the largest output."""


def convert(function: Callable[..., Any], *shapes: Sequence[int | None], weights: str = "float32") -> bytes:
    """A TensorFlow function of float inputs as TensorFlow's converter writes it."""
    import tensorflow as tf

    signature = [tf.TensorSpec(shape, tf.float32, name=f"x{i}") for i, shape in enumerate(shapes)]
    concrete = tf.function(function, input_signature=signature, autograph=False).get_concrete_function()
    return _converted(tf.lite.TFLiteConverter.from_concrete_functions([concrete]), weights)


def convert_keras(model: Any, weights: str = "float32") -> bytes:
    """A Keras model as TensorFlow's converter writes it; weights: float32, float16 or int8 (dynamic range)."""
    import tensorflow as tf

    return _converted(tf.lite.TFLiteConverter.from_keras_model(model), weights)


def _converted(converter: Any, weights: str) -> bytes:
    import tensorflow as tf

    if weights != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter warns about itself
        return bytes(converter.convert())


RANGES = {"gamma": (0.6, 1.4), "variance": (0.6, 1.4), "moving_variance": (0.6, 1.4)}


def randomize_keras(model: Any) -> Any:
    """Give batch norms and biases random values, so that a forgotten or misplaced one shows."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign(generator.uniform(*RANGES.get(weight.name, (-0.5, 0.5)), weight.shape))
    return model


def randomize(graph: Graph) -> Graph:
    """The same for a graph of the zoo."""
    generator = np.random.default_rng(0)
    for tensor in graph.constants():
        role = tensor.name.rpartition("/")[2]
        if role in (*RANGES, "bias", "beta", "mean"):
            values = generator.uniform(*RANGES.get(role, (-0.5, 0.5)), tensor.shape)
            graph.set_tensor(tensor.with_data(values.astype(np.float32)))
    return graph


def run_original(data: bytes, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs in the file's order."""
    interpreter = open_tflite(data)
    for detail, value in zip(interpreter.get_input_details(), values, strict=True):
        interpreter.set_tensor(detail["index"], value.astype(detail["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def run_as_onnx(graph: Graph, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The graph's outputs (NHWC) by way of the ONNX writer."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(onnx_bytes(graph), options, providers=["CPUExecutionProvider"])
    values = session.run(
        list(graph.outputs), {n: x.transpose(0, 3, 1, 2) if x.ndim == 4 else x for n, x in feeds.items()}
    )
    return [value.transpose(0, 2, 3, 1) if value.ndim == 4 else value for value in values]


def run_as_tflite(graph: Graph, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The graph's outputs by way of the passes and the TFLite writer."""
    return run_original(tflite_bytes(apply_passes(graph)[0]), [feeds[name] for name in graph.inputs])


def check_import(data: bytes, *, nchw_input: bool = False, pixels: bool = False, **options: Any) -> Graph:
    """Import, run all three on the same random input, compare; returns the graph."""
    graph = import_tflite(data, **options)
    generator = np.random.default_rng(0)
    feeds = {n: generator.standard_normal(graph.shape(n)).astype(np.float32) for n in graph.inputs}
    if pixels:
        feeds = {n: generator.integers(0, 256, graph.shape(n)).astype(np.float32) for n in graph.inputs}
    given = [x.transpose(0, 3, 1, 2) if nchw_input else x for x in feeds.values()]
    want = run_original(data, given)
    for values in (run_as_onnx(graph, feeds), run_as_tflite(graph, feeds)):
        assert len(values) == len(want)
        for name, value, expected in zip(graph.outputs, values, want, strict=True):
            largest = float(np.abs(expected).max())
            np.testing.assert_allclose(value, expected, rtol=0, atol=TOLERANCE * largest, err_msg=name)
            assert largest > 0
    return graph


def ops(graph: Graph) -> list[str]:
    """The graph's ops in order."""
    return [node.op for node in graph.nodes]

"""What the quantization tests share: images, statistics by the numpy interpreter, running files, signal to noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from tflite_helpers import run_tflite

from edgekit.export.onnx import onnx_bytes
from edgekit.export.tflite import tflite_bytes
from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.graph.ir import Array
from edgekit.quantize.assign import QuantizeOptions, quantize_graph
from edgekit.quantize.calibrate import TensorStatistics, calibrate


def images(graph: Graph, count: int = 4, *, seed: int = 0, spread: float = 1.0) -> list[Array]:
    rng = np.random.default_rng(seed)
    shape = graph.shape(graph.inputs[0])
    return [(rng.standard_normal(shape) * spread).astype(np.float32) for _ in range(count)]


def numpy_runner(graph: Graph) -> Callable[[Array], Mapping[str, Array]]:
    """All activations of one image, NHWC."""
    return lambda image: interpret(graph, {graph.inputs[0]: image}, keep=True)


def statistics_of(graph: Graph, samples: Sequence[Array]) -> dict[str, TensorStatistics]:
    return calibrate(graph, numpy_runner(graph), samples, channel_axis=3)


def quantized(graph: Graph, samples: Sequence[Array] | None = None, **options: object) -> Graph:
    samples = images(graph) if samples is None else samples
    return quantize_graph(graph, statistics_of(graph, samples), QuantizeOptions(**options))


def run_onnx(graph: Graph, image: Array) -> dict[str, Array]:
    """Outputs of the ONNX file in onnxruntime, 4-D ones turned to NHWC."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_bytes(graph), options, providers=["CPUExecutionProvider"])
    feeds = {graph.inputs[0]: np.ascontiguousarray(image.transpose(0, 3, 1, 2))}
    results = dict(zip((o.name for o in session.get_outputs()), session.run(None, feeds), strict=True))
    return {name: to_nhwc(value) for name, value in results.items()}


def to_nhwc(value: Array) -> Array:
    return value.transpose(0, 2, 3, 1) if value.ndim == 4 else value


def run_litert(graph: Graph, image: Array, *, kernels: str = "xnnpack") -> dict[str, Array]:
    return run_tflite(tflite_bytes(graph), {graph.inputs[0]: image}, kernels=kernels)


def sqnr_db(reference: Array, value: Array) -> float:
    """Power of the signal over that of the error, in decibels."""
    error = np.square(np.asarray(value, np.float64) - reference).sum()
    return float(10 * np.log10(np.square(np.asarray(reference, np.float64)).sum() / max(error, 1e-30)))


def set_constant(builder: GraphBuilder | Graph, name: str, value: Array) -> None:
    graph = builder.graph if isinstance(builder, GraphBuilder) else builder
    graph.set_tensor(graph.tensor(name).with_data(np.asarray(value, np.float32)))


def statistics(positions: Array) -> TensorStatistics:
    """Exact statistics of (P, C) values, all of them kept."""
    positions = np.asarray(positions, np.float32)
    return TensorStatistics(positions.min(0), positions.max(0), positions.mean(0, dtype=np.float64), positions)


def scale_of(graph: Graph, name: str) -> tuple[float, int]:
    quant = graph.tensor(name).quant
    assert quant is not None
    return quant.scale[0], quant.zero_point[0]

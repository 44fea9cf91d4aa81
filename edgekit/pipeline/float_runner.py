"""Runs a float graph through onnxruntime, with any activation in sight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgekit.export.onnx import onnx_bytes
from edgekit.graph.ir import Array, Graph
from edgekit.runtime.onnx_backend import OnnxBackend

THREADS = 2


def float_runner(graph: Graph, observed: Sequence[str]) -> Callable[[Array], Mapping[str, Array]]:
    """A function from one image (1, H, W, C) to the activations `observed`, 4-D ones as (1, C, H, W).

    The arrays are valid until the next call.
    """
    inner = [name for name in observed if name not in graph.inputs and name not in graph.outputs]
    # Threads that wait without spinning leave the processor to the thread that prepares the next image.
    backend = OnnxBackend(onnx_bytes(graph, expose=inner), label=graph.name, threads=THREADS, allow_spinning=False)
    run_buffered = backend.buffered()
    (input_name,) = graph.inputs

    def run(image: Array) -> Mapping[str, Array]:
        nchw = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
        return {input_name: nchw, **run_buffered({input_name: nchw})}

    return run

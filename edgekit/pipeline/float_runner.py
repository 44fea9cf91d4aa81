"""Runs a float graph through onnxruntime, with any activation in sight."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgekit.export.onnx import onnx_bytes
from edgekit.graph.ir import Array, Graph
from edgekit.runtime.io_spec import to_nhwc
from edgekit.runtime.onnx_backend import OnnxBackend

THREADS = max(1, min(4, (os.cpu_count() or 2) - 1))
"""One processor is left to whoever prepares the images and reads the activations."""
LIFETIME = 3
"""How many calls an activation's array outlives: one being filled, one waiting, one being read."""


def float_runner(
    graph: Graph, observed: Sequence[str], outputs: list[tuple[Array, ...]] | None = None
) -> Callable[[Array], Mapping[str, Array]]:
    """A function from one image (1, H, W, C) to the activations `observed`, 4-D ones as (1, C, H, W).

    The arrays are overwritten LIFETIME calls later. outputs: where given, each call appends the graph's outputs
    (NHWC).
    """
    inner = [name for name in observed if name not in graph.inputs and name not in graph.outputs]
    # Threads that wait without spinning leave the processor to the thread that prepares the next image.
    backend = OnnxBackend(onnx_bytes(graph, expose=inner), label=graph.name, threads=THREADS, allow_spinning=False)
    run_buffered = backend.buffered(LIFETIME)
    (input_name,) = graph.inputs

    def run(image: Array) -> Mapping[str, Array]:
        nchw = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
        values = run_buffered({input_name: nchw})
        if outputs is not None:
            outputs.append(tuple(to_nhwc(values[name], "NCHW").copy() for name in graph.outputs))
        return {input_name: nchw, **values}

    return run

"""Runs an ONNX file in onnxruntime and its import in the interpreter, and compares."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgekit.graph import Graph
from edgekit.graph.interpret import interpret
from edgekit.importers.onnx import import_onnx

NHWC_OF_NCHW = (0, 2, 3, 1)
NCHW_OF_NHWC = (0, 3, 1, 2)


def node_model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str],
    constants: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    inputs: Sequence[str] = ("x",),
) -> onnx.ModelProto:
    """A model of these nodes from "x" to "y"; constants become initializers."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def torch_bytes(module: Any, shape: Sequence[int], *, opset: int, dynamo: bool = False, batch: bool = False) -> bytes:
    """A torch module in eval mode as ONNX bytes, by either exporter; `batch` leaves the batch open."""
    import torch

    torch.set_num_threads(1)
    example = torch.zeros(*shape)
    extra: dict[str, Any] = {}
    if batch:
        dim = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if dynamo else {"dynamic_axes": {"x": {0: "batch"}}}
        extra.update(dim)
    if dynamo:
        extra["verbose"] = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters warn about themselves
        buffer = io.BytesIO()
        torch.onnx.export(
            module.eval(), (example,), buffer, opset_version=opset, dynamo=dynamo, input_names=["x"], **extra
        )
    return buffer.getvalue()


def settled(module: Any, shape: Sequence[int]) -> Any:
    """The module in eval mode, with random batch norms whose statistics are those of random images of that shape.

    Activations keep the size of a trained network's, so that tolerances mean what they say.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            part.momentum = 1.0
            part.weight.data.copy_(torch.rand(part.weight.shape, generator=generator) + 0.5)
            part.bias.data.copy_(torch.rand(part.bias.shape, generator=generator) - 0.5)
    with torch.no_grad():
        module.train()(torch.randn(16, *shape[1:], generator=generator) * 2)
    return module.eval()


def check_import(
    model: onnx.ModelProto | bytes | Path,
    *,
    nhwc_input: bool = False,
    nhwc_output: bool = False,
    deep: bool = False,
    **options: Any,
) -> Graph:
    """Import, run both on the same random input, compare; returns the graph.

    `deep`: many layers of float32 sums in other orders; the absolute tolerance is 5e-5 of the largest output. (In the
    networks tested, PyTorch's float32 and onnxruntime are up to 2e-5 of it away from PyTorch's float64.)
    """
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    graph = import_onnx(source, **options)
    feeds = random_inputs(graph)
    expected = run_original(source, graph, feeds, nhwc_input)
    found = interpret(graph, feeds)
    assert len(expected) == len(graph.outputs)
    for name, want in zip(graph.outputs, expected, strict=True):
        value = found[name] if found[name].ndim != 4 or nhwc_output else found[name].transpose(NCHW_OF_NHWC)
        atol = 5e-5 * float(np.abs(want).max()) if deep else 1e-5
        np.testing.assert_allclose(value, want, rtol=1e-4, atol=atol, err_msg=name)
    return graph


def random_inputs(graph: Graph) -> dict[str, np.ndarray]:
    """Normal numbers of standard deviation 2 for each input."""
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(graph.shape(name), np.float32) * 2 for name in graph.inputs}


def run_original(source: Any, graph: Graph, feeds: dict[str, np.ndarray], nhwc: bool = False) -> list[np.ndarray]:
    """The file's outputs in onnxruntime; feeds are the graph's. `nhwc`: the file's inputs are, too."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    values = [feeds[n] if feeds[n].ndim != 4 or nhwc else feeds[n].transpose(NCHW_OF_NHWC) for n in graph.inputs]
    result: list[np.ndarray] = session.run(None, {i.name: v for i, v in zip(session.get_inputs(), values, strict=True)})
    return result


def ops(graph: Graph) -> list[str]:
    """The graph's ops in order."""
    return [node.op for node in graph.nodes]

"""Gives a torch network the weights of a graph, layer by layer in order, and runs both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgekit.graph.interpret import interpret
from edgekit.graph.ir import Graph

Array = np.ndarray[Any, np.dtype[Any]]


def randomize_norms(graph: Graph, seed: int = 0) -> Graph:
    """Give batch norms and biases random values, so that a forgotten or misplaced one shows."""
    generator = np.random.default_rng(seed)
    ranges = {
        "/gamma": (0.6, 1.4),
        "/beta": (-0.3, 0.3),
        "/mean": (-0.3, 0.3),
        "/variance": (0.6, 1.4),
        "/bias": (-1, 1),
    }
    for tensor in graph.constants():
        for ending, (low, high) in ranges.items():
            if tensor.name.endswith(ending):
                graph.set_tensor(tensor.with_data(generator.uniform(low, high, tensor.shape).astype(np.float32)))
    return graph


def copy_weights(graph: Graph, net: Any) -> None:
    """Copy kernels, biases, batch norms and gather indices into modules of the same kind, in the same order."""
    import torch

    kinds = {torch.nn.Conv2d: "conv2d", torch.nn.BatchNorm2d: "batch_norm", torch.nn.Linear: "dense"}
    for kind, op in kinds.items():
        modules = [m for m in net.modules() if isinstance(m, kind)]
        nodes = [n for n in graph.nodes if n.op == op]
        for module, node in zip(modules, nodes, strict=True):
            values = [graph.tensor(name).array for name in node.inputs[1:]]
            if op == "dense":
                values[0] = _channels_first(graph, node.inputs[0], values[0])
            _set(module, op, [torch.from_numpy(value.copy()) for value in values])
    indices = [n.attrs["indices"] for n in graph.nodes if n.op == "gather"]
    buffers = [buffer for name, buffer in net.named_buffers() if name.endswith("index")]
    for buffer, index in zip(buffers, indices, strict=True):
        buffer.copy_(torch.tensor(index))


def _channels_first(graph: Graph, name: str, kernel: Array) -> Array:
    """A dense kernel (in, out) for inputs that were flattened channels first, as torch does it."""
    node = graph.producer(name)
    if node is None or node.op != "reshape" or len(graph.shape(node.inputs[0])) != 4:
        return kernel
    _, height, width, channels = graph.shape(node.inputs[0])
    return kernel.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)


def uninitialized(make: Callable[[], Any]) -> Any:
    """A torch network without initial values, which take seconds to draw; `copy_weights` sets them."""
    import torch

    with torch.device("meta"):
        net = make()
    return net.to_empty(device="cpu")


def _set(module: Any, op: str, values: list[Any]) -> None:
    if op == "batch_norm":
        names = ("weight", "bias", "running_mean", "running_var")
    else:
        names = ("weight", "bias")[: len(values)]
        values[0] = values[0].permute(3, 2, 0, 1) if op == "conv2d" else values[0].T
        assert len(values) == 1 + (module.bias is not None)
    for name, value in zip(names, values, strict=True):
        target = getattr(module, name)
        assert target.shape == value.shape
        target.data.copy_(value)


def run_both(graph: Graph, net: Any, tensor: str, seed: int = 0) -> tuple[Array, Array]:
    """The graph's `tensor` and the network's output on the same random picture."""
    import torch

    copy_weights(graph, net)
    x = np.random.default_rng(seed).uniform(-1, 1, graph.shape(graph.inputs[0])).astype(np.float32)
    with torch.no_grad():
        theirs = net.eval()(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    return interpret(graph, {graph.inputs[0]: x}, keep=True)[tensor], theirs

"""The layers that most families share: convolution with batch norm and activation, squeeze-excite."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.graph.builder import GraphBuilder, Padding

EPSILON = 1e-5
"""Batch norm's epsilon in Caffe and PyTorch."""

GATE_GAIN = 0.1
"""Of the weights that make the gates: small, so that these neither close nor saturate."""

GATED_GAIN = 4.0
"""Factor for random weights after a squeeze-excite, whose untrained gates are about a half."""


def conv_norm(
    b: GraphBuilder,
    x: str,
    filters: int,
    kernel: int | Sequence[int],
    *,
    stride: int = 1,
    padding: Padding = "same",
    groups: int = 1,
    activation: str | None = "relu",
    gain: float | None = None,
    epsilon: float = EPSILON,
    name: str,
) -> str:
    """Convolution `name` without bias, batch norm `<name>_bn`, activation `<name>_<activation>` where there is one.

    gain: of the random weights; 2 before an activation and 1 without one unless given.
    """
    chosen = (1.0 if activation is None else 2.0) if gain is None else gain
    x = b.conv2d(x, filters, kernel, stride=stride, padding=padding, groups=groups, gain=chosen, name=name)
    x = b.batch_norm(x, epsilon=epsilon, name=f"{name}_bn")
    return x if activation is None else b.activation(x, activation, name=f"{name}_{activation}")


def depthwise_norm(
    b: GraphBuilder, x: str, kernel: int, *, stride: int = 1, padding: Padding, epsilon: float = EPSILON, name: str
) -> str:
    """Depthwise convolution `name` without bias, batch norm `<name>_bn`."""
    x = b.depthwise(x, kernel, stride=stride, padding=padding, gain=1.0, name=name)
    return b.batch_norm(x, epsilon=epsilon, name=f"{name}_bn")


def separable(
    b: GraphBuilder,
    x: str,
    filters: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: Padding = "same",
    gain: float = 2.0,
    name: str,
) -> str:
    """Keras's SeparableConv2D without bias: `<name>/depthwise`, then 1x1 `<name>/pointwise`, nothing in between.

    The importers know the halves by these endings. gain: of both together; 2 after a ReLU, 1 after none.
    """
    x = b.depthwise(x, kernel, stride=stride, padding=padding, gain=gain, name=f"{name}/depthwise")
    return b.conv2d(x, filters, 1, gain=1.0, name=f"{name}/pointwise")


def squeeze_excite(b: GraphBuilder, x: str, hidden: int, gate: str, *, scale: float = 1.0, prefix: str) -> str:
    """Scale the channels of x (1, H, W, C) by a gate computed from their means (arXiv:1709.01507, section 3).

    Two 1x1 convolutions with bias, C to `hidden` and back, ReLU between them; gate: sigmoid or hard_sigmoid.
    scale: how large the features of a random network are.
    """
    y = b.global_avg_pool(x, keep_dims=True, name=f"{prefix}avg_pool")
    y = b.conv2d(y, hidden, 1, bias=True, name=f"{prefix}conv")
    y = b.activation(y, "relu", name=f"{prefix}relu")
    y = b.conv2d(y, b.channels(x), 1, bias=True, gain=GATE_GAIN / scale**2, name=f"{prefix}conv_1")
    y = b.activation(y, gate, name=f"{prefix}{gate}")
    return b.mul(x, y, name=f"{prefix}mul")

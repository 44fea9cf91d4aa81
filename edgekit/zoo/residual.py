"""The units that residual networks are made of, before and after "identity mappings".

Sources: arXiv:1512.03385, figure 5; arXiv:1603.05027, figure 4 (e). Layer names are those of Keras's ResNets.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.graph.builder import GraphBuilder
from edgekit.zoo.conv_norm import EPSILON, GATED_GAIN, squeeze_excite

EXPANSION = 4
"""Outputs of a bottleneck unit, in widths of its middle."""

GROWTH = 1.0
"""Random branches add this much, as a share of the variance, over a whole network of identity shortcuts."""

SE_RATIO = 16


@dataclass(frozen=True, slots=True)
class Style:
    """How a network's units are built.

    bottleneck: 1x1, 3x3, 1x1 instead of two 3x3. stride_late: a bottleneck strides in its 3x3. biases: of all
    convolutions (pre-activation: of those that no batch norm follows). groups: of the 3x3. excite: squeeze-excite
    behind the branch. zero_channels: a shortcut that widens adds zeros (option A) instead of convolving (B). units: how
    many the network has; sets how much a random branch adds.
    """

    bottleneck: bool
    units: int
    stride_late: bool = False
    biases: bool = False
    groups: int = 1
    excite: bool = False
    zero_channels: bool = False
    epsilon: float = EPSILON

    @property
    def branch_gain(self) -> float:
        """Of a branch's last random convolution: sums over many units neither fade nor explode."""
        return GROWTH / self.units * (GATED_GAIN if self.excite else 1.0)

    def kernels(self, middle: int, width: int, stride: int) -> tuple[tuple[int, int, int, int], ...]:
        """(filters, kernel, stride, groups) of the branch's convolutions."""
        if not self.bottleneck:
            return ((middle, 3, stride, 1), (width, 3, 1, 1))
        first, second = (1, stride) if self.stride_late else (stride, 1)
        return ((middle, 1, first, 1), (middle, 3, second, self.groups), (width, 1, 1, 1))


def norm(b: GraphBuilder, x: str, style: Style, name: str) -> str:
    """Batch norm `<name>_bn`."""
    return b.batch_norm(x, epsilon=style.epsilon, name=f"{name}_bn")


def norm_relu(b: GraphBuilder, x: str, style: Style, name: str) -> str:
    """Batch norm `<name>_bn`, ReLU `<name>_relu`."""
    return b.activation(norm(b, x, style, name), "relu", name=f"{name}_relu")


def _branch(
    b: GraphBuilder, x: str, middle: int, width: int, stride: int, style: Style, *, before: bool, name: str
) -> str:
    """The branch's convolutions. before: batch norm and ReLU stand before each one, not behind."""
    rows = style.kernels(middle, width, stride)
    added = style.branch_gain * (2.0 if before else 1.0)
    for number, (filters, kernel, step, groups) in enumerate(rows, start=1):
        last = number == len(rows)
        x = b.conv2d(
            x,
            filters,
            kernel,
            stride=step,
            padding=kernel // 2,
            groups=groups,
            bias=style.biases and (last or not before),
            gain=added if last else 2.0,
            name=f"{name}_{number}_conv",
        )
        if not last:
            x = norm_relu(b, x, style, f"{name}_{number}")
        elif not before:
            x = norm(b, x, style, f"{name}_{number}")
    return x


def post_activation_unit(
    b: GraphBuilder, x: str, middle: int, width: int, stride: int, style: Style, *, projected: bool, name: str
) -> str:
    """ReLU(shortcut + branch); every convolution has a batch norm. projected: the shortcut changes shape."""
    y = _branch(b, x, middle, width, stride, style, before=False, name=name)
    if style.excite:
        y = squeeze_excite(b, y, width // SE_RATIO, "sigmoid", prefix=f"{name}_se_")
    if projected and style.zero_channels:
        x = _widen_by_zeros(b, x, width, stride, name)
    elif projected:
        x = b.conv2d(x, width, 1, stride=stride, padding="valid", bias=style.biases, name=f"{name}_0_conv")
        x = norm(b, x, style, f"{name}_0")
    return b.activation(b.add(x, y, name=f"{name}_add"), "relu", name=f"{name}_out")


def pre_activation_unit(
    b: GraphBuilder, x: str, middle: int, width: int, stride: int, style: Style, *, projected: bool, name: str
) -> str:
    """shortcut + branch, with batch norm and ReLU before each convolution.

    projected: the shortcut changes shape, and begins at the activated input; else it is the input, every stride-th
    pixel of it.
    """
    activated = norm_relu(b, x, style, f"{name}_preact")
    y = _branch(b, activated, middle, width, stride, style, before=True, name=name)
    if projected and style.zero_channels:
        x = _widen_by_zeros(b, activated, width, stride, name)
    elif projected:
        x = b.conv2d(activated, width, 1, stride=stride, padding="valid", bias=style.biases, name=f"{name}_0_conv")
    elif stride > 1:
        x = _every_nth_pixel(b, x, stride, name)
    return b.add(x, y, name=f"{name}_out")


def _every_nth_pixel(b: GraphBuilder, x: str, stride: int, name: str) -> str:
    """A max pool over single pixels."""
    return b.pool(x, "max_pool", 1, stride=stride, name=f"{name}_0_pool")


def _widen_by_zeros(b: GraphBuilder, x: str, width: int, stride: int, name: str) -> str:
    """Every stride-th pixel, with channels of zeros behind its own up to `width` (arXiv:1512.03385, option A)."""
    x = _every_nth_pixel(b, x, stride, name)
    after = (0, 0, 0, width - b.channels(x))
    return b.op("pad", [x], {"before": (0, 0, 0, 0), "after": after}, name=f"{name}_0_pad")

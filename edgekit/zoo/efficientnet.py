"""EfficientNet B0 to B7 as Keras builds them: layer names, padding and epsilon included, so that its weights fit.

Structure: arXiv:1905.11946, table 1; the other sizes scale width, depth and resolution of B0 together (section 3.3).
Keras's networks begin with layers that normalize the pixels; here the preprocessing does that.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from edgekit.data.preprocess import TORCH
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.conv_norm import GATE_GAIN, GATED_GAIN
from edgekit.zoo.heads import finish_keras
from edgekit.zoo.mobilenet import make_divisible
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED
from edgekit.zoo.registry import Published, register

EPSILON = 1e-3
SQUEEZE = 4
"""Squeeze-excite has a quarter of the block's input channels inside."""

SCALE = 40.0
"""Of random features: a swish halves small numbers and keeps large ones."""


class Gains(NamedTuple):
    """Of random weights. spread: of the logits, as features behind a swish vary less than behind a ReLU. added: factor
    for a block that is added to its input. even: whether small filters are scaled to the same effect.
    """

    spread: float
    added: float
    even: bool


SHALLOW, DEEP = Gains(4.0, 1 / 64, False), Gains(1.5, 1 / 256, True)
"""The deep networks add up to 48 blocks: what int8 rounds off on the way is a tenth of their features, so of the logits
too; and plain small filters would let their features, and so the logits, grow several times as large.
"""

GATES = 0.1
"""Of the random gates' weights: every block has gates, and what they do adds up."""


class Row(NamedTuple):
    """One stage of inverted residuals. stride: of its first block."""

    expansion: int
    channels: int
    repeats: int
    kernel: int
    stride: int


ROWS = (
    Row(1, 16, 1, 3, 1),
    Row(6, 24, 2, 3, 2),
    Row(6, 40, 2, 5, 2),
    Row(6, 80, 3, 3, 2),
    Row(6, 112, 3, 5, 1),
    Row(6, 192, 4, 5, 2),
    Row(6, 320, 1, 3, 1),
)
STEM, TOP = 32, 1280


class Size(NamedTuple):
    """Compound scaling: factors of width and depth, input size, dropout; then what is printed of its accuracy.

    parameters and MACs in millions, top-1 and top-5 in percent: arXiv:1905.11946, table 2.
    """

    width: float
    depth: float
    resolution: int
    dropout: float
    published: tuple[float, float, float, float]

    def channels(self, channels: int) -> int:
        """A width of B0 at this size: a multiple of 8."""
        return make_divisible(channels * self.width)

    @property
    def gains(self) -> Gains:
        """B4 to B7 have twice as many blocks as B0 and more."""
        return DEEP if self.depth > 1.5 else SHALLOW

    def repeats(self, repeats: int) -> int:
        """Blocks of a stage of B0 at this size, rounded up."""
        return math.ceil(repeats * self.depth)


SIZES = {
    "b0": Size(1.0, 1.0, 224, 0.2, (5.3, 390, 77.1, 93.3)),
    "b1": Size(1.0, 1.1, 240, 0.2, (7.8, 700, 79.1, 94.4)),
    "b2": Size(1.1, 1.2, 260, 0.3, (9.2, 1000, 80.1, 94.9)),
    "b3": Size(1.2, 1.4, 300, 0.3, (12, 1800, 81.6, 95.7)),
    "b4": Size(1.4, 1.8, 380, 0.4, (19, 4200, 82.9, 96.4)),
    "b5": Size(1.6, 2.2, 456, 0.4, (30, 9900, 83.6, 96.7)),
    "b6": Size(1.8, 2.6, 528, 0.5, (43, 19000, 84.0, 96.8)),
    "b7": Size(2.0, 3.1, 600, 0.5, (66, 37000, 84.3, 97.0)),
}


def _register(version: str, size: Size) -> None:
    def efficientnet(*, resolution: int = size.resolution, classes: int = 1000, seed: int = 0) -> Graph:
        return _build(f"efficientnet_{version}_{resolution}", size, resolution, classes, seed)

    efficientnet.__doc__ = (
        f"EfficientNet {version.upper()}: searched inverted residuals, {size.width:g} times as wide and "
        f"{size.depth:g} times as deep as B0."
    )
    params, macs, top1, top5 = size.published
    register(
        f"efficientnet_{version}",
        paper="arXiv:1905.11946",
        options=(replace(RESOLUTION, default=size.resolution), CLASSES, SEED),
        published=(Published({}, params, macs, top1, top5, "arXiv:1905.11946, table 2"),),
    )(efficientnet)


for _version, _size in SIZES.items():
    _register(_version, _size)


def _build(name: str, size: Size, resolution: int, classes: int, seed: int) -> Graph:
    """Input (1, resolution, resolution, 3), output (1, classes) probabilities."""
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = b.conv2d("input", size.channels(STEM), 3, stride=2, gain=2 * SCALE**2, even=size.gains.even, name="stem_conv")
    x = _norm_swish(b, x, "stem_")
    for stage, row in enumerate(ROWS, start=1):
        for i in range(size.repeats(row.repeats)):
            stride = row.stride if i == 0 else 1
            x = _block(b, x, row, stride, size, f"block{stage}{chr(ord('a') + i)}_")
    x = b.conv2d(x, size.channels(TOP), 1, name="top_conv")
    x = _norm_swish(b, x, "top_")
    return finish_keras(b, x, classes, TORCH, resolution, dropout=size.dropout, spread=size.gains.spread / SCALE)


def _block(b: GraphBuilder, x: str, row: Row, stride: int, size: Size, prefix: str) -> str:
    """Expand (not by 1), filter per channel, excite, project; add the input where shapes allow."""
    y, channels, width, gains = x, b.channels(x), size.channels(row.channels), size.gains
    if row.expansion > 1:
        y = b.conv2d(y, row.expansion * channels, 1, name=f"{prefix}expand_conv")
        y = _norm_swish(b, y, f"{prefix}expand_")
    # Keras pads by hand before a stride of 2, by a rule that is SAME: one less before than after if the size is even.
    y = b.depthwise(y, row.kernel, stride=stride, even=gains.even, name=f"{prefix}dwconv")
    y = _excite(b, _norm_swish(b, y, prefix), max(1, channels // SQUEEZE), prefix)
    added = stride == 1 and channels == width
    y = b.conv2d(y, width, 1, gain=GATED_GAIN * (gains.added if added else 1.0), name=f"{prefix}project_conv")
    y = b.batch_norm(y, epsilon=EPSILON, name=f"{prefix}project_bn")
    return b.add(y, x, name=f"{prefix}add") if added else y


def _excite(b: GraphBuilder, x: str, hidden: int, prefix: str) -> str:
    """Squeeze-excite with a swish inside, under Keras's names."""
    y = b.global_avg_pool(x, keep_dims=True, name=f"{prefix}se_squeeze")
    y = b.conv2d(y, hidden, 1, bias=True, name=f"{prefix}se_reduce")
    y = b.activation(y, "swish", name=f"{prefix}se_reduce_swish")
    y = b.conv2d(y, b.channels(x), 1, bias=True, gain=GATES * GATE_GAIN / SCALE**2, name=f"{prefix}se_expand")
    y = b.activation(y, "sigmoid", name=f"{prefix}se_expand_sigmoid")
    return b.mul(x, y, name=f"{prefix}se_excite")


def _norm_swish(b: GraphBuilder, x: str, prefix: str) -> str:
    x = b.batch_norm(x, epsilon=EPSILON, name=f"{prefix}bn")
    return b.activation(x, "swish", name=f"{prefix}activation")

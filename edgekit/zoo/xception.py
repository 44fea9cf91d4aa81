"""Xception as Keras, and so its author, builds it: layer names, padding and epsilon included, so that its weights fit.

Structure: arXiv:1610.02357, figure 5.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from edgekit.data.preprocess import KERAS_TF
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.conv_norm import conv_norm, separable
from edgekit.zoo.heads import finish_keras
from edgekit.zoo.inception_published import XCEPTION_PUBLISHED
from edgekit.zoo.naming import AutoNames
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED
from edgekit.zoo.registry import register

EPSILON = 1e-3
SPREAD = 1.5
"""Of the random logits: the last layers read sums of which each block added little."""

ADDED_GAIN = 0.25
"""Of the last layer of a block, instead of 1: sums of random features would double with every block."""


class Block(NamedTuple):
    """Separable convolutions with these filters, around which the input is added.

    shrinks: a pool at the end and a 1x1 convolution around it halve the map. activated: whether a ReLU comes first.
    """

    filters: tuple[int, ...]
    shrinks: bool
    activated: bool = True


BLOCKS = (
    Block((128, 128), True, activated=False),
    Block((256, 256), True),
    Block((728, 728), True),
    *(Block((728, 728, 728), False),) * 8,
    Block((728, 1024), True),
)
"""`block2` to `block13`: entry flow, middle flow, and the exit flow's first."""

EXIT = (1536, 2048)


@register(
    "xception",
    paper="arXiv:1610.02357",
    options=(replace(RESOLUTION, default=299), CLASSES, SEED),
    published=XCEPTION_PUBLISHED,
)
def xception(*, resolution: int = 299, classes: int = 1000, seed: int = 0) -> Graph:
    """Xception: depthwise separable convolutions with residuals in place of Inception modules.

    Input (1, resolution, resolution, 3) in [-1, 1], output (1, classes) probabilities. Source: arXiv:1610.02357,
    figure 5.
    """
    b = GraphBuilder(f"xception_{resolution}", (1, resolution, resolution, 3), seed=seed)
    names = AutoNames()
    x = "input"
    for number, (filters, stride) in enumerate(((32, 2), (64, 1)), start=1):
        name = f"block1_conv{number}"
        x = conv_norm(b, x, filters, 3, stride=stride, padding="valid", epsilon=EPSILON, name=name)
    for number, block in enumerate(BLOCKS, start=2):
        x = _block(b, x, block, names, f"block{number}")
    for number, filters in enumerate(EXIT, start=1):
        name = f"block14_sepconv{number}"
        x = separable(b, x, filters, 3, gain=2.0, name=name)
        x = b.batch_norm(x, epsilon=EPSILON, name=f"{name}_bn")
        x = b.activation(x, "relu", name=f"{name}_act")
    return finish_keras(b, x, classes, KERAS_TF, resolution, spread=SPREAD)


def _block(b: GraphBuilder, x: str, block: Block, names: AutoNames, prefix: str) -> str:
    shortcut = x
    if block.shrinks:
        shortcut = b.conv2d(x, block.filters[-1], 1, stride=2, gain=1.0, name=names.next("conv2d"))
        shortcut = b.batch_norm(shortcut, epsilon=EPSILON, name=names.next("batch_normalization"))
    for number, filters in enumerate(block.filters, start=1):
        name, last = f"{prefix}_sepconv{number}", number == len(block.filters)
        activated = block.activated or number > 1
        if activated:
            x = b.activation(x, "relu", name=f"{name}_act")
        gain = (2.0 if activated else 1.0) * (ADDED_GAIN if last else 1.0)
        x = separable(b, x, filters, 3, gain=gain, name=name)
        x = b.batch_norm(x, epsilon=EPSILON, name=f"{name}_bn")
    if block.shrinks:
        x = b.pool(x, "max_pool", 3, stride=2, padding="same", name=f"{prefix}_pool")
    return b.add(x, shortcut, name=names.next("add"))

"""IGCV1: blocks of a primary 3x3 and a secondary 1x1 group convolution, interleaved by two permutations.

The primary layer has L groups of M channels, the secondary M groups of L channels, so that exactly one path leads
from each input to each output. Structures: arXiv:1707.02725, tables 1 and 3, and the authors' networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgekit.data.preprocess import TORCH
from edgekit.errors import ModelError
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.cifar import CIFAR, CIFAR_CLASSES, CIFAR_RESOLUTION
from edgekit.zoo.conv_norm import conv_norm
from edgekit.zoo.heads import finish_classifier, pooled_dense
from edgekit.zoo.igc_published import IGCV1_CIFAR_PUBLISHED, IGCV1_PUBLISHED
from edgekit.zoo.legal import nearest
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import register

EPSILON = 2e-5
LAYERS_PER_STEP = {"plain": 3, "identity": 6}
"""Layers that one more block a stage adds to a CIFAR network."""

IMAGENET_STAGES = 4
MAX_WIDTH = 2048
"""Channels of the first stage; the last has four or eight times as many."""

PRIMARY = Option("primary", int, 24, "L: groups of the first stage's 3x3 convolutions", least=1, most=MAX_WIDTH)
SECONDARY = Option("secondary", int, 2, "M: groups of the first stage's 1x1 convolutions", least=1, most=MAX_WIDTH)
DEPTH = Option("depth", int, 20, "layers: 3 B + 2 without shortcuts, 6 B + 2 with them", least=2, most=1000)
SHORTCUT = Option("shortcut", str, "plain", "identity: add each two blocks' input", choices=("plain", "identity"))
BLOCK = Option("block", str, "igc", "regular: one 3x3 convolution of L M channels instead", choices=("igc", "regular"))
CIFAR_BLOCK = Option(
    "block", str, "igc", "regular: one 3x3 convolution of L M channels instead; sumfusion: L of M channels, added up",
    choices=("igc", "regular", "sumfusion"),
)  # fmt: skip
WIDEN = Option(
    "widen", str, "secondary", "what doubles from stage to stage: M, or L (then the stem has L channels)",
    choices=("secondary", "primary"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Block:
    """One block. primary and secondary: groups of the two convolutions; primary 0: regular convolutions instead.

    summed: how many of these run side by side and are added up.
    """

    channels: int
    stride: int
    primary: int
    secondary: int
    summed: int = 1


@register(
    "igcv1",
    paper="arXiv:1707.02725",
    options=(
        replace(PRIMARY, default=4),
        replace(SECONDARY, default=32),
        WIDEN,
        replace(DEPTH, default=18, help="layers: 8 B + 2"),
        BLOCK,
        RESOLUTION,
        CLASSES,
        SEED,
    ),
    published=IGCV1_PUBLISHED,
)
def igcv1(
    *,
    primary: int = 4,
    secondary: int = 32,
    widen: str = "secondary",
    depth: int = 18,
    block: str = "igc",
    resolution: int = 224,
    classes: int = 1000,
    seed: int = 0,
) -> Graph:
    """IGCV1 for ImageNet: residual units of two interleaved blocks in four stages, 18 layers.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Raises ModelError for a depth that four
    stages cannot have. Source: arXiv:1707.02725, table 3, and the authors' three networks.
    """
    units = _stage_blocks(depth, 2 * IMAGENET_STAGES, f"{IMAGENET_STAGES} stages")
    parts = (
        "" if widen == "secondary" else "wide",
        "" if depth == 18 else f"d{depth}",
        "" if block == "igc" else block,
    )
    b = GraphBuilder(
        graph_name("igcv1", f"l{primary}m{secondary}", *parts, resolution), (1, resolution, resolution, 3), seed=seed
    )
    width = _width(primary, secondary)
    stem = primary if widen == "primary" else width
    x = conv_norm(b, "input", stem, 7, stride=2, padding=3, epsilon=EPSILON, name="stem")
    x = b.pool(x, "max_pool", 3, stride=2, padding=1, name="stem_pool")
    for stage in range(IMAGENET_STAGES):
        channels = width * 2**stage
        groups = primary * 2**stage if widen == "primary" else primary
        for i in range(units):
            stride = 2 if stage and not i else 1
            first, last = (Block(channels, s, groups if block == "igc" else 0, channels // groups) for s in (stride, 1))
            x = _residual(b, x, (first, last), 1 / (IMAGENET_STAGES * units), f"stage{stage + 1}_unit{i + 1}")
    return finish_classifier(b, pooled_dense(b, x, classes), TORCH, resolution)


@register(
    "igcv1_cifar",
    paper="arXiv:1707.02725",
    options=(PRIMARY, SECONDARY, DEPTH, SHORTCUT, CIFAR_BLOCK, CIFAR_RESOLUTION, CIFAR_CLASSES, SEED),
    published=IGCV1_CIFAR_PUBLISHED,
)
def igcv1_cifar(
    *,
    primary: int = 24,
    secondary: int = 2,
    depth: int = 20,
    shortcut: str = "plain",
    block: str = "igc",
    resolution: int = 32,
    classes: int = 10,
    seed: int = 0,
) -> Graph:
    """IGCV1 for CIFAR: three stages of width L M, 2 L M, 4 L M; M grows with the width, L stays.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. With shortcuts, the first block of a unit
    that doubles the width keeps the narrower secondary groups' number, as the authors' file does. block `sumfusion`, a
    reading of the paper's comparison, has L convolutions of M channels on M channels, and their sum: as many weights as
    a regular convolution of sqrt(L) M channels. Raises ModelError for a depth that three stages cannot have. Source:
    arXiv:1707.02725, table 1.
    """
    blocks = _stage_blocks(depth, LAYERS_PER_STEP[shortcut], "3 stages")
    parts = ("" if shortcut == "plain" else shortcut, "" if block == "igc" else block, resolution)
    b = GraphBuilder(
        graph_name("igcv1_cifar", f"l{primary}m{secondary}", f"d{depth}", *parts),
        (1, resolution, resolution, 3),
        seed=seed,
    )
    groups, summed = primary if block == "igc" else 0, primary if block == "sumfusion" else 1
    width = secondary if summed > 1 else _width(primary, secondary)
    x = conv_norm(b, "input", width, 3, padding=1, epsilon=EPSILON, name="stem")
    for stage in range(3):
        channels = width * 2**stage
        for i in range(blocks):
            stride, name = 2 if stage and not i else 1, f"stage{stage + 1}_block{i + 1}"
            last = Block(channels, 1, groups, channels // primary, summed)
            first = Block(channels, stride, groups, channels // primary // stride, summed)
            if shortcut == "plain":
                x = _igc(b, x, Block(channels, stride, groups, channels // primary, summed), name)
            else:
                x = _residual(b, x, (first, last), 1 / (3 * blocks), name)
    return finish_classifier(b, pooled_dense(b, x, classes), CIFAR, resolution)


def _residual(b: GraphBuilder, x: str, blocks: Sequence[Block], gain: float, name: str) -> str:
    """Two blocks and their input, projected (1x1, the primary groups) where the shape changes; ReLU after the sum."""
    first, last = blocks
    y = _igc(b, x, first, f"{name}_1")
    y = _igc(b, y, last, f"{name}_2", relu=False, gain=gain)
    if b.channels(x) != first.channels or first.stride > 1:
        x = conv_norm(
            b,
            x,
            first.channels,
            1,
            stride=first.stride,
            padding=0,
            groups=first.primary or 1,
            activation=None,
            epsilon=EPSILON,
            name=f"{name}_shortcut",
        )
    return b.activation(b.add(x, y, name=f"{name}_add"), "relu", name=f"{name}_relu")


def _igc(b: GraphBuilder, x: str, block: Block, name: str, *, relu: bool = True, gain: float = 2.0) -> str:
    """Primary 3x3 groups, permutation, secondary 1x1 groups, permutation, batch norm, ReLU; or 3x3 alone, summed up."""
    width, stride, edges = block.channels, block.stride, _edge_gain(b.shape(x)[1])
    if block.primary:
        x = b.conv2d(x, width, 3, stride=stride, padding=1, groups=block.primary, gain=edges, name=f"{name}_primary")
        x = _shuffle(b, x, block.primary, f"{name}_interleave")
        x = b.conv2d(x, width, 1, groups=block.secondary, gain=gain, name=f"{name}_secondary")
        x = _shuffle(b, x, block.secondary, f"{name}_restore")
    else:
        side_by_side = width * block.summed
        x = b.conv2d(
            x, side_by_side, 3, stride=stride, padding=1, gain=edges * gain / block.summed, name=f"{name}_conv"
        )
        parts = b.split(x, (width,) * block.summed, name=f"{name}_split") if block.summed > 1 else (x,)
        x = parts[0]
        for number, part in enumerate(parts[1:], start=2):
            x = b.add(x, part, name=f"{name}_sum{number}")
    x = b.batch_norm(x, epsilon=EPSILON, name=f"{name}_bn")
    return b.activation(x, "relu", name=f"{name}_relu") if relu else x


def _edge_gain(size: int) -> float:
    """What 3x3 windows over a map of that size lose to the zeros around it, made good: 8x8 maps lose a sixth each time,
    and without shortcuts 60 layers of random weights would leave nothing for the classifier.
    """
    return (3 * size / (3 * size - 2)) ** 2


def _shuffle(b: GraphBuilder, x: str, groups: int, name: str) -> str:
    """Position p reads channel (p mod groups) (C / groups) + p div groups; left out where that is the identity."""
    return x if groups in (1, b.channels(x)) else b.channel_shuffle(x, groups, name=name)


def _width(primary: int, secondary: int) -> int:
    """L M. Raises ModelError where that is more than any machine holds."""
    if primary * secondary > MAX_WIDTH:
        raise ModelError(
            f"primary {primary} x secondary {secondary} is {primary * secondary} channels; {MAX_WIDTH} are the most"
        )
    return primary * secondary


def _stage_blocks(depth: int, step: int, stages: str) -> int:
    """Blocks (or units) a stage. Raises ModelError where the depth is not 2 more than a multiple of `step`."""
    blocks, rest = divmod(depth - 2, step)
    if rest or blocks < 1:
        legal = nearest(depth, (step * n + 2 for n in range(1, 1 + 2000 // step)))
        raise ModelError(f"depth {depth} does not fill {stages} evenly: it is not {step} B + 2; nearest: {legal}")
    return blocks

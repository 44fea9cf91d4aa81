"""IGCV3: MobileNet V2's inverted residuals with grouped 1x1 convolutions, interleaved by a permutation.

Structures: arXiv:1806.00178, table 1, and the authors' networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from edgekit.data.preprocess import TORCH
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.conv_norm import conv_norm
from edgekit.zoo.heads import finish_classifier, pooled_dense
from edgekit.zoo.igc_conditions import check_loose
from edgekit.zoo.igc_published import IGCV3_PUBLISHED
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import ALPHA, CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import register

STEM, TAIL = 32, 1280

ADDED_GAIN = 0.05
"""Of the random projections that are added up, instead of 1: with up to eight sums in a row of blocks, what int8 rounds
off grew until the cosine with float fell as low as 0.78 (64x64 images); with this it is 0.996 or more."""

Row = tuple[int, int, int, int]

ROWS: Mapping[str, tuple[Row, ...]] = MappingProxyType(
    {
        "d": (
            (1, 16, 1, 1),
            (6, 24, 4, 2),
            (6, 32, 6, 2),
            (6, 64, 8, 2),
            (6, 96, 6, 1),
            (6, 160, 6, 2),
            (6, 320, 1, 1),
        ),
        "w": (
            (1, 32, 1, 1),
            (6, 48, 2, 2),
            (6, 64, 3, 2),
            (6, 128, 4, 2),
            (6, 192, 3, 1),
            (6, 320, 3, 2),
            (6, 640, 1, 1),
        ),
    }
)
"""(expansion, channels, repeats, stride of the first): deeper or wider than MobileNet V2."""

GROUPS: Mapping[str, int] = MappingProxyType({"d": 2, "w": 4})
"""G1 = G2 of a variant, unless asked for otherwise (arXiv:1806.00178, section 4.1)."""


def even(value: float) -> int:
    """`value` rounded, and 1 more where that is odd; at least 2."""
    rounded = round(value)
    return max(2, rounded + rounded % 2)


def author_expanded(width: int, alpha: float) -> int:
    """Width that the authors' code expands in the first block of a row: multiplied by alpha once more."""
    scaled = round(width * alpha)
    return width + 1 if scaled % 2 else max(2, scaled)


def _kept(width: int, alpha: float) -> int:
    return width


EXPANDED: Mapping[str, Callable[[int, float], int]] = MappingProxyType({"clean": _kept, "author": author_expanded})
"""From a row's input width and alpha to the width that its first block expands."""

VARIANT = Option("variant", str, "d", "d: deeper than MobileNet V2; w: wider", choices=("d", "w"))
GROUPS1 = Option("groups1", int, 0, "G1: groups of the expanding 1x1 (0: 2 for d, 4 for w)", least=0, most=64)
GROUPS2 = Option("groups2", int, 0, "G2: groups of the projecting 1x1 (0: 2 for d, 4 for w)", least=0, most=64)
WIDTHS = Option(
    "widths", str, "clean", "author: as the authors' code, which applies alpha twice in a row's first block",
    choices=("clean", "author"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Block:
    """Widths of one block: what it reads, filters per channel and puts out. added: to what it reads."""

    name: str
    inputs: int
    middle: int
    outputs: int
    stride: int
    added: bool


@register(
    "igcv3",
    paper="arXiv:1806.00178",
    options=(VARIANT, ALPHA, GROUPS1, GROUPS2, WIDTHS, RESOLUTION, CLASSES, SEED),
    published=IGCV3_PUBLISHED,
)
def igcv3(
    *,
    variant: str = "d",
    alpha: float = 1.0,
    groups1: int = 0,
    groups2: int = 0,
    widths: str = "clean",
    resolution: int = 224,
    classes: int = 1000,
    seed: int = 0,
) -> Graph:
    """IGCV3: inverted residuals whose 1x1 convolutions have groups; -D is deeper, -W wider than MobileNet V2.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Every width is even. Raises ModelError
    where the groups do not divide a width (the loose complementary condition). Source: arXiv:1806.00178, table 1.
    """
    groups = (groups1 or GROUPS[variant], groups2 or GROUPS[variant])
    blocks = _blocks(variant, alpha, widths)
    _check_groups(blocks, groups)
    shares = "" if groups == (GROUPS[variant],) * 2 else "g" + "_".join(map(str, groups))
    name = graph_name("igcv3", variant, alpha, shares, "" if widths == "clean" else widths, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = conv_norm(b, "input", even(STEM * alpha), 3, stride=2, padding=1, activation="relu6", name="stem")
    for block in blocks:
        y = _block(b, x, block, groups)
        x = b.add(x, y, name=f"{block.name}_add") if block.added else y
    x = conv_norm(b, x, _tail(alpha, widths), 1, activation="relu6", name="tail")
    return finish_classifier(b, pooled_dense(b, x, classes), TORCH, resolution)


def _blocks(variant: str, alpha: float, widths: str) -> list[Block]:
    """All blocks of a network."""
    blocks, inputs = list[Block](), even(STEM * alpha)
    for row, (expansion, channels, repeats, stride) in enumerate(ROWS[variant], start=1):
        for i in range(repeats):
            base = EXPANDED[widths](inputs, alpha) if i == 0 and row > 1 else inputs
            outputs = even(channels * alpha)
            blocks.append(Block(f"row{row}_block{i + 1}", inputs, expansion * base, outputs, 1 if i else stride, i > 0))
            inputs = outputs
    return blocks


def _check_groups(blocks: Sequence[Block], groups: tuple[int, int]) -> None:
    """Raise ModelError where G1 or G2 divides not all widths around its convolutions, naming numbers that do."""
    first = [w for block in blocks for w in (block.inputs, block.middle)]
    last = [w for block in blocks for w in (block.middle, block.outputs)]
    for block in blocks:
        check_loose(block.inputs, groups[:1], f"layer {block.name}_expand", first)
        check_loose(block.middle, groups[:1], f"layer {block.name}_depthwise", first)
        check_loose(block.middle, groups[1:], f"layer {block.name}_depthwise", last)
        check_loose(block.outputs, groups[1:], f"layer {block.name}_project", last)


def _block(b: GraphBuilder, x: str, block: Block, groups: tuple[int, int]) -> str:
    """Grouped expansion, permutation, depthwise 3x3 with ReLU6, grouped projection; no activation but that one."""
    name, middle = block.name, block.middle
    x = conv_norm(b, x, middle, 1, groups=groups[0], activation=None, name=f"{name}_expand")
    if 1 < groups[0] < middle:
        x = b.channel_shuffle(x, groups[0], name=f"{name}_permute")
    layer = f"{name}_depthwise"
    x = conv_norm(b, x, middle, 3, stride=block.stride, padding=1, groups=middle, activation="relu6", name=layer)
    gain = ADDED_GAIN if block.added else 1.0
    return conv_norm(b, x, block.outputs, 1, groups=groups[1], activation=None, gain=gain, name=f"{name}_project")


def _tail(alpha: float, widths: str) -> int:
    """Channels of the last 1x1: it grows with alpha, but never shrinks."""
    if alpha <= 1:
        return TAIL
    return int(TAIL * alpha) + 1 if widths == "author" else even(TAIL * alpha)

"""SqueezeNext: separable pairs of 1x3 and 3x1 convolutions behind two squeezing ones.

Structure: arXiv:1803.10615, figures 1 and 2, and its authors' Caffe files. Every convolution is followed by batch norm
and ReLU, the last one of a block and its shortcut too; neither they nor the classifier have a bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgekit.data.preprocess import TORCH
from edgekit.errors import ModelError
from edgekit.graph.builder import CLASSIFIER_GAIN, GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.conv_norm import conv_norm
from edgekit.zoo.heads import finish_classifier
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import ALPHA, CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import register
from edgekit.zoo.squeeze_published import SQUEEZENEXT_PUBLISHED

SECTION_WIDTHS = (32, 64, 128, 256)
STEM_WIDTH, TAIL_WIDTH = 64, 128
"""First and last convolution: alpha leaves them alone, in the authors' files and by the paper's parameter counts."""

VERTICAL, HORIZONTAL = ((3, 1), (1, 1, 0, 0)), ((1, 3), (0, 0, 1, 1))
"""Kernel and padding (top, bottom, left, right) of the separable pair."""


@dataclass(frozen=True, slots=True)
class Version:
    """blocks: in each of the four sections. shared_transition: the 1x1 convolution that begins a section feeds
    both the shortcut and the block; otherwise each has its own.
    """

    blocks: tuple[int, int, int, int]
    stem_kernel: int = 7
    shared_transition: bool = False


VERSIONS = {
    "23": Version((6, 6, 8, 1)),
    "23v5": Version((2, 4, 14, 1), stem_kernel=5, shared_transition=True),
    # Readings: the blocks of 34 and 44 were never printed; 1.5 and 2 times those of 23 come nearest to the parameters.
    "34": Version((9, 9, 12, 2)),
    "44": Version((12, 12, 16, 2)),
}

OPTIONS = (
    Option("version", str, "23", "layout: layers, and v5 for fewer blocks on large maps", choices=(*VERSIONS,)),
    Option("groups", int, 1, "groups of the first 1x1 and of the separable convolutions", least=1, most=64),
    ALPHA,
    replace(RESOLUTION, default=227),
    CLASSES,
    SEED,
)


@register("squeezenext", paper="arXiv:1803.10615", options=OPTIONS, published=SQUEEZENEXT_PUBLISHED)
def squeezenext(
    *,
    version: str = "23",
    groups: int = 1,
    alpha: float = 1.0,
    resolution: int = 227,
    classes: int = 1000,
    seed: int = 0,
) -> Graph:
    """SqueezeNext: two squeezing 1x1 convolutions, a separable 3x3 pair, one expanding.

    alpha scales the four sections' widths 32, 64, 128 and 256. Input (1, resolution, resolution, 3), output
    (1, classes) probabilities. Raises ModelError where a section's width is not a multiple of 4 * groups.
    Source: arXiv:1803.10615, figures 1 and 2, tables 1 and 2.
    """
    rows = VERSIONS[version]
    widths = _section_widths(alpha, groups)
    name = graph_name("squeezenext", version, f"g{groups}" if groups > 1 else "", alpha, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = conv_norm(b, "input", STEM_WIDTH, rows.stem_kernel, stride=2, padding="valid", name="conv1")
    x = b.pool(x, "max_pool", 3, stride=2, ceil=True, name="pool1")
    pair = (VERTICAL, HORIZONTAL)
    gain = 1 / sum(rows.blocks)  # a ReLU follows each sum, so random features would double with every block
    for section, (width, repeats) in enumerate(zip(widths, rows.blocks, strict=True), start=1):
        for number in range(1, repeats + 1):
            name = f"section{section}_{number}"
            stride = 2 if section > 1 and number == 1 else 1
            projected = number == 1
            if projected and rows.shared_transition:
                x = conv_norm(b, x, width, 1, stride=stride, name=f"{name}/transition")
                projected, stride = False, 1
            x = _block(b, x, width, stride, groups, pair, projected, gain, name)
            pair = (pair[1], pair[0])
    x = conv_norm(b, x, TAIL_WIDTH, 1, name="conv_last")
    x = b.global_avg_pool(x, name="pool")
    x = b.dense(x, classes, bias=False, gain=CLASSIFIER_GAIN**2, name="logits")
    return finish_classifier(b, x, TORCH, resolution)


def _block(
    b: GraphBuilder,
    x: str,
    width: int,
    stride: int,
    groups: int,
    pair: Sequence[tuple[tuple[int, int], tuple[int, int, int, int]]],
    projected: bool,
    gain: float,
    name: str,
) -> str:
    """Halve, quarter, filter along both axes, expand to `width`; add the input, by a 1x1 convolution if `projected`."""
    y = conv_norm(b, x, width // 2, 1, stride=stride, groups=groups, name=f"{name}/reduce")
    y = conv_norm(b, y, width // 4, 1, name=f"{name}/squeeze")
    for kernel, padding in pair:
        layer = f"{name}/conv{kernel[0]}x{kernel[1]}"
        y = conv_norm(b, y, width // 2, kernel, padding=padding, groups=groups, name=layer)
    y = conv_norm(b, y, width, 1, gain=gain, name=f"{name}/expand")
    shortcut = conv_norm(b, x, width, 1, stride=stride, gain=1.0, name=f"{name}/shortcut") if projected else x
    return b.activation(b.add(shortcut, y, name=f"{name}/add"), "relu", name=f"{name}/relu")


def _section_widths(alpha: float, groups: int) -> tuple[int, ...]:
    """The sections' widths. Raises ModelError where a quarter of the first does not divide into the groups."""
    least = 4 * groups
    if STEM_WIDTH % groups:
        raise ModelError(
            f"{groups} groups do not divide the {STEM_WIDTH} channels of the first convolution; {_powers()}"
        )
    width = SECTION_WIDTHS[0] * alpha
    if not math.isclose(width / least, round(width / least), abs_tol=1e-6) or round(width / least) < 1:
        below = math.floor(width / least) * least
        legal = [w for w in (below, below + least) if w > 0]
        text = " or ".join(f"{w / SECTION_WIDTHS[0]:g} ({w} channels)" for w in legal)
        raise ModelError(
            f"alpha {alpha:g} makes the first section {width:g} channels wide, which is no multiple of 4 x {groups} "
            f"groups; give alpha {text}"
        )
    return tuple(round(w * alpha) for w in SECTION_WIDTHS)


def _powers() -> str:
    return "give 1, 2, 4, 8, 16, 32 or 64"

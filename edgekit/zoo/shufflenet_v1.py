"""ShuffleNet V1: grouped 1x1 convolutions, and a channel shuffle that lets the groups talk.

Structure: arXiv:1707.01083, figure 2 and table 1; where the paper is silent, the authors' widths.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgekit.data.preprocess import TORCH
from edgekit.errors import ModelError
from edgekit.graph.builder import CLASSIFIER_GAIN, GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.conv_norm import conv_norm, depthwise_norm
from edgekit.zoo.heads import finish_classifier
from edgekit.zoo.legal import nearest
from edgekit.zoo.naming import graph_name, if_on
from edgekit.zoo.options import ALPHA, CLASSES, RESOLUTION, SEED, SHALLOW, Option
from edgekit.zoo.registry import register
from edgekit.zoo.shufflenet_published import V1_PUBLISHED

STAGE2_WIDTHS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
"""Channels of stage 2 by number of groups; every stage doubles them."""

UNITS, SHALLOW_UNITS = (4, 8, 4), (2, 4, 2)
STEM_WIDTH = 24
BRANCH_GAIN = 0.25
"""Of a unit's last convolution: a ReLU follows each sum, so random features would grow with every unit."""

CUT = 1e-3
"""Widths are cut off to integers, but a width multiplier printed with a few digits still makes its width."""

OPTIONS = (
    Option("groups", int, 3, "groups of the 1x1 convolutions: 1, 2, 3, 4 or 8", least=1, most=8),
    ALPHA,
    replace(SHALLOW, help="half of the units, as in the paper's comparison"),
    Option("stem", int, 0, "channels of the first convolution (0: the authors' for alpha)", least=0, most=1024),
    Option("classifier_bias", str, "off", "bias of the classifier; the authors have none", choices=("off", "on")),
    RESOLUTION,
    CLASSES,
    SEED,
)


@dataclass(frozen=True, slots=True)
class Widths:
    """Channels of the first convolution and of stage 2."""

    stem: int
    stage2: int

    def fit(self, groups: int) -> bool:
        """Whether every grouped convolution has as many channels in each group."""
        return self.stage2 > self.stem and self.stage2 % groups == 0 and (self.stage2 - self.stem) % groups == 0


@register("shufflenet_v1", paper="arXiv:1707.01083", options=OPTIONS, published=V1_PUBLISHED)
def shufflenet_v1(
    *,
    groups: int = 3,
    alpha: float = 1.0,
    shallow: str = "off",
    stem: int = 0,
    classifier_bias: str = "off",
    resolution: int = 224,
    classes: int = 1000,
    seed: int = 0,
) -> Graph:
    """ShuffleNet V1: grouped 1x1 convolutions with channel shuffle.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. The first convolution has 24 channels for
    alpha from 1 to below 2, else int(24 * alpha), up to a multiple of the groups; a unit's inner width is a quarter of
    its outer one, up to a multiple of the groups. Raises ModelError for a number of groups that the paper has no widths
    for, and for widths that the groups do not divide. Source: arXiv:1707.01083, figure 2 and table 1.
    """
    widths = _widths(groups, alpha, stem)
    parts = (if_on(shallow, "shallow"), f"stem{stem}" if stem else "", if_on(classifier_bias, "bias"))
    name = graph_name("shufflenet_v1", f"g{groups}", alpha, *parts, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = conv_norm(b, "input", widths.stem, 3, stride=2, padding=1, name="conv1")
    x = b.pool(x, "max_pool", 3, stride=2, padding=1, name="pool1")
    for stage, units in enumerate(SHALLOW_UNITS if shallow == "on" else UNITS, start=2):
        width = widths.stage2 * 2 ** (stage - 2)
        for number in range(1, units + 1):
            x = _unit(b, x, width, groups, f"stage{stage}_{number}")
    x = b.global_avg_pool(x, name="pool")
    x = b.dense(x, classes, bias=classifier_bias == "on", gain=CLASSIFIER_GAIN**2, name="logits")
    return finish_classifier(b, x, TORCH, resolution)


def _unit(b: GraphBuilder, x: str, width: int, groups: int, name: str) -> str:
    """Squeeze in groups, shuffle, filter per channel, expand in groups; join with the input.

    The first unit of a stage halves the map and puts its own channels beside the pooled input's; the others add.
    """
    down = name.endswith("_1")
    inner = _round_up(max(width // 4, 1), groups)
    y = conv_norm(b, x, inner, 1, groups=1 if name == "stage2_1" else groups, name=f"{name}/compress")
    if groups > 1:
        y = b.channel_shuffle(y, groups, name=f"{name}/shuffle")
    y = depthwise_norm(b, y, 3, stride=2 if down else 1, padding=1, name=f"{name}/depthwise")
    own = width - b.channels(x) if down else width
    gain = 1.0 if down else BRANCH_GAIN
    y = conv_norm(b, y, own, 1, groups=groups, activation=None, gain=gain, name=f"{name}/expand")
    if down:
        # The mean counts the zeros of the padding, as in the authors' code.
        padded = b.pad(x, (1, 1, 1, 1), name=f"{name}/pad")
        y = b.concat([y, b.pool(padded, "avg_pool", 3, stride=2, name=f"{name}/pool")], name=f"{name}/concat")
    else:
        y = b.add(x, y, name=f"{name}/add")
    return b.activation(y, "relu", name=f"{name}/relu")


def _widths(groups: int, alpha: float, stem: int) -> Widths:
    """The widths. Raises ModelError, with the nearest legal numbers, where the groups do not divide them."""
    if groups not in STAGE2_WIDTHS:
        raise ModelError(f"ShuffleNet V1 has no widths for {groups} groups; give {nearest(groups, STAGE2_WIDTHS)}")
    base = STAGE2_WIDTHS[groups]
    widths = Widths(stem or _stem_width(alpha, groups), int(base * alpha + CUT))
    if not widths.fit(groups):
        raise ModelError(
            f"alpha {alpha:g} gives a first convolution of {widths.stem} and a stage 2 of {widths.stage2} channels: "
            f"{groups} groups divide not both {widths.stage2} and the {widths.stage2 - widths.stem} between them; "
            f"{_remedy(widths, groups, stem)}"
        )
    return widths


def _remedy(widths: Widths, groups: int, stem: int) -> str:
    base = STAGE2_WIDTHS[groups]
    if stem % groups:
        return f"give stem {nearest(stem, range(groups, base, groups))}"

    def first_legal(candidates: Iterable[int]) -> list[str]:
        for width in candidates:
            if Widths(stem or _stem_width(width / base, groups), width).fit(groups):
                return [f"{width / base:.7g} ({width} channels)"]
        return []

    below = first_legal(range(widths.stage2 - 1, 0, -1))
    above = first_legal(range(widths.stage2 + 1, int(ALPHA.most * base) + 1))
    return f"give alpha {' or '.join(below + above)}"


def _stem_width(alpha: float, groups: int) -> int:
    scaled = STEM_WIDTH if 1 <= alpha < 2 else int(STEM_WIDTH * alpha + CUT)
    return _round_up(max(scaled, 1), groups)


def _round_up(channels: int, groups: int) -> int:
    return -(-channels // groups) * groups

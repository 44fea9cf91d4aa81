"""ShuffleNet V2: channel split instead of grouped convolutions.

Structure: arXiv:1807.11164, figure 3 and table 5. Two readings of the unit that halves the map are about: the authors'
code keeps the input's channels on the left and makes the new ones on the right, which gives the paper's multiply-adds;
torchvision makes half of them on either side.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.data.preprocess import TORCH
from edgekit.errors import ModelError
from edgekit.graph.builder import CLASSIFIER_GAIN, GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.conv_norm import GATED_GAIN, conv_norm, depthwise_norm, squeeze_excite
from edgekit.zoo.heads import finish_classifier
from edgekit.zoo.naming import graph_name, if_on
from edgekit.zoo.options import ALPHA, CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import register
from edgekit.zoo.shufflenet_published import V2_PUBLISHED

REDUCTION = 16
"""Of squeeze-excite. The paper names none; 16 is the one of arXiv:1709.01507."""


RESIDUAL_GAIN = 0.5
"""Of the branches that are added up, instead of 2: sums of random features would grow with every unit."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Channels of the first convolution, channels and units of each stage, channels of the last convolution.

    first_stride: of the first unit of the first stage.
    """

    stem: int
    widths: tuple[int, ...]
    units: tuple[int, ...]
    tail: int
    first_stride: int = 2


STANDARD = {
    0.5: Layout(24, (48, 96, 192), (4, 8, 4), 1024),
    1.0: Layout(24, (116, 232, 464), (4, 8, 4), 1024),
    1.5: Layout(24, (176, 352, 704), (4, 8, 4), 1024),
    2.0: Layout(24, (244, 488, 976), (4, 8, 4), 2048),
}
"""By alpha: the widths are a table, not multiples."""

DEPTH_50 = Layout(64, (244, 488, 976, 1952), (3, 4, 6, 3), 2048, first_stride=1)

OPTIONS = (
    ALPHA,
    Option(
        "unit", str, "megvii", "unit that halves the map: the authors' or PyTorch's", choices=("megvii", "torchvision")
    ),
    Option("depth", str, "standard", "50: the large network of table 6", choices=("standard", "50")),
    Option("squeeze_excite", str, "off", "squeeze-excite in every unit", choices=("off", "on")),
    Option("residual", str, "off", "add the right half's input to its output", choices=("off", "on")),
    Option(
        "classifier_bias",
        str,
        "auto",
        "bias of the classifier (auto: as in the unit's code)",
        choices=("auto", "off", "on"),
    ),
    RESOLUTION,
    CLASSES,
    SEED,
)


@dataclass(frozen=True, slots=True)
class _Unit:
    """Settings of every unit."""

    left_keeps_input: bool
    excite: bool
    residual: bool


@register("shufflenet_v2", paper="arXiv:1807.11164", options=OPTIONS, published=V2_PUBLISHED)
def shufflenet_v2(
    *,
    alpha: float = 1.0,
    unit: str = "megvii",
    depth: str = "standard",
    squeeze_excite: str = "off",
    residual: str = "off",
    classifier_bias: str = "auto",
    resolution: int = 224,
    classes: int = 1000,
    seed: int = 0,
) -> Graph:
    """ShuffleNet V2: units that split the channels, and shuffle after joining them.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Raises ModelError for an alpha that the
    paper has no widths for. Source: arXiv:1807.11164, figure 3, table 5 and the appendix.
    """
    layout = _layout(alpha, depth)
    settings = _Unit(unit == "megvii", squeeze_excite == "on", residual == "on")
    size = alpha if depth == "standard" else f"l{depth}"
    extras = (if_on(squeeze_excite, "se"), if_on(residual, "residual"))
    head = "" if classifier_bias == "auto" else f"bias_{classifier_bias}"
    reading = "" if unit == "megvii" else unit
    name = graph_name("shufflenet_v2", size, reading, *extras, head, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = conv_norm(b, "input", layout.stem, 3, stride=2, padding=1, name="conv1")
    x = b.pool(x, "max_pool", 3, stride=2, padding=1, name="pool1")
    for stage, (width, units) in enumerate(zip(layout.widths, layout.units, strict=True), start=2):
        stride = layout.first_stride if stage == 2 else 2
        x = _widening_unit(b, x, width, stride, settings, f"stage{stage}_1")
        for number in range(2, units + 1):
            x = _splitting_unit(b, x, settings, f"stage{stage}_{number}")
    x = conv_norm(b, x, layout.tail, 1, name="conv5")
    x = b.global_avg_pool(x, name="pool")
    bias = unit == "torchvision" if classifier_bias == "auto" else classifier_bias == "on"
    x = b.dense(x, classes, bias=bias, gain=(2 * CLASSIFIER_GAIN) ** 2, name="logits")
    return finish_classifier(b, x, TORCH, resolution)


def _widening_unit(b: GraphBuilder, x: str, width: int, stride: int, settings: _Unit, name: str) -> str:
    """Both branches read all channels; what they put out lies side by side, shuffled."""
    kept = b.channels(x) if settings.left_keeps_input else width // 2
    right = _right_branch(b, x, width // 2, width - kept, stride, settings, name)
    left = depthwise_norm(b, x, 3, stride=stride, padding=1, name=f"{name}/left_depthwise")
    left = conv_norm(b, left, kept, 1, name=f"{name}/left_pointwise")
    return _join(b, left, right, name)


def _splitting_unit(b: GraphBuilder, x: str, settings: _Unit, name: str) -> str:
    """One half of the channels passes, the other goes through the branch."""
    half = b.channels(x) // 2
    left, right = b.split(x, (half, half), name=f"{name}/split")
    y = _right_branch(b, right, half, half, 1, settings, name)
    if settings.residual:
        y = b.add(right, y, name=f"{name}/add")
    return _join(b, left, y, name)


def _right_branch(b: GraphBuilder, x: str, inner: int, filters: int, stride: int, settings: _Unit, name: str) -> str:
    x = conv_norm(b, x, inner, 1, name=f"{name}/right_reduce")
    x = depthwise_norm(b, x, 3, stride=stride, padding=1, name=f"{name}/right_depthwise")
    gain = (GATED_GAIN if settings.excite else 1.0) * (RESIDUAL_GAIN if settings.residual else 2.0)
    x = conv_norm(b, x, filters, 1, gain=gain, name=f"{name}/right_expand")
    if settings.excite:
        x = squeeze_excite(b, x, max(filters // REDUCTION, 1), "sigmoid", prefix=f"{name}/squeeze_excite_")
    return x


def _join(b: GraphBuilder, left: str, right: str, name: str) -> str:
    return b.channel_shuffle(b.concat([left, right], name=f"{name}/concat"), 2, name=f"{name}/shuffle")


def _layout(alpha: float, depth: str) -> Layout:
    """The table's row. Raises ModelError where there is none."""
    if depth == "50":
        if alpha != 1:
            raise ModelError(f"the 50-layer ShuffleNet V2 has one width; give alpha 1 instead of {alpha:g}")
        return DEPTH_50
    if alpha not in STANDARD:
        below, above = [a for a in STANDARD if a < alpha], [a for a in STANDARD if a > alpha]
        near = " or ".join(f"{a:g}" for a in (*below[-1:], *above[:1]))
        raise ModelError(f"ShuffleNet V2 has no widths for alpha {alpha:g}; give {near}")
    return STANDARD[alpha]

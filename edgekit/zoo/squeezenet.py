"""SqueezeNet: fire modules, bypasses and the design space of its metaparameters.

Structure: arXiv:1602.07360, table 1 and figure 2; layer names are those of its authors' Caffe files. No batch norm:
every convolution has a bias and a ReLU after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgekit.data.preprocess import TORCH
from edgekit.errors import ModelError
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.heads import finish_classifier
from edgekit.zoo.legal import nearest
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import register
from edgekit.zoo.squeeze_published import SQUEEZENET_PUBLISHED

FIRES = 8
BYPASSED_GAIN = 0.5
"""Of the layers that a bypass adds up, instead of 2: sums of random features would double with every module."""

LOGITS_GAIN = 60.0
"""Of conv10: its ReLU and its average over the map leave little of the logits' spread."""


@dataclass(frozen=True, slots=True)
class Version:
    """What the versions differ in: the first convolution, and the fire modules (2 to 9) that a max pool follows."""

    kernel: int
    channels: int
    pool_after: tuple[int, ...]


VERSIONS = {"1.0": Version(7, 96, (4, 8)), "1.1": Version(3, 64, (3, 5))}
BYPASSES = ("none", "simple", "complex", "complex_all")

OPTIONS = (
    Option(
        "version", str, "1.0", "1.0 as in the paper, or 1.1: the same accuracy, fewer operations", choices=(*VERSIONS,)
    ),
    Option("bypass", str, "none", "connections around the fire modules", choices=BYPASSES),
    Option("base_e", int, 128, "channels that the first fire module puts out", least=2, most=4096),
    Option("freq", int, 2, "fire modules after which that number grows", least=1, most=FIRES),
    Option("incr_e", int, 128, "channels that it grows by", least=0, most=4096),
    Option("pct_3x3", float, 0.5, "share of 3x3 filters in the expand layers", least=0, most=1, above=True),
    Option("sr", float, 0.125, "squeeze ratio: channels of squeeze to expand layers", least=0, most=1, above=True),
    Option("conv10_padding", int, 0, "zeros around conv10: 1 in the authors' file of 1.0", least=0, most=1),
    replace(RESOLUTION, default=227),
    CLASSES,
    SEED,
)


@dataclass(frozen=True, slots=True)
class Fire:
    """Channels of one fire module: squeeze layer, 1x1 and 3x3 expand layers."""

    squeeze: int
    expand1x1: int
    expand3x3: int


@register("squeezenet", paper="arXiv:1602.07360", options=OPTIONS, published=SQUEEZENET_PUBLISHED)
def squeezenet(
    *,
    version: str = "1.0",
    bypass: str = "none",
    base_e: int = 128,
    freq: int = 2,
    incr_e: int = 128,
    pct_3x3: float = 0.5,
    sr: float = 0.125,
    conv10_padding: int = 0,
    resolution: int = 227,
    classes: int = 1000,
    seed: int = 0,
) -> Graph:
    """SqueezeNet: fire modules that squeeze the channels before the 3x3 filters.

    Fire module i = 0..7 puts out e_i = base_e + incr_e * (i // freq) channels, pct_3x3 of them by 3x3 filters, from
    sr * e_i squeezed ones; fractions are cut off. bypass: `simple` adds the input of fire 3, 5, 7 and 9 to their
    output, `complex` also that of fire 2, 4, 6 and 8 through a 1x1 convolution, `complex_all` has that convolution
    around all eight. Input (1, resolution, resolution, 3), output (1, classes) probabilities. Raises ModelError for
    metaparameters that leave a layer without channels or a bypass between unequal widths.
    Source: arXiv:1602.07360, table 1 and sections 5 and 6.
    """
    rows = VERSIONS[version]
    fires = [_fire(i, base_e + incr_e * (i // freq), pct_3x3, sr) for i in range(FIRES)]
    _check_bypass(bypass, freq, incr_e)
    shape = "" if (base_e, freq, incr_e) == (128, 2, 128) else f"e{base_e}f{freq}i{incr_e}"
    ratios = "" if (pct_3x3, sr) == (0.5, 0.125) else f"pct{pct_3x3:g}_sr{sr:g}"
    padded = "pad" if conv10_padding else ""
    name = graph_name("squeezenet", version, "" if bypass == "none" else bypass, shape, ratios, padded, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = b.conv2d("input", rows.channels, rows.kernel, stride=2, padding="valid", bias=True, name="conv1")
    x = b.activation(x, "relu", name="relu_conv1")
    x = b.pool(x, "max_pool", 3, stride=2, ceil=True, name="pool1")
    for number, fire in enumerate(fires, start=2):
        x = _bypassed_fire(b, x, fire, bypass, number)
        if number in rows.pool_after:
            x = b.pool(x, "max_pool", 3, stride=2, ceil=True, name=f"pool{number}")
    x = b.dropout(x, 0.5, name="drop9")
    x = b.conv2d(x, classes, 1, padding=conv10_padding, bias=True, gain=LOGITS_GAIN, name="conv10")
    x = b.activation(x, "relu", name="relu_conv10")
    return finish_classifier(b, b.global_avg_pool(x, name="pool10"), TORCH, resolution)


def _bypassed_fire(b: GraphBuilder, x: str, fire: Fire, bypass: str, number: int) -> str:
    identity = number % 2 == 1 and bypass in ("simple", "complex")
    if not identity and bypass not in ("complex", "complex_all"):
        return _fire_module(b, x, fire, 2.0, f"fire{number}")
    y = _fire_module(b, x, fire, BYPASSED_GAIN, f"fire{number}")
    if not identity:
        width = fire.expand1x1 + fire.expand3x3
        x = b.conv2d(x, width, 1, bias=True, gain=BYPASSED_GAIN, name=f"fire{number}/bypass")
    return b.add(x, y, name=f"fire{number}/add")


def _fire_module(b: GraphBuilder, x: str, fire: Fire, gain: float, name: str) -> str:
    """Squeeze by 1x1, expand by 1x1 and by 3x3 side by side, join in that order."""
    x = b.conv2d(x, fire.squeeze, 1, bias=True, name=f"{name}/squeeze1x1")
    x = b.activation(x, "relu", name=f"{name}/relu_squeeze1x1")
    small = b.conv2d(x, fire.expand1x1, 1, bias=True, gain=gain, name=f"{name}/expand1x1")
    small = b.activation(small, "relu", name=f"{name}/relu_expand1x1")
    large = b.conv2d(x, fire.expand3x3, 3, padding=1, bias=True, gain=gain, name=f"{name}/expand3x3")
    large = b.activation(large, "relu", name=f"{name}/relu_expand3x3")
    return b.concat([small, large], name=f"{name}/concat")


def _fire(index: int, width: int, pct_3x3: float, sr: float) -> Fire:
    """The channels of a module that puts out `width`. Raises ModelError where one of its layers has none."""
    expand3x3, squeeze = int(width * pct_3x3), int(width * sr)
    name = f"fire{index + 2}"
    if not 1 <= expand3x3 < width:
        raise ModelError(
            f"pct_3x3 {pct_3x3:g} splits the {width} channels of {name} into {width - expand3x3} for its 1x1 and "
            f"{expand3x3} for its 3x3 filters; give a share from {1 / width:.4g} to below 1"
        )
    if squeeze < 1:
        raise ModelError(
            f"sr {sr:g} squeezes the {width} channels of {name} to none; give at least {1 / width:.6g}, i.e. 1 channel"
        )
    return Fire(squeeze, width - expand3x3, expand3x3)


def _check_bypass(bypass: str, freq: int, incr_e: int) -> None:
    """Raise ModelError unless fire 3, 5, 7 and 9 are as wide as what they read, where it is added to them."""
    if bypass not in ("simple", "complex") or incr_e == 0:
        return
    uneven = next((i for i in range(1, FIRES, 2) if i // freq != (i - 1) // freq), None)
    if uneven is not None:
        even = nearest(freq, range(2, FIRES + 1, 2))
        raise ModelError(
            f"bypass {bypass} adds what fire{uneven + 2} reads to what it puts out, but with freq {freq} that is "
            f"{incr_e} channels wider; give freq {even}, or bypass complex_all"
        )

"""MobileNet V3 as Keras builds it: layer names, padding and epsilon included, so that its weights fit.

Structure: arXiv:1905.02244, tables 1 and 2. PyTorch's port has the same layers and pads symmetrically.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from edgekit.data.preprocess import KERAS_TF
from edgekit.graph.builder import CLASSIFIER_GAIN, GraphBuilder, Padding
from edgekit.graph.ir import Graph
from edgekit.zoo.conv_norm import GATED_GAIN, conv_norm, squeeze_excite
from edgekit.zoo.heads import finish_classifier
from edgekit.zoo.mobilenet import make_divisible
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import ALPHA, CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import Published, register

EPSILON = 1e-3
SCALE = 12.0
"""Of random features. A hard swish halves small numbers and keeps large ones: at this size it fades them no more."""


class Row(NamedTuple):
    """One inverted residual. expansion: of its input's channels. excite: whether it has squeeze-excite."""

    kernel: int
    expansion: float
    channels: int
    excite: bool
    activation: str
    stride: int


RE, HS = "relu", "hard_swish"

SMALL = (
    Row(3, 1, 16, True, RE, 2),
    Row(3, 72 / 16, 24, False, RE, 2),
    Row(3, 88 / 24, 24, False, RE, 1),
    Row(5, 4, 40, True, HS, 2),
    *(Row(5, 6, 40, True, HS, 1),) * 2,
    *(Row(5, 3, 48, True, HS, 1),) * 2,
    Row(5, 6, 96, True, HS, 2),
    *(Row(5, 6, 96, True, HS, 1),) * 2,
)

LARGE = (
    Row(3, 1, 16, False, RE, 1),
    Row(3, 4, 24, False, RE, 2),
    Row(3, 3, 24, False, RE, 1),
    Row(5, 3, 40, True, RE, 2),
    *(Row(5, 3, 40, True, RE, 1),) * 2,
    Row(3, 6, 80, False, HS, 2),
    Row(3, 2.5, 80, False, HS, 1),
    *(Row(3, 2.3, 80, False, HS, 1),) * 2,
    *(Row(3, 6, 112, True, HS, 1),) * 2,
    Row(5, 6, 160, True, HS, 2),
    *(Row(5, 6, 160, True, HS, 1),) * 2,
)

OPTIONS = (
    ALPHA,
    Option("minimalistic", str, "off", "3x3 kernels, ReLU and no squeeze-excite throughout", choices=("off", "on")),
    Option("padding", str, "same", "same: Keras's and TFLite's; symmetric: PyTorch's", choices=("same", "symmetric")),
    RESOLUTION,
    CLASSES,
    SEED,
)

_TABLE = "keras.applications.mobilenet_v3, table of its documentation"


def _published(*rows: tuple[float, str, float, float, float]) -> tuple[Published, ...]:
    """Rows of (alpha, minimalistic, parameters in M, MACs in M, top-1)."""
    return tuple(
        Published({"alpha": alpha, "minimalistic": minimalistic}, params, macs, top1, None, _TABLE)
        for alpha, minimalistic, params, macs, top1 in rows
    )


@dataclass(frozen=True, slots=True)
class _Network:
    """last: channels of the layer before the classifier."""

    name: str
    rows: tuple[Row, ...]
    last: int


@dataclass(frozen=True, slots=True)
class _Form:
    """What the options make of a network."""

    alpha: float
    minimalistic: bool
    symmetric: bool

    def width(self, channels: float) -> int:
        return make_divisible(channels * self.alpha)

    def padding(self, kernel: int) -> Padding:
        return kernel // 2 if self.symmetric else "same"


@register(
    "mobilenet_v3_small",
    paper="arXiv:1905.02244",
    options=OPTIONS,
    published=_published((1.0, "off", 2.9, 66, 68.1), (0.75, "off", 2.4, 44, 65.4), (1.0, "on", 2.0, 65, 61.9)),
)
def mobilenet_v3_small(
    *,
    alpha: float = 1.0,
    minimalistic: str = "off",
    padding: str = "same",
    resolution: int = 224,
    classes: int = 1000,
    seed: int = 0,
) -> Graph:
    """MobileNet V3 small: searched inverted residuals with squeeze-excite and hard swish.

    Input (1, resolution, resolution, 3) in [-1, 1], output (1, classes) probabilities. Widths are multiples of 8.
    Source: arXiv:1905.02244, table 2.
    """
    network = _Network("mobilenet_v3_small", SMALL, 1024)
    form = _Form(alpha, minimalistic == "on", padding == "symmetric")
    return _build(network, form, resolution, classes, seed)


@register(
    "mobilenet_v3_large",
    paper="arXiv:1905.02244",
    options=OPTIONS,
    published=_published((1.0, "off", 5.4, 217, 75.6), (0.75, "off", 4.0, 155, 73.3), (1.0, "on", 3.9, 209, 72.3)),
)
def mobilenet_v3_large(
    *,
    alpha: float = 1.0,
    minimalistic: str = "off",
    padding: str = "same",
    resolution: int = 224,
    classes: int = 1000,
    seed: int = 0,
) -> Graph:
    """MobileNet V3 large: searched inverted residuals with squeeze-excite and hard swish.

    Input (1, resolution, resolution, 3) in [-1, 1], output (1, classes) probabilities. Widths are multiples of 8.
    Source: arXiv:1905.02244, table 1.
    """
    network = _Network("mobilenet_v3_large", LARGE, 1280)
    form = _Form(alpha, minimalistic == "on", padding == "symmetric")
    return _build(network, form, resolution, classes, seed)


def _build(network: _Network, form: _Form, resolution: int, classes: int, seed: int) -> Graph:
    parts = ("minimalistic" if form.minimalistic else "", "symmetric" if form.symmetric else "")
    name = graph_name(network.name, form.alpha, *parts, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    activation = RE if form.minimalistic else HS
    first = b.conv2d("input", 16, 3, stride=2, padding=form.padding(3), gain=2 * SCALE**2, name="conv")
    x = _norm(b, first, activation, "conv")
    for number, row in enumerate(network.rows):
        x = _inverted_residual(b, x, row, form, f"expanded_conv_{number}_" if number else "expanded_conv_")
    x = _norm(b, b.conv2d(x, make_divisible(b.channels(x) * 6), 1, name="conv_1"), activation, "conv_1")
    x = b.global_avg_pool(x, keep_dims=True, name="global_average_pooling2d")
    last = form.width(network.last) if form.alpha > 1 else network.last
    x = b.conv2d(x, last, 1, bias=True, name="conv_2")
    x = b.activation(x, activation, name=f"conv_2_{activation}")
    x = b.dropout(x, 0.2, name="dropout")
    x = b.conv2d(x, classes, 1, bias=True, gain=(1.5 * CLASSIFIER_GAIN / SCALE) ** 2, name="logits")
    return finish_classifier(b, b.reshape(x, (1, classes), name="flatten"), KERAS_TF, resolution)


def _inverted_residual(b: GraphBuilder, x: str, row: Row, form: _Form, prefix: str) -> str:
    """Expand (not in the first block), filter per channel, excite, project; add the input where shapes allow."""
    activation = RE if form.minimalistic else row.activation
    kernel = 3 if form.minimalistic else row.kernel
    y, channels, width = x, b.channels(x), form.width(row.channels)
    if prefix != "expanded_conv_":
        inner = make_divisible(channels * row.expansion)
        y = b.conv2d(y, inner, 1, name=f"{prefix}expand")
        y = _norm(b, y, activation, f"{prefix}expand")
    # Keras pads by hand before a stride of 2, by a rule that is SAME: one less before than after if the size is even.
    y = b.depthwise(y, kernel, stride=row.stride, padding=form.padding(kernel), name=f"{prefix}depthwise")
    y = _norm(b, y, activation, f"{prefix}depthwise")
    added, excite = row.stride == 1 and channels == width, row.excite and not form.minimalistic
    if excite:
        hidden = make_divisible(b.channels(y) / 4)
        y = squeeze_excite(b, y, hidden, "hard_sigmoid", scale=SCALE, prefix=f"{prefix}squeeze_excite_")
    gain = (GATED_GAIN if excite else 1.0) / (4.0 if added else 1.0)
    y = conv_norm(b, y, width, 1, activation=None, gain=gain, epsilon=EPSILON, name=f"{prefix}project")
    return b.add(x, y, name=f"{prefix}add") if added else y


def _norm(b: GraphBuilder, x: str, activation: str, layer: str) -> str:
    x = b.batch_norm(x, epsilon=EPSILON, name=f"{layer}_bn")
    return b.activation(x, activation, name=f"{layer}_{activation}")

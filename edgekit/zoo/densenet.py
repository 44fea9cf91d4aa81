"""DenseNet: every layer reads the outputs of all layers before it in its block.

Structure: arXiv:1608.06993, table 1 and section 4. For ImageNet as Keras builds it, layer names and epsilon included,
so that its weights fit; PyTorch's port has the same layers, and an epsilon that differs by one in a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.data.preprocess import TORCH, Preprocessing
from edgekit.errors import ModelError
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.cifar import CIFAR, CIFAR_CLASSES, CIFAR_RESOLUTION
from edgekit.zoo.conv_norm import EPSILON
from edgekit.zoo.densenet_published import CIFAR_PUBLISHED, IMAGENET_PUBLISHED
from edgekit.zoo.heads import finish_keras
from edgekit.zoo.legal import nearest
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import register

KERAS_EPSILON = 1.001e-5
BOTTLENECK = 4
"""A 1x1 convolution cuts a layer's inputs down to this many times the growth."""

BLOCKS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}
"""Layers of the four dense blocks, by depth."""

CIFAR_BLOCKS = 3
CIFAR_STEM = 16
CIFAR_SPREAD = 2.5
"""Of the random logits: fewer features than for ImageNet, and no max pool."""


DEPTH = Option("depth", int, 121, "121, 169 or 201 layers", least=1, most=10_000)
CIFAR_DEPTH = Option(
    "depth", int, 100, "layers with weights: 6 n + 4 with bottlenecks, 3 n + 4 without", least=7, most=1000
)
GROWTH = Option("growth", int, 12, "feature maps that every layer adds", least=1, most=512)
NECK = Option(
    "bottleneck", str, "on", "1x1 convolutions to four times the growth before the 3x3 ones", choices=("off", "on")
)
COMPRESSION = Option(
    "compression", float, 0.5, "share of the feature maps that a transition keeps", least=0, most=1, above=True
)
STEM = Option(
    "stem",
    int,
    0,
    "filters of the first convolution; 0 for the paper's: 16, or twice the growth with bottlenecks",
    least=0,
    most=1024,
)


@dataclass(frozen=True, slots=True)
class Design:
    """What the options make of the network.

    blocks: layers of each. stem: filters of the first convolution. spread: of the random logits.
    """

    blocks: tuple[int, ...]
    growth: int
    bottleneck: bool
    compression: float
    stem: int
    epsilon: float
    preprocessing: Preprocessing
    spread: float


@register(
    "densenet",
    paper="arXiv:1608.06993",
    options=(DEPTH, RESOLUTION, CLASSES, SEED),
    published=IMAGENET_PUBLISHED,
)
def densenet(*, depth: int = 121, resolution: int = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """DenseNet-121, -169 and -201 for ImageNet: bottlenecks, growth 32, transitions that halve.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Raises ModelError for other depths.
    Source: arXiv:1608.06993, table 1.
    """
    if depth not in BLOCKS:
        raise ModelError(f"depth {depth} is none of {', '.join(map(str, BLOCKS))}; nearest: {nearest(depth, BLOCKS)}")
    design = Design(BLOCKS[depth], 32, True, 0.5, 64, KERAS_EPSILON, TORCH, 1.0)
    b = GraphBuilder(f"densenet{depth}_{resolution}", (1, resolution, resolution, 3), seed=seed)
    x = b.conv2d("input", design.stem, 7, stride=2, padding=3, name="conv1_conv")
    x = _norm_relu(b, x, design, "conv1_")
    x = b.pool(x, "max_pool", 3, stride=2, padding=1, name="pool1")
    return _blocks_and_head(b, x, design, resolution, classes)


@register(
    "densenet_cifar",
    paper="arXiv:1608.06993",
    options=(CIFAR_DEPTH, GROWTH, NECK, COMPRESSION, STEM, CIFAR_RESOLUTION, CIFAR_CLASSES, SEED),
    published=CIFAR_PUBLISHED,
)
def densenet_cifar(
    *,
    depth: int = 100,
    growth: int = 12,
    bottleneck: str = "on",
    compression: float = 0.5,
    stem: int = 0,
    resolution: int = 32,
    classes: int = 10,
    seed: int = 0,
) -> Graph:
    """DenseNet for CIFAR: three dense blocks of equally many layers; DenseNet-BC unless told otherwise.

    The plain DenseNet has bottleneck off and compression 1. Input (1, resolution, resolution, 3), output (1, classes)
    probabilities. Raises ModelError for a depth that three blocks cannot have, and a compression that leaves a
    transition without feature maps. Source: arXiv:1608.06993, section 3.
    """
    necked = bottleneck == "on"
    step = CIFAR_BLOCKS * (2 if necked else 1)
    layers, rest = divmod(depth - 4, step)
    if rest or not layers:
        legal = nearest(depth, range(4 + step, 1001, step))
        raise ModelError(
            f"depth {depth} does not fill {CIFAR_BLOCKS} blocks evenly: with bottleneck {bottleneck} it is "
            f"{step} n + 4; nearest: {legal}"
        )
    filters = stem or (2 * growth if necked else CIFAR_STEM)
    design = Design((layers,) * CIFAR_BLOCKS, growth, necked, compression, filters, EPSILON, CIFAR, CIFAR_SPREAD)
    form = "bc" if necked and compression < 1 else "b" if necked else "c" if compression < 1 else ""
    share = "" if compression in (0.5, 1) else f"{compression:g}"
    parts = (f"k{growth}", form + share, f"stem{stem}" if stem else "", "cifar")
    name = graph_name(f"densenet{depth}", *parts, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = b.conv2d("input", filters, 3, padding=1, gain=1.0, name="conv1_conv")
    return _blocks_and_head(b, x, design, resolution, classes)


def _blocks_and_head(b: GraphBuilder, x: str, design: Design, resolution: int, classes: int) -> Graph:
    """Dense blocks `conv2`, `conv3`, ... with transitions `pool2`, ... in between."""
    for number, layers in enumerate(design.blocks, start=2):
        if number > 2:
            x = _transition(b, x, design, f"pool{number - 1}")
        for i in range(layers):
            x = _layer(b, x, design, f"conv{number}_block{i + 1}")
    x = _norm_relu(b, x, design, "")
    return finish_keras(b, x, classes, design.preprocessing, resolution, spread=design.spread)


def _layer(b: GraphBuilder, x: str, design: Design, name: str) -> str:
    """Batch norm, ReLU and convolution, twice with a bottleneck; the result joins the input."""
    y = _norm_relu(b, x, design, f"{name}_0_")
    if design.bottleneck:
        y = b.conv2d(y, BOTTLENECK * design.growth, 1, name=f"{name}_1_conv")
        y = _norm_relu(b, y, design, f"{name}_1_")
    y = b.conv2d(y, design.growth, 3, padding=1, name=f"{name}_2_conv")
    return b.concat([x, y], name=f"{name}_concat")


def _transition(b: GraphBuilder, x: str, design: Design, name: str) -> str:
    width = int(b.channels(x) * design.compression)
    if width < 1:
        raise ModelError(
            f"compression {design.compression:g} leaves transition {name} none of its {b.channels(x)} feature maps; "
            f"give at least {1 / b.channels(x):.4g}"
        )
    x = b.conv2d(_norm_relu(b, x, design, f"{name}_"), width, 1, name=f"{name}_conv")
    return b.pool(x, "avg_pool", 2, stride=2, name=f"{name}_pool")


def _norm_relu(b: GraphBuilder, x: str, design: Design, prefix: str) -> str:
    x = b.batch_norm(x, epsilon=design.epsilon, name=f"{prefix}bn")
    return b.activation(x, "relu", name=f"{prefix}relu")

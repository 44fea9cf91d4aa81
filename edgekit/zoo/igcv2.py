"""IGCV2: blocks of one depthwise 3x3 and several grouped 1x1 convolutions, interleaved by permutations.

The product of all layers is dense where the complementary condition holds (igc_conditions): one path leads from each
input to each output, and two in a block that doubles the width, because the condition counts its outputs. Source:
arXiv:1804.06202, sections 3 and 4; no code of the authors is public, so batch norm's place is an option and the
shortcuts are a reading.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.data.preprocess import TORCH
from edgekit.errors import ModelError
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.cifar import CIFAR, CIFAR_CLASSES, CIFAR_RESOLUTION
from edgekit.zoo.conv_norm import EPSILON, conv_norm
from edgekit.zoo.heads import finish_classifier, pooled_dense
from edgekit.zoo.igc_conditions import check_layers, complete_sizes, group_sizes
from edgekit.zoo.igc_published import IGCV2_CIFAR_PUBLISHED, IGCV2_PUBLISHED
from edgekit.zoo.legal import divisors, nearest
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import ALPHA, CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import register

STAGES = 3
STAR_SIZE = 8
"""K of IGCV2* (arXiv:1804.06202, section 4.3)."""

ROWS = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *((16, 1),) * 5, (32, 2), (32, 1))
"""(width in stems, stride) of MobileNet V1's units, whose 1x1 convolutions the ImageNet network interleaves."""

VARIANT = Option(
    "variant", str, "igcv2*", "igcv2: K from the complementary condition; igcv2*: one K, layers from K and the width",
    choices=("igcv2", "igcv2*"),
)  # fmt: skip
WIDTH = Option("width", int, 64, "channels of the first stage; they double twice", least=2, most=2048)
LAYERS = Option(
    "block_layers", int, 0, "L: layers of a block (0: 3, or for igcv2* what K and the width ask)", least=0, most=12
)
GROUP_SIZE = Option(
    "k", int, 0, "K: channels in a group of 1x1 (0: the best balance, or 8 for igcv2*)", least=0, most=4096
)
DEPTH = Option("depth", int, 20, "layers, counting a block as one: 3 B + 2", least=5, most=1000)
NORM = Option("norm", str, "block", "batch norm once a block or after every convolution", choices=("block", "conv"))
IMAGENET_LAYERS = Option("block_layers", int, 3, "L: layers of a block", least=2, most=6)
IMAGENET_WIDTH = 96
"""Channels of the ImageNet network's stem: three times MobileNet V1's, which makes both about equally large."""


@register(
    "igcv2",
    paper="arXiv:1804.06202",
    options=(ALPHA, IMAGENET_LAYERS, RESOLUTION, CLASSES, SEED),
    published=IGCV2_PUBLISHED,
)
def igcv2(
    *, alpha: float = 1.0, block_layers: int = 3, resolution: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """IGCV2 for ImageNet, a hypothesis: MobileNet V1 with interleaved 1x1 convolutions, three times as wide.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. The stem has the multiple of 8 nearest to
    96 alpha, the other layers follow it. Raises ModelError where a width has no group sizes that satisfy the
    complementary condition. Source of the idea: arXiv:1804.06202, section 4.
    """
    stem = max(8, 8 * round(IMAGENET_WIDTH * alpha / 8))
    name = graph_name("igcv2", alpha, "" if block_layers == 3 else f"l{block_layers}", resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = conv_norm(b, "input", stem, 3, stride=2, padding=1, name="stem")
    for i, (factor, stride) in enumerate(ROWS, start=1):
        sizes = group_sizes(stem * factor, block_layers)
        x = _block(b, x, stem * factor, stride, sizes, f"block{i}", every=False, gain=2.0)
        x = b.activation(x, "relu", name=f"block{i}_relu")
    return finish_classifier(b, pooled_dense(b, x, classes), TORCH, resolution)


@register(
    "igcv2_cifar",
    paper="arXiv:1804.06202",
    options=(VARIANT, WIDTH, LAYERS, GROUP_SIZE, DEPTH, NORM, CIFAR_RESOLUTION, CIFAR_CLASSES, SEED),
    published=IGCV2_CIFAR_PUBLISHED,
)
def igcv2_cifar(
    *,
    variant: str = "igcv2*",
    width: int = 64,
    block_layers: int = 0,
    k: int = 0,
    depth: int = 20,
    norm: str = "block",
    resolution: int = 32,
    classes: int = 10,
    seed: int = 0,
) -> Graph:
    """IGCV2 and IGCV2* for CIFAR: three stages of interleaved blocks, a shortcut over each two where shapes allow.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Raises ModelError for a K that breaks the
    complementary condition (igcv2) or does not divide the widths or leaves inputs unseen (igcv2*). Source:
    arXiv:1804.06202, table 1.
    """
    blocks = _blocks(depth)
    sizes = [_sizes(variant, width, width * 2**stage, block_layers, k) for stage in range(STAGES)]
    kind = ("" if variant == "igcv2" else "star", f"l{block_layers}" if block_layers else "", f"k{k}" if k else "")
    parts = (f"c{width}", f"d{depth}", "" if norm == "block" else "norms", resolution)
    b = GraphBuilder(graph_name("igcv2_cifar", *kind, *parts), (1, resolution, resolution, 3), seed=seed)
    shortcut = x = conv_norm(b, "input", width, 3, padding=1, name="stem")
    for stage in range(STAGES):
        for i in range(blocks):
            name, ends = f"stage{stage + 1}_block{i + 1}", i % 2 == 1
            adds = ends and b.shape(shortcut) == b.shape(x)
            stride, gain = 2 if stage and not i else 1, 2 / (STAGES * blocks) if adds else 2.0
            x = _block(b, x, width * 2**stage, stride, sizes[stage], name, every=norm == "conv", gain=gain)
            if adds:
                x = b.add(x, shortcut, name=f"{name}_add")
            x = b.activation(x, "relu", name=f"{name}_relu")
            shortcut = x if ends else shortcut
    return finish_classifier(b, pooled_dense(b, x, classes), CIFAR, resolution)


def _block(
    b: GraphBuilder, x: str, width: int, stride: int, sizes: Sequence[int], name: str, *, every: bool, gain: float
) -> str:
    """Depthwise 3x3 (it may double the width), then 1x1 layers with K_l channels a group, each permuted; batch norm.

    every: batch norm after each convolution, not only at the end. No activation.
    """
    x = b.conv2d(x, width, 3, stride=stride, padding=1, groups=b.channels(x), gain=1.0, name=f"{name}_depthwise")
    for layer, size in enumerate(sizes[1:], start=2):
        if every:
            x = b.batch_norm(x, epsilon=EPSILON, name=f"{name}_bn{layer - 1}")
        last = layer == len(sizes)
        x = b.conv2d(x, width, 1, groups=width // size, gain=gain if last else 1.0, name=f"{name}_group{layer}")
        if 1 < size < width:
            x = b.channel_shuffle(x, width // size, name=f"{name}_permute{layer}")
    return b.batch_norm(x, epsilon=EPSILON, name=f"{name}_bn")


def _sizes(variant: str, first: int, width: int, layers: int, k: int) -> tuple[int, ...]:
    """K_1 ... K_L of a stage of that width in a network whose first stage has `first` channels."""
    if variant == "igcv2":
        return complete_sizes(width, layers or 3, k) if k else group_sizes(width, layers or 3)
    if layers:
        check_layers(layers)
    size = k or STAR_SIZE
    if size < 2 or first % size:
        legal = nearest(size, (d for d in divisors(first) if d > 1))
        raise ModelError(f"igcv2*: {first} channels do not divide into groups of {size}; nearest that work: {legal}")
    needed = star_layers(first, size)
    if layers and layers < needed:
        raise ModelError(
            f"igcv2*: {layers} layers with K {size} reach {size ** (layers - 1)} of {first} inputs; "
            f"give at least {needed} layers, or a K of at least {_least_size(first, layers)}"
        )
    return (1, *(size,) * ((layers or needed) - 1))


def star_layers(width: int, size: int) -> int:
    """Layers of IGCV2*: ceil(log_K(width)) + 1, the least with which every output can see every input."""
    count = 1
    while size ** (count - 1) < width:
        count += 1
    return count


def _least_size(width: int, layers: int) -> int:
    """The least divisor of the width with which that many layers reach every input."""
    return next((d for d in divisors(width) if d ** (layers - 1) >= width), width)


def _blocks(depth: int) -> int:
    """Blocks a stage. Raises ModelError where the depth is not 3 B + 2."""
    blocks, rest = divmod(depth - 2, STAGES)
    if rest:
        legal = nearest(depth, (STAGES * n + 2 for n in range(1, 334)))
        raise ModelError(f"depth {depth} does not fill {STAGES} stages evenly: it is not 3 B + 2; nearest: {legal}")
    return blocks

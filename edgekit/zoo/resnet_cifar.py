"""ResNets for CIFAR's 32x32 pictures, with the ReLU after the sum or before each convolution.

Structures: arXiv:1512.03385, section 4.2; arXiv:1603.05027, section 3.
"""

from __future__ import annotations

from collections.abc import Callable

from edgekit.errors import ModelError
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.cifar import CIFAR, CIFAR_CLASSES, CIFAR_RESOLUTION
from edgekit.zoo.heads import finish_classifier, pooled_dense
from edgekit.zoo.legal import nearest
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import SEED, Option
from edgekit.zoo.registry import register
from edgekit.zoo.residual import Style, norm_relu, post_activation_unit, pre_activation_unit
from edgekit.zoo.resnet_published import CIFAR_PUBLISHED

WIDTHS = (16, 32, 64)
MOST_UNITS = 200
"""In a stage."""

DEPTH = Option("depth", int, 20, "layers: 6 n + 2 with n units a stage", least=1, most=6 * MOST_UNITS + 2)
VERSION = Option("version", str, "1", "1: ReLU after the sum; 2: batch norm and ReLU first", choices=("1", "2"))
SHORTCUT = Option(
    "shortcut", str, "A", "where channels double: A: zeros for the new ones; B: a 1x1 convolution", choices=("A", "B")
)


@register(
    "resnet_cifar",
    paper="arXiv:1512.03385",
    options=(DEPTH, VERSION, SHORTCUT, CIFAR_RESOLUTION, CIFAR_CLASSES, SEED),
    published=CIFAR_PUBLISHED,
)
def resnet_cifar(
    *,
    depth: int = 20,
    version: str = "1",
    shortcut: str = "A",
    resolution: int = 32,
    classes: int = 10,
    seed: int = 0,
) -> Graph:
    """ResNet for CIFAR: three stages of units of two 3x3 convolutions (20, 32, 44, 56 or 110 layers).

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Raises ModelError for a depth that is not
    6 n + 2. Source: arXiv:1512.03385, section 4.2.
    """
    units, rest = divmod(depth - 2, 6)
    if rest or units < 1:
        legal = nearest(depth, (6 * n + 2 for n in range(1, MOST_UNITS + 1)))
        raise ModelError(f"depth {depth} does not fill three stages evenly: it is not 6 n + 2; nearest: {legal}")
    first = version == "2"
    unit: Callable[..., str] = pre_activation_unit if first else post_activation_unit
    style = Style(bottleneck=False, units=3 * units, zero_channels=shortcut == "A")
    name = graph_name(f"resnet{depth}", "v2" if first else "", "" if shortcut == "A" else shortcut, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = b.conv2d("input", WIDTHS[0], 3, padding=1, name="conv1_conv")
    x = x if first else norm_relu(b, x, style, "conv1")
    for stage, width in enumerate(WIDTHS, start=2):
        for number in range(1, units + 1):
            stride = 2 if number == 1 and stage > 2 else 1
            x = unit(b, x, width, width, stride, style, projected=stride > 1, name=f"conv{stage}_block{number}")
    x = norm_relu(b, x, style, "post") if first else x
    return finish_classifier(b, pooled_dense(b, x, classes), CIFAR, resolution)

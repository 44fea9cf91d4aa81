"""ResNet for ImageNet, its successor with pre-activation, ResNeXt and SE-ResNet.

The paper strides in a bottleneck's first 1x1 convolution, PyTorch's implementations in its 3x3. Keras has the paper's
form with biases (v1), and strides in the last unit of a stage instead of the next one's first (v2). Layer names are
Keras's in all forms.

Structures: arXiv:1512.03385, table 1; arXiv:1603.05027; arXiv:1611.05431, table 1; arXiv:1709.01507, table 1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from edgekit.data.preprocess import CAFFE, KERAS_TF, TORCH, Preprocessing
from edgekit.errors import ModelError
from edgekit.graph.builder import CLASSIFIER_GAIN, GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.conv_norm import EPSILON
from edgekit.zoo.heads import finish_classifier, input_gain
from edgekit.zoo.legal import nearest
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import register
from edgekit.zoo.residual import EXPANSION, Style, norm_relu, post_activation_unit, pre_activation_unit
from edgekit.zoo.resnet_published import (
    RESNET_PUBLISHED,
    RESNET_V2_PUBLISHED,
    RESNEXT_PUBLISHED,
    SE_RESNET_PUBLISHED,
)

KERAS_EPSILON = 1.001e-5
WIDTHS = (64, 128, 256, 512)
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Units in each stage."""

LOGITS_GAIN = (CLASSIFIER_GAIN / 2) ** 2
"""The stem's max pool and the units leave about twice the spread that random features began with."""

BOTTLENECKED = tuple(depth for depth in DEPTHS if depth >= 50)
PREPROCESSING = {"paper": CAFFE, "torch": TORCH, "keras": CAFFE}

DEPTH = Option("depth", int, 50, "layers with weights: 18, 34, 50, 101 or 152", least=1, most=10_000)
FORM = Option(
    "form", str, "paper", "paper: stride in the first 1x1; torch: in the 3x3; keras: Keras's, with biases",
    choices=("paper", "torch", "keras"),
)  # fmt: skip
DEEP = Option("depth", int, 50, "layers with weights: 50, 101 or 152", least=1, most=10_000)
SE_FORM = Option("form", str, "paper", "paper: stride in the first 1x1; torch: in the 3x3", choices=("paper", "torch"))
GROUPS = Option("groups", int, 32, "cardinality: groups of the 3x3 convolutions", least=1, most=256)
GROUP_WIDTH = Option("group_width", int, 4, "channels of a group in the first stage", least=1, most=256)

Unit = Callable[..., str]


@register(
    "resnet",
    paper="arXiv:1512.03385",
    options=(DEPTH, FORM, RESOLUTION, CLASSES, SEED),
    published=RESNET_PUBLISHED,
)
def resnet(*, depth: int = 50, form: str = "paper", resolution: int = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """ResNet: residual units with the ReLU after the sum (18, 34, 50, 101 or 152 layers).

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Raises ModelError for a depth that is not
    in the table, or that Keras has not. Source: arXiv:1512.03385, table 1.
    """
    style = _style(depth, form, DEPTHS)
    name = graph_name(f"resnet{depth}", "" if form == "paper" else form, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    return _post_activation(b, depth, style, PREPROCESSING[form], classes)


@register(
    "resnext",
    paper="arXiv:1611.05431",
    options=(DEEP, GROUPS, GROUP_WIDTH, RESOLUTION, CLASSES, SEED),
    published=RESNEXT_PUBLISHED,
)
def resnext(
    *,
    depth: int = 50,
    groups: int = 32,
    group_width: int = 4,
    resolution: int = 224,
    classes: int = 1000,
    seed: int = 0,
) -> Graph:
    """ResNeXt: bottleneck units whose 3x3 convolution is grouped (32x4d: 32 groups of 4 channels).

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Groups widen with the stages. Raises
    ModelError for a depth that is not in the table. Source: arXiv:1611.05431, table 1.
    """
    style = _style(depth, "torch", BOTTLENECKED, groups=groups)
    name = graph_name(f"resnext{depth}", f"{groups}x{group_width}d", resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    return _post_activation(b, depth, style, TORCH, classes, groups * group_width)


@register(
    "se_resnet",
    paper="arXiv:1709.01507",
    options=(DEEP, SE_FORM, RESOLUTION, CLASSES, SEED),
    published=SE_RESNET_PUBLISHED,
)
def se_resnet(
    *, depth: int = 50, form: str = "paper", resolution: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """SE-ResNet: ResNet with a squeeze-excite at the end of each branch, reduction 16.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Raises ModelError for a depth that is not
    in the table. Source: arXiv:1709.01507, table 1.
    """
    style = _style(depth, form, BOTTLENECKED, excite=True)
    name = graph_name(f"se_resnet{depth}", "" if form == "paper" else form, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    return _post_activation(b, depth, style, PREPROCESSING[form], classes)


@register(
    "resnet_v2",
    paper="arXiv:1603.05027",
    options=(DEPTH, FORM, RESOLUTION, CLASSES, SEED),
    published=RESNET_V2_PUBLISHED,
)
def resnet_v2(
    *, depth: int = 50, form: str = "paper", resolution: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """ResNet V2: residual units with batch norm and ReLU before each convolution (18, 34, 50, 101 or 152 layers).

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Keras's form has no batch norm in the stem
    and pads its max pool with zeros. Raises ModelError for a depth that is not in the table, or that Keras has not.
    Source: arXiv:1603.05027, figure 4 (e) and appendix.
    """
    keras, style = form == "keras", _style(depth, form, DEPTHS)
    name = graph_name(f"resnet{depth}_v2", "" if form == "paper" else form, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    preprocessing = KERAS_TF if keras else TORCH
    x = _stem(b, style, preprocessing)
    if keras:
        x = b.pool(b.pad(x, (1, 1, 1, 1), name="pool1_pad"), "max_pool", 3, stride=2, name="pool1_pool")
        style = replace(style, stride_late=True)
    else:
        x = b.pool(norm_relu(b, x, style, "conv1"), "max_pool", 3, stride=2, padding=1, name="pool1_pool")
    x = _stages(b, x, depth, style, pre_activation_unit, keras_v2=keras)
    return _finish(b, norm_relu(b, x, style, "post"), preprocessing, classes)


def _style(depth: int, form: str, depths: Collection[int], *, groups: int = 1, excite: bool = False) -> Style:
    """Raises ModelError for a depth outside `depths`, or one that the form has not."""
    if depth not in depths:
        raise ModelError(f"there is no network of {depth} layers in the table; give depth {nearest(depth, depths)}")
    keras = form == "keras"
    if keras and depth not in BOTTLENECKED:
        raise ModelError(
            f"Keras has no ResNet of {depth} layers; give depth {nearest(depth, BOTTLENECKED)}, or form paper or torch"
        )
    return Style(
        bottleneck=depth in BOTTLENECKED,
        units=sum(DEPTHS[depth]),
        stride_late=form == "torch",
        biases=keras,
        groups=groups,
        excite=excite,
        epsilon=KERAS_EPSILON if keras else EPSILON,
    )


def _post_activation(
    b: GraphBuilder, depth: int, style: Style, preprocessing: Preprocessing, classes: int, base: int = WIDTHS[0]
) -> Graph:
    """Stem, stages, mean, dense layer. base: channels of the first stage's 3x3 convolutions."""
    x = _stem(b, style, preprocessing)
    x = b.pool(norm_relu(b, x, style, "conv1"), "max_pool", 3, stride=2, padding=1, name="pool1_pool")
    return _finish(b, _stages(b, x, depth, style, post_activation_unit, base), preprocessing, classes)


def _stem(b: GraphBuilder, style: Style, preprocessing: Preprocessing) -> str:
    gain = input_gain(preprocessing)
    return b.conv2d("input", WIDTHS[0], 7, stride=2, padding=3, bias=style.biases, gain=gain, name="conv1_conv")


def _stages(
    b: GraphBuilder, x: str, depth: int, style: Style, unit: Unit, base: int = WIDTHS[0], *, keras_v2: bool = False
) -> str:
    """Four stages, each half the size of the one before.

    The first unit of a stage strides, and its shortcut is a convolution where shapes differ; as in Keras's V2
    (keras_v2), the last unit of the stage before strides instead, and its shortcut skips pixels.
    """
    for stage, (channels, units) in enumerate(zip(WIDTHS, DEPTHS[depth], strict=True)):
        width = channels * (EXPANSION if style.bottleneck else 1)
        for number in range(1, units + 1):
            if keras_v2:
                stride = 2 if number == units and stage < len(WIDTHS) - 1 else 1
            else:
                stride = 2 if number == 1 and stage > 0 else 1
            projected = b.channels(x) != width or (stride > 1 and not keras_v2)
            name = f"conv{stage + 2}_block{number}"
            x = unit(b, x, base * 2**stage, width, stride, style, projected=projected, name=name)
    return x


def _finish(b: GraphBuilder, x: str, preprocessing: Preprocessing, classes: int) -> Graph:
    """Mean over the map, dense layer, softmax."""
    logits = b.dense(b.global_avg_pool(x, name="avg_pool"), classes, gain=LOGITS_GAIN, name="predictions")
    return finish_classifier(b, logits, preprocessing, b.shape("input")[1])

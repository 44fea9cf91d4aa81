"""Inception v1 (GoogLeNet): filters of several sizes side by side, after 1x1 convolutions that save work.

Structure: arXiv:1409.4842, table 1; layer names are those of Caffe's BVLC GoogLeNet. Left out are the two auxiliary
classifiers, which only training uses, and the local response normalization, which has no weights and no int8 form
(table 1 does not list it, figure 3 does; torchvision's form never had it).
"""

from __future__ import annotations

from typing import NamedTuple

from edgekit.data.preprocess import TORCH
from edgekit.graph.builder import CLASSIFIER_GAIN, GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.conv_norm import conv_norm
from edgekit.zoo.heads import finish_classifier
from edgekit.zoo.inception_published import V1_PUBLISHED
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import register

EPSILON = 1e-3
LOGITS_GAIN = (0.4 * CLASSIFIER_GAIN) ** 2
"""Of the random classifier: max pools in every module let the features grow."""


class Module(NamedTuple):
    """Filters of one module: 1x1; reduction and 3x3; reduction and 5x5; projection of the pool."""

    name: str
    conv1: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    project: int


STAGES = (
    (Module("3a", 64, 96, 128, 16, 32, 32), Module("3b", 128, 128, 192, 32, 96, 64)),
    (
        Module("4a", 192, 96, 208, 16, 48, 64),
        Module("4b", 160, 112, 224, 24, 64, 64),
        Module("4c", 128, 128, 256, 24, 64, 64),
        Module("4d", 112, 144, 288, 32, 64, 64),
        Module("4e", 256, 160, 320, 32, 128, 128),
    ),
    (Module("5a", 256, 160, 320, 32, 128, 128), Module("5b", 384, 192, 384, 48, 128, 128)),
)


class Form(NamedTuple):
    """What the forms differ in: batch norm or biases, the kernel of the "5x5" filters, the window of pool4."""

    norm: bool
    kernel5: int
    pool4: int
    dropout: float


FORMS = {"paper": Form(False, 5, 3, 0.4), "torchvision": Form(True, 3, 2, 0.2)}

FORM = Option(
    "form",
    str,
    "paper",
    "paper: biases and 5x5 filters; torchvision: batch norms, and 3x3 filters in their place",
    choices=(*FORMS,),
)


@register("inception_v1", paper="arXiv:1409.4842", options=(FORM, RESOLUTION, CLASSES, SEED), published=V1_PUBLISHED)
def inception_v1(*, form: str = "paper", resolution: int = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """Inception v1 (GoogLeNet): nine modules of filters and a pool side by side, without response normalization.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Without auxiliary classifiers.
    Source: arXiv:1409.4842, table 1.
    """
    shape = FORMS[form]
    name = graph_name("inception_v1", "" if form == "paper" else form, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = _conv(b, "input", 64, 7, shape, "conv1/7x7_s2", stride=2)
    x = b.pool(x, "max_pool", 3, stride=2, ceil=True, name="pool1/3x3_s2")
    x = _conv(b, x, 64, 1, shape, "conv2/3x3_reduce")
    x = _conv(b, x, 192, 3, shape, "conv2/3x3")
    x = b.pool(x, "max_pool", 3, stride=2, ceil=True, name="pool2/3x3_s2")
    for number, modules in enumerate(STAGES, start=3):
        for module in modules:
            x = _module(b, x, module, shape)
        if number < 5:
            window = shape.pool4 if number == 4 else 3
            x = b.pool(x, "max_pool", window, stride=2, ceil=True, name=f"pool{number}/{window}x{window}_s2")
    x = b.dropout(b.global_avg_pool(x, name="pool5"), shape.dropout, name="pool5/drop")
    return finish_classifier(b, b.dense(x, classes, gain=LOGITS_GAIN, name="loss3/classifier"), TORCH, resolution)


def _module(b: GraphBuilder, x: str, module: Module, form: Form) -> str:
    """Four branches, joined in the order 1x1, 3x3, 5x5, pool."""
    prefix = f"inception_{module.name}"
    small = _conv(b, x, module.conv1, 1, form, f"{prefix}/1x1")
    middle = _conv(b, x, module.reduce3, 1, form, f"{prefix}/3x3_reduce")
    middle = _conv(b, middle, module.conv3, 3, form, f"{prefix}/3x3")
    large = _conv(b, x, module.reduce5, 1, form, f"{prefix}/5x5_reduce")
    large = _conv(b, large, module.conv5, form.kernel5, form, f"{prefix}/5x5")
    pooled = b.pool(x, "max_pool", 3, stride=1, padding=1, name=f"{prefix}/pool")
    pooled = _conv(b, pooled, module.project, 1, form, f"{prefix}/pool_proj")
    return b.concat([small, middle, large, pooled], name=f"{prefix}/output")


def _conv(b: GraphBuilder, x: str, filters: int, kernel: int, form: Form, name: str, stride: int = 1) -> str:
    padding = kernel // 2
    if form.norm:
        return conv_norm(b, x, filters, kernel, stride=stride, padding=padding, epsilon=EPSILON, name=name)
    x = b.conv2d(x, filters, kernel, stride=stride, padding=padding, bias=True, name=name)
    return b.activation(x, "relu", name=f"{name}_relu")

"""AlexNet: the paper's two groups, the same without groups, and the form that PyTorch's users know.

Local response normalization is left out: no runtime that edgekit writes for has it in int8, and it has no weights, so
that parameters and MACs are the paper's. PyTorch's form never had it. Layer names are those of Caffe's file.

Structures: Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", NIPS 2012, section
3.5; arXiv:1404.5997.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgekit.data.preprocess import CAFFE, TORCH, Preprocessing
from edgekit.graph.builder import CLASSIFIER_GAIN, GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.heads import dense_head, finish_classifier, input_gain
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.plain_published import ALEXNET_PUBLISHED
from edgekit.zoo.registry import register

KERNELS = (11, 5, 3, 3, 3)
POOLED = (1, 2, 5)
"""The convolutions that a 3x3 max pool of stride 2 follows."""

HIDDEN = 4096
LOGITS_GAIN = (CLASSIFIER_GAIN / 3) ** 2
"""Max pools of random features leave about three times their spread."""


@dataclass(frozen=True, slots=True)
class Form:
    """Filters of the five convolutions, groups of the second, fourth and fifth, padding of the first.

    ceil: whether a last, partial window of the pools counts.
    """

    filters: tuple[int, ...]
    groups: int
    first_padding: int
    ceil: bool
    preprocessing: Preprocessing


FORMS = {
    "paper": Form((96, 256, 384, 384, 256), 2, 0, True, CAFFE),
    "ungrouped": Form((96, 256, 384, 384, 256), 1, 0, True, CAFFE),
    "torch": Form((64, 192, 384, 256, 256), 1, 2, False, TORCH),
}

FORM = Option(
    "form", str, "paper", "paper: two groups; ungrouped: the same without; torch: narrower, as in torchvision",
    choices=(*FORMS,),
)  # fmt: skip


@register(
    "alexnet",
    paper="NIPS 2012; arXiv:1404.5997",
    options=(FORM, replace(RESOLUTION, default=227, least=63), CLASSES, SEED),
    published=ALEXNET_PUBLISHED,
)
def alexnet(*, form: str = "paper", resolution: int = 227, classes: int = 1000, seed: int = 0) -> Graph:
    """AlexNet: five convolutions and three dense layers, without its response normalization.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. The first dense layer reads what is left of
    the map, 6x6 at 224 and 227, so its weights fit one resolution. Source: the paper, figure 2.
    """
    rows = FORMS[form]
    name = graph_name("alexnet", "" if form == "paper" else form, resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = "input"
    for number, (filters, kernel) in enumerate(zip(rows.filters, KERNELS, strict=True), start=1):
        first = number == 1
        x = b.conv2d(
            x,
            filters,
            kernel,
            stride=4 if first else 1,
            padding=rows.first_padding if first else kernel // 2,
            groups=rows.groups if number in (2, 4, 5) else 1,
            bias=True,
            gain=input_gain(rows.preprocessing) if first else 2.0,
            name=f"conv{number}",
        )
        x = b.activation(x, "relu", name=f"relu{number}")
        if number in POOLED:
            x = b.pool(x, "max_pool", 3, stride=2, ceil=rows.ceil, name=f"pool{number}")
    x = dense_head(b, x, (HIDDEN, HIDDEN), classes, ("fc6", "fc7", "fc8"), gain=LOGITS_GAIN)
    return finish_classifier(b, x, rows.preprocessing, resolution)

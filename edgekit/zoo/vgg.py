"""VGG: 3x3 convolutions in five blocks, then three dense layers. Layer names are Keras's, so that its weights fit.

Structure: arXiv:1409.1556, table 1.
"""

from __future__ import annotations

from edgekit.data.preprocess import CAFFE
from edgekit.errors import ModelError
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.heads import dense_head, finish_classifier, input_gain
from edgekit.zoo.legal import nearest
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.plain_published import VGG_PUBLISHED
from edgekit.zoo.registry import register

FILTERS = (64, 128, 256, 512, 512)
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions in each block: columns A, B, D and E of the table."""

HIDDEN = 4096
DEPTH = Option("depth", int, 16, "layers with weights: 11, 13, 16 or 19", least=1, most=1000)


@register("vgg", paper="arXiv:1409.1556", options=(DEPTH, RESOLUTION, CLASSES, SEED), published=VGG_PUBLISHED)
def vgg(*, depth: int = 16, resolution: int = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """VGG: blocks of 3x3 convolutions and three dense layers (11, 13, 16 or 19 layers).

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. The first dense layer reads what is left of
    the map, 7x7 at 224, so its weights fit one resolution. Raises ModelError for a depth that is not in the table.
    Source: arXiv:1409.1556, table 1.
    """
    if depth not in DEPTHS:
        raise ModelError(f"VGG has no {depth} layers; give depth {nearest(depth, DEPTHS)}")
    b = GraphBuilder(f"vgg{depth}_{resolution}", (1, resolution, resolution, 3), seed=seed)
    x = "input"
    for block, (filters, convolutions) in enumerate(zip(FILTERS, DEPTHS[depth], strict=True), start=1):
        for i in range(1, convolutions + 1):
            gain = input_gain(CAFFE) if x == "input" else 2.0
            x = b.conv2d(x, filters, 3, padding=1, bias=True, gain=gain, name=f"block{block}_conv{i}")
            x = b.activation(x, "relu", name=f"block{block}_relu{i}")
        x = b.pool(x, "max_pool", 2, stride=2, name=f"block{block}_pool")
    x = dense_head(b, x, (HIDDEN, HIDDEN), classes, ("fc1", "fc2", "predictions"))
    return finish_classifier(b, x, CAFFE, resolution)

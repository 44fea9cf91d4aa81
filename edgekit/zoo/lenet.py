"""LeNet-5: as in the paper, and as it is built today.

Structure: LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 86(11), 1998, section II
and table I; layer names are the paper's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.data.preprocess import Preprocessing
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.cost import FIXED
from edgekit.graph.ir import Graph
from edgekit.zoo.heads import finish_classifier
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import Published, register

C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip
"""Which of S2's six maps each of C3's sixteen reads (table I)."""

MNIST = Preprocessing(height=32, width=32, mean=(20.0,), std=(200.0,))
"""The paper's scale: background -0.1, strokes 1.175."""

SIGMOID_GAIN = 16.0
"""Of random weights before a sigmoid, which would be nearly linear otherwise."""

SUBSAMPLE_FACTOR = 8.0
"""Of the untrained subsampling: spreads means of sigmoids, which lie in 0..1, around 0."""

CODE = 0.8
"""Of which the codes are + or -: spreads the random logits."""

F6 = 84
"""Units of the last hidden layer: the pixels of a picture of the character, 7x12, which is the class's code."""

FORM = Option(
    "form", str, "paper", "paper: sparse C3, trained subsampling; modern: full C3, max pooling, ReLU",
    choices=("paper", "modern"),
)  # fmt: skip

_PUBLISHED = (
    Published({"form": "paper"}, 0.06, None, 99.05, None, "Proc. IEEE 86(11), sections II.B and III.C, on MNIST"),
)


@register(
    "lenet5",
    paper="Proc. IEEE 86(11):2278, 1998",
    options=(FORM, replace(RESOLUTION, default=32), replace(CLASSES, default=10), SEED),
    published=_PUBLISHED,
)
def lenet5(*, form: str = "paper", resolution: int = 32, classes: int = 10, seed: int = 0) -> Graph:
    """LeNet-5: the first convolutional network for digits, for grey pictures.

    Input (1, resolution, resolution, 1), output (1, classes) probabilities. In the paper's form the scaled hyperbolic
    tangents are sigmoids: tanh(x) = 2 sigmoid(2 x) - 1, and the factors belong to the weights around. Its output units
    measure the distance to a fixed code of +-1 each; the softmax of minus these distances is that of the products with
    the codes, up to a factor, so they are a dense layer (its bias is what the -1 above adds up to). It is no part of
    the 60,000 trained parameters. The paper draws its codes, pictures of characters; ours are random, as weights are.
    C5 spans what S4 leaves of the input.
    Source: the paper, section II.B.
    """
    b = GraphBuilder(
        graph_name("lenet5", "" if form == "paper" else form, resolution), (1, resolution, resolution, 1), seed=seed
    )
    if form == "modern":
        return finish_classifier(b, _modern(b, classes), MNIST, resolution)
    graph = finish_classifier(b, _paper(b, classes), MNIST, resolution)
    graph.metadata[FIXED] = [*next(node for node in graph.nodes if node.name == "codes").inputs[1:]]
    return graph


def _paper(b: GraphBuilder, classes: int) -> str:
    x = b.conv2d("input", 6, 5, padding="valid", bias=True, gain=SIGMOID_GAIN, name="C1")
    x = _subsample(b, b.activation(x, "sigmoid", name="C1_sigmoid"), "S2")
    x = _subsample(b, b.activation(_sparse_c3(b, x), "sigmoid", name="C3_sigmoid"), "S4")
    x = b.conv2d(x, 120, b.shape(x)[1:3], padding="valid", bias=True, gain=SIGMOID_GAIN, name="C5")
    x = b.activation(b.reshape(x, (1, 120), name="C5_flat"), "sigmoid", name="C5_sigmoid")
    x = b.activation(b.dense(x, F6, gain=SIGMOID_GAIN, name="F6"), "sigmoid", name="F6_sigmoid")
    return _codes(b, x, classes)


def _codes(b: GraphBuilder, x: str, classes: int) -> str:
    """Products of x's tanh, x (1, F6) being its sigmoid, with a code of +-CODE for each class."""
    signs = np.random.default_rng(b.seed).choice(np.array([-CODE, CODE], np.float32), (F6, classes))
    constants = (b.constant("codes/kernel", 2 * signs), b.constant("codes/bias", -signs.sum(0)))
    return b.op("dense", [x, *constants], name="codes")


def _sparse_c3(b: GraphBuilder, x: str) -> str:
    """16 maps, each from its row of the table: one grouped convolution for every number of inputs in a row."""
    parts = []
    for width in sorted({len(row) for row in C3_TABLE}):
        rows = [row for row in C3_TABLE if len(row) == width]
        y = b.gather(x, [channel for row in rows for channel in row], name=f"C3_inputs_{width}")
        y = b.conv2d(
            y, len(rows), 5, padding="valid", groups=len(rows), bias=True, gain=SIGMOID_GAIN, name=f"C3_from_{width}"
        )
        parts.append(y)
    return b.concat(parts, name="C3")


def _subsample(b: GraphBuilder, x: str, name: str) -> str:
    """Mean of 2x2, then a trained factor and offset a map (a batch norm whose statistics are 0 and 1), then sigmoid."""
    x = b.pool(x, "avg_pool", 2, stride=2, name=f"{name}_pool")
    values = {"gamma": SUBSAMPLE_FACTOR, "beta": -SUBSAMPLE_FACTOR / 2, "mean": 0.0, "variance": 1.0}
    statistics = [b.full(f"{name}/{key}", b.channels(x), value) for key, value in values.items()]
    x = b.op("batch_norm", [x, *statistics], {"epsilon": 0.0}, name=name)
    return b.activation(x, "sigmoid", name=f"{name}_sigmoid")


def _modern(b: GraphBuilder, classes: int) -> str:
    x = "input"
    for convolution, pool, filters in (("C1", "S2", 6), ("C3", "S4", 16)):
        x = b.conv2d(x, filters, 5, padding="valid", bias=True, name=convolution)
        x = b.pool(b.activation(x, "relu", name=f"{convolution}_relu"), "max_pool", 2, stride=2, name=pool)
    x = b.conv2d(x, 120, b.shape(x)[1:3], padding="valid", bias=True, name="C5")
    x = b.activation(b.reshape(x, (1, 120), name="C5_flat"), "relu", name="C5_relu")
    x = b.activation(b.dense(x, F6, gain=2.0, name="F6"), "relu", name="F6_relu")
    return b.dense(x, classes, name="logits")

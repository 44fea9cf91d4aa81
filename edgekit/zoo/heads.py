"""The end of a classifier: pooling, dense layers, softmax, and how its pictures are prepared."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.data.preprocess import Preprocessing
from edgekit.graph.builder import CLASSIFIER_GAIN, GraphBuilder
from edgekit.graph.ir import Graph

PIXEL_SPREAD = 64.0
"""About the standard deviation of pixels in 0..255."""


def input_gain(preprocessing: Preprocessing) -> float:
    """Gain of a first layer's random weights that makes up for inputs of another variance than 1."""
    return 2.0 * (sum(preprocessing.std) / len(preprocessing.std) / PIXEL_SPREAD) ** 2


def finish_classifier(b: GraphBuilder, logits: str, preprocessing: Preprocessing, resolution: int) -> Graph:
    """Softmax over `logits` (1, classes) as the graph's output; notes the preprocessing at that resolution."""
    name = "predictions_softmax" if logits == "predictions" else "predictions"
    graph = b.finish(b.activation(logits, "softmax", name=name))
    graph.metadata["preprocessing"] = preprocessing.with_size(resolution, resolution).to_metadata()
    return graph


def finish_keras(
    b: GraphBuilder,
    x: str,
    classes: int,
    preprocessing: Preprocessing,
    resolution: int,
    *,
    dropout: float = 0.0,
    spread: float = 1.0,
) -> Graph:
    """The end as most of keras.applications have it: `avg_pool`, dropout where there is any, dense `predictions`.

    spread: factor for the weights of the random classifier, for networks whose random features vary less, or more, from
    channel to channel than most.
    """
    x = b.global_avg_pool(x, name="avg_pool")
    if dropout:
        x = b.dropout(x, dropout, name="top_dropout")
    logits = b.dense(x, classes, gain=(spread * CLASSIFIER_GAIN) ** 2, name="predictions")
    return finish_classifier(b, logits, preprocessing, resolution)


def pooled_dense(b: GraphBuilder, x: str, classes: int) -> str:
    """Global average pool and a dense layer with bias: `pool` (1, C), `logits` (1, classes)."""
    return b.dense(b.global_avg_pool(x, name="pool"), classes, name="logits")


def dense_head(
    b: GraphBuilder,
    x: str,
    hidden: Sequence[int],
    classes: int,
    names: Sequence[str],
    *,
    gain: float = CLASSIFIER_GAIN**2,
) -> str:
    """Flatten x (1, H, W, C), then a dense layer with ReLU and dropout for each of `hidden`, then the logits.

    names: of the dense layers. gain: of the last one's random weights.
    """
    _, height, width, channels = b.shape(x)
    x = b.reshape(x, (1, height * width * channels), name="flatten")
    for units, name in zip(hidden, names[:-1], strict=True):
        x = b.activation(b.dense(x, units, gain=2.0, name=name), "relu", name=f"{name}_relu")
        x = b.dropout(x, 0.5, name=f"{name}_dropout")
    return b.dense(x, classes, gain=gain, name=names[-1])

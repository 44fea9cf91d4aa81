"""The end of a classifier: pooling, dense layer, softmax, and how its pictures are prepared."""

from __future__ import annotations

from edgekit.data.preprocess import Preprocessing
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph


def finish_classifier(b: GraphBuilder, logits: str, preprocessing: Preprocessing, resolution: int) -> Graph:
    """Softmax over `logits` (1, classes) as the graph's output; notes the preprocessing at that resolution."""
    graph = b.finish(b.activation(logits, "softmax", name="predictions"))
    graph.metadata["preprocessing"] = preprocessing.with_size(resolution, resolution).to_metadata()
    return graph


def pooled_dense(b: GraphBuilder, x: str, classes: int) -> str:
    """Global average pool and a dense layer with bias: `pool` (1, C), `logits` (1, classes)."""
    return b.dense(b.global_avg_pool(x, name="pool"), classes, name="logits")

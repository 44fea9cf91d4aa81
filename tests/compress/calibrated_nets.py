"""A small network with every kind of weight layer, and images on which its layers' inputs are correlated."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import interpret

SIZE, CLASSES = 12, 10


def small_net(seed: int = 0) -> Graph:
    b = GraphBuilder("small", (1, SIZE, SIZE, 3), seed=seed)
    x = b.activation(b.conv2d("input", 16, 3, bias=True, name="conv"), "relu", name="conv_relu")
    x = b.activation(b.conv2d(x, 16, 3, groups=2, stride=2, bias=True, name="grouped"), "relu", name="grouped_relu")
    left = b.activation(b.depthwise(x, 3, name="depthwise"), "relu", name="depthwise_relu")
    right = b.activation(b.conv2d(x, 16, 1, bias=True, name="pointwise"), "relu", name="pointwise_relu")
    x = b.pool(b.concat([left, right], name="joined"), "max_pool", 2, stride=2, name="pool")
    x = b.dense(b.global_avg_pool(x, name="mean"), CLASSES, name="dense")
    return _with_varied_classes(b.finish(b.op("softmax", [x], name="softmax")))


def _with_varied_classes(graph: Graph) -> Graph:
    """Give the last layer such weights that its logits depend on the image, as a trained network's do."""
    features = np.concatenate([interpret(graph, {"input": x}, keep=True)["mean"] for x in smooth_images(64, seed=9)])
    kernel = graph.tensor("dense/kernel").array
    kernel = (kernel * 2 / ((features - features.mean(axis=0)) @ kernel).std()).astype(np.float32)
    graph.set_tensor(graph.tensor("dense/kernel").with_data(kernel))
    graph.set_tensor(graph.tensor("dense/bias").with_data(-features.mean(axis=0) @ kernel))
    return graph


def smooth_images(count: int, seed: int = 0) -> list[np.ndarray]:
    """(1, SIZE, SIZE, 3) float32 each: neighbouring pixels are alike, as in photographs."""
    random = np.random.default_rng(seed)
    coarse = random.standard_normal((count, SIZE // 3, SIZE // 3, 3))
    fine = coarse.repeat(3, axis=1).repeat(3, axis=2) + 0.2 * random.standard_normal((count, SIZE, SIZE, 3))
    return list(fine[:, None].astype(np.float32))

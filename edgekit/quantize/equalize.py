"""Cross-layer equalization: give the channels of an activation like ranges, so that 256 steps serve all of them.

Source of the idea: arXiv:1906.04721, section 4.1; here the ranges are those of the activations (the kernels have a
scale per output channel anyway), and it reaches through all that commutes with scaling: pools, concat, add, shuffles.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.graph.ir import Graph, Node
from edgekit.graph.validate import validate
from edgekit.quantize.calibrate import FloatArray, TensorStatistics
from edgekit.quantize.channel_scales import ChannelClasses, channel_classes

STRENGTH = 0.5
"""0 leaves the ranges, 1 makes them equal; in between the activations and the kernels share the burden."""
MOST = 64.0
"""No channel is scaled by more."""


def equalize_channels(
    graph: Graph, statistics: Mapping[str, TensorStatistics], strength: float = STRENGTH
) -> tuple[Graph, dict[str, TensorStatistics], int]:
    """A graph that computes the same with evened-out channels, its statistics, and how many channels were scaled.

    Exact for ReLU. Channels of a ReLU6 are scaled up only as far as the calibrated maximum stays below 6, so that the
    clip at 6 never reaches what calibration saw; a saturating channel stays as it is.
    """
    classes = channel_classes(graph)
    scales = np.minimum(_class_scales(classes, statistics, strength), _relu6_limits(graph, classes, statistics))
    by_tensor = {name: scales[ids].astype(np.float32) for name, ids in classes.classes.items()}
    equalized = graph.copy()
    for node in equalized.nodes:
        if node.op in ("conv2d", "dense"):
            _scale_layer(equalized, node, by_tensor)
    scaled = {name: seen.scaled(by_tensor[name]) for name, seen in statistics.items()}
    return (
        validate(equalized, "equalize_channels"),
        scaled,
        int(np.count_nonzero(scales[np.unique(_ids(classes))] != 1)),
    )


def _ids(classes: ChannelClasses) -> FloatArray:
    return np.concatenate(list(classes.classes.values()))


def _class_scales(classes: ChannelClasses, statistics: Mapping[str, TensorStatistics], strength: float) -> FloatArray:
    """One scale a class: (widest range in its tensors / its own range) ** strength, 1 where it is fixed or dead."""
    own = np.zeros(len(classes.fixed))
    widest = np.zeros(len(classes.fixed))
    for name, seen in statistics.items():
        reach = np.maximum(np.abs(seen.low), np.abs(seen.high)).astype(np.float64)
        np.maximum.at(own, classes.classes[name], reach)
        np.maximum.at(widest, classes.classes[name], np.full(len(reach), reach.max(initial=0.0)))
    alive = ~classes.fixed & (own > 0)
    ratio = np.divide(widest, own, out=np.ones_like(own), where=alive)
    scales: FloatArray = np.where(alive, np.clip(ratio**strength, 1.0, MOST), 1.0)
    return scales


def _relu6_limits(graph: Graph, classes: ChannelClasses, statistics: Mapping[str, TensorStatistics]) -> FloatArray:
    """The most that each class may be scaled up before a ReLU6 clips what calibration saw."""
    limits = np.full(len(classes.fixed), MOST)
    for node in graph.nodes:
        if node.op == "relu6" or node.attrs.get("activation") == "relu6":
            high = np.maximum(statistics[node.output].high.astype(np.float64), 6 / MOST)
            np.minimum.at(limits, classes.classes[node.output], np.maximum(6 / high, 1.0))
    return limits


def _scale_layer(graph: Graph, node: Node, scales: Mapping[str, FloatArray]) -> None:
    incoming, outgoing = scales[node.inputs[0]], scales[node.output]
    kernel = graph.tensor(node.inputs[1])
    per_group, out = kernel.shape[-2:]
    groups = len(incoming) // per_group
    by_output = np.repeat(incoming.reshape(groups, per_group), out // groups, axis=0).T
    graph.set_tensor(kernel.with_data((kernel.array / by_output * outgoing).astype(np.float32)))
    if len(node.inputs) == 3:
        bias = graph.tensor(node.inputs[2])
        graph.set_tensor(bias.with_data((bias.array * outgoing).astype(np.float32)))

"""What calibration says of one layer: all that is needed to choose its weights without running it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.compress.layer_rows import groups_of, rows_at, sample_positions, to_maps
from edgekit.graph.compensation import FloatArray, damped
from edgekit.graph.ir import Array, Graph, Node

DAMPING = 0.01
"""Share of the mean power of the inputs that is added to each: guards against what few images did not show."""
RIDGE = 0.001
"""The same for re-fitting the float weights: they are moved only where the data are clear."""
ROUNDING = 1e-6
"""Of the second moments: what float32 products leave undecided."""
BATCH = 16
"""Images whose rows are multiplied at a time."""


@dataclass(frozen=True, slots=True)
class LayerProblem:
    """Outputs are X W + b; X are rows that the layer reads in the changed network.

    gram: (groups, K, K) covariance of the inputs, damped; the bias takes up every error of the mean, so means do not
    count (second moments where the layer has no bias). weights: (groups, K, N), the float weights re-fitted so that
    the float network's outputs come out of the changed network's inputs. mean_input: (groups, K); mean_output:
    (groups, N), of the float network; both None where there is no bias.
    """

    gram: FloatArray
    weights: FloatArray
    mean_input: FloatArray | None
    mean_output: FloatArray | None

    def bias_for(self, chosen: FloatArray) -> Array | None:
        """The bias (out,) in float64 that keeps the mean outputs with weights `chosen` (groups, K, N)."""
        if self.mean_input is None or self.mean_output is None:
            return None
        bias: Array = self.mean_output - np.einsum("gk,gkn->gn", self.mean_input, chosen)
        return bias.reshape(-1)


def float_outputs(graph: Graph, node: Node, values: Sequence[Array], positions: int) -> Array:
    """Outputs of a layer before its activation at the sampled positions: (images, groups, positions, N) float32."""
    maps = to_maps(graph.tensor(node.inputs[1]).array, groups_of(node))
    found = np.stack(
        [
            rows_at(graph, node, value, sample_positions(graph, node, i, positions)) @ maps
            for i, value in enumerate(values)
        ]
    )
    if len(node.inputs) == 3:
        found += graph.tensor(node.inputs[2]).array.reshape(1, len(maps), 1, -1)
    return found


def layer_problem(graph: Graph, node: Node, values: Sequence[Array], reference: Array, positions: int) -> LayerProblem:
    """The problem of a layer whose inputs are `values`, one an image, and whose outputs are to be `reference`.

    reference: from `float_outputs`, for the same images and positions.
    """
    maps = to_maps(graph.tensor(node.inputs[1]).array, groups_of(node)).astype(np.float64)
    groups, size, outputs = maps.shape
    has_bias = len(node.inputs) == 3
    # A column of ones behind the inputs, so that means come out of the same products; inputs count from those of the
    # first images, so that little is lost to rounding where they hardly vary.
    moments, cross, count = np.zeros((groups, size + 1, size + 1)), np.zeros((groups, size + 1, outputs)), 0
    origin = np.zeros((groups, 1, size), np.float32)
    for begin in range(0, len(values), BATCH):
        rows = [
            rows_at(graph, node, value, sample_positions(graph, node, begin + i, positions))
            for i, value in enumerate(values[begin : begin + BATCH])
        ]
        x = np.concatenate(rows, axis=1)
        if not begin and has_bias:
            origin = x.mean(axis=1, keepdims=True)
        x = np.concatenate([x - origin, np.ones((*x.shape[:2], 1), np.float32)], axis=2)
        y = reference[begin : begin + len(rows)].swapaxes(0, 1).reshape(groups, -1, outputs)
        moments += x.swapaxes(1, 2) @ x
        cross += x.swapaxes(1, 2) @ y
        count += x.shape[1]
    moments, cross = moments / count, cross / count
    gram, target = moments[:, :-1, :-1], cross[:, :-1]
    floor = ROUNDING * np.trace(gram, axis1=1, axis2=2) / size
    if not has_bias:
        return LayerProblem(damped(gram, DAMPING, floor), _refit(gram, target, maps, floor), None, None)
    mean_input, mean_output = moments[:, :-1, -1], cross[:, -1]
    gram = gram - mean_input[:, :, None] * mean_input[:, None, :]
    target = target - mean_input[:, :, None] * mean_output[:, None, :]
    fitted = _refit(gram, target, maps, floor)
    return LayerProblem(damped(gram, DAMPING, floor), fitted, mean_input + origin[:, 0], mean_output)


def _refit(gram: FloatArray, target: FloatArray, weights: FloatArray, floor: FloatArray) -> FloatArray:
    """Weights that give `target`, drawn to the given ones where the data do not say."""
    held = damped(gram, RIDGE, floor)
    fitted: FloatArray = weights + np.linalg.solve(held, target - gram @ weights)
    return fitted

"""A fixed number of values a layer, for indices of 4 or 8 bits: k-means by what errors cost, compensated, re-fitted."""

from __future__ import annotations

import numpy as np

from edgekit.compress.codebook import share_weights
from edgekit.compress.layer_problem import LayerProblem
from edgekit.compress.scalar import Levels, ScalarLayer, entropy_bits
from edgekit.graph.compensation import FloatArray, IntArray, descend, input_costs, output_error, sweep

ROUNDS = 2
REFIT_STEPS = 30
"""Steps of conjugate gradients, at most, that bring a codebook to its least squares solution."""
CONVERGED = 1e-10
"""Of the first residual's power."""


def quantize_shared(problem: LayerProblem, levels: int) -> ScalarLayer:
    """The layer with at most `levels` values, whatever their entropy: pruned weights may come back.

    Raises ModelError and RuntimeUnavailableError as `share_weights` does.
    """
    importance = np.broadcast_to(input_costs(problem.gram)[:, :, None], problem.weights.shape)
    shared = share_weights(problem.weights, levels, importance=importance)
    values = shared.codebook.astype(np.float64)
    for _ in range(ROUNDS):
        free = Levels(values, np.zeros(len(values)), 0.0)
        chosen = descend(problem.weights, problem.gram, sweep(problem.weights, problem.gram, free.choose), free.choose)
        indices = free.indices(chosen)
        fitted = refit_values(problem, indices, values)
        order = np.argsort(fitted, kind="stable")  # values may have passed one another
        values, indices = fitted[order], np.argsort(order)[indices]
    codebook = values.astype(np.float32)
    error = output_error(problem.weights - codebook.astype(np.float64)[indices], problem.gram)
    return ScalarLayer(indices, codebook, error, entropy_bits(indices, len(codebook)))


def refit_values(problem: LayerProblem, indices: IntArray, values: FloatArray) -> FloatArray:
    """The codebook (L,) of least output error for weights that stay tied to it by `indices`; a value of 0 stays 0.

    Conjugate gradients on the normal equations, whose matrix is never formed: a step costs as much as one product of
    the gram matrix with the weights.
    """
    counts = np.bincount(indices.ravel(), minlength=len(values))
    free = (values != 0) & (counts > 0)
    power = np.diagonal(problem.gram, axis1=1, axis2=2)[:, :, None]
    scale = np.bincount(indices.ravel(), np.broadcast_to(power, indices.shape).ravel(), minlength=len(values))
    scale = np.where(free, scale, 1.0)

    def gathered(error: FloatArray) -> FloatArray:
        total = np.bincount(indices.ravel(), (problem.gram @ error).ravel(), minlength=len(values))
        return np.where(free, total, 0.0)

    fitted: FloatArray = values.copy()
    residual = gathered(problem.weights - fitted[indices])
    direction = residual / scale
    power_left = first = float(residual @ direction)
    for _ in range(REFIT_STEPS):
        if power_left <= CONVERGED * first:
            break
        pushed = gathered(direction[indices])
        length = power_left / float(direction @ pushed)
        fitted += length * direction
        residual -= length * pushed
        next_direction = residual / scale
        next_power = float(residual @ next_direction)
        direction = next_direction + next_power / power_left * direction
        power_left = next_power
    return fitted

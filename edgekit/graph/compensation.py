"""Second-order error compensation: weights of a layer are replaced one input after another, the rest makes up for it.

A layer is `groups` independent linear maps Y = X W with X of shape (rows, K) and W of shape (K, N). Replacing W by Q
costs E' S E per output, E = W - Q, where S = X' X / rows is the map's gram matrix: all that the data say. Rounding,
pruning and choosing from a codebook differ only in how a weight's new value is chosen, so the choice is a function.

Sources: optimal brain surgeon (Hassibi and Stork, 1993), OBC (arXiv:2208.11580) and GPTQ (arXiv:2210.17323).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

Choose = Callable[[IntArray, FloatArray, FloatArray], FloatArray]
"""choose(inputs, weights, costs): inputs (groups,) tells which input of each group the weights (groups, N) belong to;
costs (groups,) is what an error of 1 costs. Returns the new values (groups, N)."""

BLOCK = 32
"""Inputs whose corrections are gathered before the remaining weights are updated."""


def damped(gram: FloatArray, share: float, least: FloatArray | float = 0.0) -> FloatArray:
    """gram (groups, K, K) in float64 plus `share` of its mean diagonal on the diagonal, so that it has an inverse.

    least: (groups,), what is added at least. A map that has seen nothing but zeros gets the identity: there, errors
    are measured on the weights themselves.
    """
    size = gram.shape[-1]
    mean = np.trace(gram, axis1=1, axis2=2).astype(np.float64) / size
    ridge = np.maximum(share * mean, least)
    ridge = np.where(ridge > 0, ridge, 1.0)
    result: FloatArray = gram.astype(np.float64) + ridge[:, None, None] * np.eye(size)
    return result


def output_error(error: FloatArray, gram: FloatArray) -> float:
    """Mean square error of the outputs, summed over all outputs, for weight errors (groups, K, N)."""
    return float(np.einsum("gkn,gkn->", error, gram @ error, optimize=True))


def input_costs(gram: FloatArray) -> FloatArray:
    """What an error of 1 in a weight of each input costs while those behind it still make up for it: (groups, K).

    In the order in which `sweep` takes the inputs, but in the place of each input.
    """
    order, factor = _ordered_factor(gram)
    costs = np.empty(gram.shape[:2])
    np.put_along_axis(costs, order, 1 / np.diagonal(factor, axis1=1, axis2=2) ** 2, axis=1)
    return costs


def sweep(weights: FloatArray, gram: FloatArray, choose: Choose) -> FloatArray:
    """New weights (groups, K, N): inputs of the greatest power first, each error spread over those that remain.

    gram: (groups, K, K), positive definite (`damped`).
    """
    order, factor = _ordered_factor(gram)
    left = np.take_along_axis(weights.astype(np.float64), order[:, :, None], axis=1)
    chosen = np.empty_like(left)
    size = left.shape[1]
    for begin in range(0, size, BLOCK):
        end = min(begin + BLOCK, size)
        errors = np.empty((left.shape[0], end - begin, left.shape[2]))
        for k in range(begin, end):
            pivot = factor[:, k, k]
            chosen[:, k] = choose(order[:, k], left[:, k], 1 / pivot**2)
            errors[:, k - begin] = (left[:, k] - chosen[:, k]) / pivot[:, None]
            left[:, k + 1 : end] -= factor[:, k, k + 1 : end, None] * errors[:, k - begin, None, :]
        left[:, end:] -= factor[:, begin:end, end:].swapaxes(1, 2) @ errors
    result = np.empty_like(chosen)
    np.put_along_axis(result, order[:, :, None], chosen, axis=1)
    return result


def descend(weights: FloatArray, gram: FloatArray, chosen: FloatArray, choose: Choose) -> FloatArray:
    """One pass of coordinate descent: each weight is chosen again, all others standing at their chosen values.

    Never worse than `chosen` where `choose` takes the value of least cost. Shapes as in `sweep`.
    """
    current: FloatArray = chosen.copy()
    pull = gram @ (weights - current)
    order = np.argsort(-np.diagonal(gram, axis1=1, axis2=2), axis=1, kind="stable")
    groups = np.arange(len(current))
    for inputs in order.T:
        power = gram[groups, inputs, inputs]
        before = current[groups, inputs]
        best = choose(inputs, before + pull[groups, inputs] / power[:, None], power)
        step = best - before
        moved = np.flatnonzero(step.any(axis=0))
        if len(moved):
            pull[:, :, moved] -= gram[groups, :, inputs][:, :, None] * step[:, None, moved]
            current[groups, inputs] = best
    return current


def _ordered_factor(gram: FloatArray) -> tuple[IntArray, FloatArray]:
    """The inputs by falling power (groups, K), and the upper Cholesky factor of the inverse in that order."""
    order = np.argsort(-np.diagonal(gram, axis1=1, axis2=2), axis=1, kind="stable")
    sorted_gram = np.take_along_axis(np.take_along_axis(gram, order[:, :, None], axis=1), order[:, None, :], axis=2)
    return order, np.linalg.cholesky(np.linalg.inv(sorted_gram)).swapaxes(1, 2)

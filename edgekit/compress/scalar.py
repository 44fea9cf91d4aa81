"""Entropy-constrained quantization of a layer's weights: output error + price * bits, with error compensation.

Sending a weight to zero is one of the choices, so pruning and quantization are one: at a high price most weights go.
The rate of a value is its share in the layer (-log2); iterating sets shares and choices to one another
(Chou, Lookabaugh and Gray, 1989, with the sweep of `graph.compensation` in place of independent choices).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.compress.layer_problem import LayerProblem
from edgekit.graph.compensation import FloatArray, IntArray, descend, input_costs, output_error, sweep
from edgekit.graph.ir import Array

ROUNDS = 3
"""Sweeps of a layer; the shares of the values come from the sweep before."""
STEP_FACTOR = 1.2
"""Steps that are tried lie this factor apart."""
FIRST_STEP = 0.9
"""Of the step at which, at a high rate, error and bits are in balance; smaller because many weights go to zero."""
MOST_LEVELS = 4096
"""Values on a grid, at most; a layer that would need more gets a wider step."""
STEP_BITS = 4
"""Significant bits of a step."""
SMOOTHING = 0.3
"""Added to each value's count, so that one that did not occur is not out of reach."""


@dataclass(frozen=True, slots=True)
class Levels:
    """values: (L,) sorted, 0 among them where they are a grid; bits: (L,) what each costs; price: of one bit."""

    values: FloatArray
    bits: FloatArray
    price: float

    def choose(self, inputs: IntArray, weights: FloatArray, costs: FloatArray) -> FloatArray:
        """The value of least cost * error^2 + price * bits among the nearest, three more towards zero, and zero."""
        middles = (self.values[1:] + self.values[:-1]) / 2
        nearest = np.searchsorted(middles, weights)
        zero = int(np.abs(self.values).argmin())
        towards = np.sign(zero - nearest)
        options = np.stack([*(nearest + _clip_steps(nearest, towards, zero, s) for s in range(4)), 0 * nearest + zero])
        cost = costs[:, None] * np.square(self.values[options] - weights) + self.price * self.bits[options]
        best = np.take_along_axis(options, cost.argmin(axis=0)[None], axis=0)[0]
        chosen: FloatArray = self.values[best]
        return chosen

    def indices(self, chosen: FloatArray) -> IntArray:
        """Which of the values each of `chosen` is."""
        return np.searchsorted(self.values, chosen)


def _clip_steps(nearest: IntArray, towards: IntArray, zero: int, steps: int) -> IntArray:
    """`steps` towards zero, but not beyond it."""
    clipped: IntArray = towards * np.minimum(steps, np.abs(zero - nearest))
    return clipped


@dataclass(frozen=True, slots=True)
class ScalarLayer:
    """A layer's weights as indices (groups, K, N) into a codebook (L,) float32; what they cost, and their error."""

    indices: IntArray
    codebook: Array
    error: float
    bits: float

    def cost(self, price: float) -> float:
        """error + price * bits."""
        return self.error + price * self.bits

    def maps(self) -> FloatArray:
        """The weights (groups, K, N), float64."""
        return self.codebook.astype(np.float64)[self.indices]


def balanced_step(cost: float, price: float) -> float:
    """The grid step at which a bit more, which halves the step, saves as much error (cost step^2 / 12) as it costs."""
    return float(np.sqrt(12 * price / (2 * np.log(2) * cost)))


def quantize_scalar(problem: LayerProblem, price: float) -> ScalarLayer:
    """The layer on the grid whose step costs least; price in mean square output error per bit."""
    costs = input_costs(problem.gram)
    start = FIRST_STEP * balanced_step(float(np.exp(np.log(costs).mean())), price)
    tried: dict[int, ScalarLayer] = {}

    def at(exponent: int, rounds: int) -> ScalarLayer:
        return on_grid(problem, start * STEP_FACTOR**exponent, price, rounds)

    best = 0
    tried[0] = at(0, 1)
    for direction in (-1, 1):
        while best + direction not in tried:
            tried[best + direction] = at(best + direction, 1)
            if tried[best + direction].cost(price) >= tried[best].cost(price):
                break
            best += direction
        if best:
            break
    return at(best, ROUNDS)


def on_grid(problem: LayerProblem, step: float, price: float, rounds: int) -> ScalarLayer:
    """The layer on the grid of that step."""
    reach = float(np.abs(problem.weights).max())
    step = min(step, 4 * reach)  # wider ones leave zeros only, as this one does
    step = max(step, 2.2 * reach / MOST_LEVELS, float(np.finfo(np.float32).tiny))
    codebook = grid(step, -reach, reach)
    values = codebook.astype(np.float64)
    chosen = values[np.searchsorted((values[1:] + values[:-1]) / 2, problem.weights)]
    for _ in range(rounds):
        levels = Levels(values, code_lengths(np.searchsorted(values, chosen), len(values)), price)
        chosen = sweep(problem.weights, problem.gram, levels.choose)
        levels = Levels(values, code_lengths(levels.indices(chosen), len(values)), price)
        chosen = descend(problem.weights, problem.gram, chosen, levels.choose)
    indices = np.searchsorted(values, chosen)
    bits = entropy_bits(indices, len(values))
    return ScalarLayer(indices, codebook, output_error(problem.weights - chosen, problem.gram), bits)


def grid(step: float, low: float, high: float) -> Array:
    """All whole multiples of about `step` that lie nearest to values between low and high, 0 among them: (L,).

    The step is rounded to STEP_BITS significant bits: then its multiples are short and exact, and a codebook of them
    takes few bytes.
    """
    mantissa, exponent = np.frexp(step)
    unit = np.ldexp(np.float32(np.rint(np.ldexp(mantissa, STEP_BITS))), exponent - STEP_BITS)
    first, last = min(int(np.rint(low / unit)), 0), max(int(np.rint(high / unit)), 0)
    values: Array = unit * np.arange(first, last + 1, dtype=np.float32)
    return values


def code_lengths(indices: IntArray, count: int) -> FloatArray:
    """Bits of each of `count` values by its share: (count,)."""
    counts = np.bincount(indices.ravel(), minlength=count) + SMOOTHING
    lengths: FloatArray = -np.log2(counts / counts.sum())
    return lengths


def entropy_bits(indices: IntArray, count: int) -> float:
    """What an adaptive coder without contexts takes, about: the entropy, and half a logarithm for each value in use."""
    counts = np.bincount(indices.ravel(), minlength=count)
    counts = counts[counts > 0]
    return float(-(counts * np.log2(counts / counts.sum())).sum() + len(counts) * np.log2(max(indices.size, 2)) / 2)

"""Finds cost-model coefficients from measured graphs: non-negative least squares on relative errors."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DeviceError
from edgekit.graph import Graph
from edgekit.passes.target import (
    PRICES,
    STEPS,
    UNPRICED,
    Coefficients,
    Counts,
    Layer,
    layer_counts,
    layer_of,
    node_counts,
    total_ns,
)

FloatArray = NDArray[np.float64]
CHOICES = {"inputs_step": (1, 2, 4, 8), "outputs_step": (1, 4, 8, 16, 32), "depthwise_step": (1, 4, 8, 16)}
"""Multiples that kernels of today are written for."""

_CALL = "call"
"""What one call of the runtime costs beside its ops: measured with the rest, and no part of the coefficients."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A graph and the nanoseconds that one run of its file took."""

    name: str
    graph: Graph
    ns: float


@dataclass(frozen=True, slots=True)
class Fit:
    """coefficients, and for each price that was fitted its standard error as a share of it.

    call_ns: one call of the runtime. median_error, worst_error: predicted against measured over the fitted samples.
    """

    coefficients: Coefficients
    errors: dict[str, float]
    call_ns: float
    median_error: float
    worst_error: float


@dataclass(frozen=True, slots=True)
class Check:
    """How a sample was predicted."""

    name: str
    predicted_ns: float
    measured_ns: float

    @property
    def error(self) -> float:
        """Share of the measured time by which the prediction is wrong."""
        return abs(self.predicted_ns / self.measured_ns - 1)


def fit_prices(samples: Sequence[Sample]) -> Fit:
    """The prices, and the steps among CHOICES, with the least squares of relative errors.

    What no sample pays for costs 0. Raises DeviceError for fewer samples than prices and for times that are none.
    """
    if len(samples) < len(PRICES):
        raise DeviceError(f"{len(samples)} timings cannot tell {len(PRICES)} prices: measure more graphs")
    wrong = [s.name for s in samples if not (np.isfinite(s.ns) and s.ns > 0)]
    if wrong:
        raise DeviceError(f"the time of {wrong[0]!r} is not above 0: measure again")
    parts = [_parts(sample.graph) for sample in samples]
    best: tuple[float, Coefficients, FloatArray, FloatArray] | None = None
    for chosen in itertools.product(*(CHOICES[step] for step in STEPS)):
        steps = replace(UNPRICED, **dict(zip(STEPS, chosen, strict=True)))
        rows = _rows(parts, samples, steps)
        found = non_negative_least_squares(rows, np.ones(len(samples)))
        loss = float(np.square(rows @ found - 1).sum())
        if best is None or loss < best[0] * (1 - 1e-9):
            best = loss, steps, rows, found
    if best is None:
        raise DeviceError("no steps to choose from")
    return _fit(*best)


def check(samples: Sequence[Sample], fit: Fit) -> list[Check]:
    """Predicted and measured times of graphs, those that the fit has not seen above all."""
    found = []
    for sample in samples:
        ns = total_ns(_parts(sample.graph).counts(fit.coefficients), fit.coefficients)
        found.append(Check(sample.name, ns + fit.call_ns, sample.ns))
    return found


def non_negative_least_squares(rows: FloatArray, wanted: FloatArray) -> FloatArray:
    """x >= 0 of shape (n,) with the least |rows x - wanted|; rows of shape (m, n).

    Source: Lawson and Hanson, Solving Least Squares Problems, chapter 23.
    """
    scale = np.linalg.norm(rows, axis=0)
    a = rows / np.where(scale > 0, scale, 1.0)
    x, free = np.zeros(a.shape[1]), np.zeros(a.shape[1], bool)
    for _ in range(10 * a.shape[1]):
        gain = a.T @ (wanted - a @ x)
        gain[free | (scale == 0)] = 0
        if gain.max() <= 1e-10:
            break
        free[int(gain.argmax())] = True
        while True:
            trial = np.zeros_like(x)
            trial[free] = np.linalg.lstsq(a[:, free], wanted, rcond=None)[0]
            falling = free & (trial <= 0)
            if not falling.any():
                x = trial
                break
            share = (x[falling] / (x[falling] - trial[falling])).min()
            x = x + share * (trial - x)
            free &= x > 1e-14
            x[~free] = 0
    return x / np.where(scale > 0, scale, 1.0)


@dataclass(frozen=True, slots=True)
class _Parts:
    """A graph for pricing under many steps: how often each layer stands in it, and what the other nodes pay for."""

    layers: Counter[Layer]
    others: Counts

    def counts(self, steps: Coefficients) -> Counts:
        """What the graph pays for."""
        total = dict(self.others)
        for layer, number in self.layers.items():
            for name, count in layer_counts(layer, steps).items():
                total[name] = total.get(name, 0.0) + number * count
        return total


def _parts(graph: Graph) -> _Parts:
    layers: Counter[Layer] = Counter()
    others: Counts = {}
    for node in graph.nodes:
        if node.op in ("conv2d", "dense"):
            layers[layer_of(graph, node)] += 1
            continue
        for name, count in node_counts(graph, node, UNPRICED).items():
            others[name] = others.get(name, 0.0) + count
    return _Parts(layers, others)


def _rows(parts: Sequence[_Parts], samples: Sequence[Sample], steps: Coefficients) -> FloatArray:
    """What each sample pays for, by price, over its measured time; the last column is the call."""
    rows = np.zeros((len(samples), len(PRICES) + 1))
    for row, part, sample in zip(rows, parts, samples, strict=True):
        counts = part.counts(steps)
        row[:-1] = [counts.get(name, 0.0) for name in PRICES]
        row[-1] = 1.0
        row /= sample.ns
    return rows


def _fit(loss: float, steps: Coefficients, rows: FloatArray, found: FloatArray) -> Fit:
    names = (*PRICES, _CALL)
    prices = dict(zip(names, found.tolist(), strict=True))
    paid = found > 0
    freedom = max(1, len(rows) - int(paid.sum()))
    shares = rows[:, paid] * found[paid]  # columns of one size, or the inverse would be none
    spread = np.sqrt(np.diag(np.linalg.pinv(shares.T @ shares)) * loss / freedom)
    paid_names = [name for name, is_paid in zip(names, paid, strict=True) if is_paid]
    errors = {name: float(s) for name, s in zip(paid_names, spread, strict=True)}
    call = prices.pop(_CALL)
    if steps.depthwise_step == 1:
        prices["ragged_depthwise_mac"] = prices["depthwise_mac"]
    off = np.abs(rows @ found - 1)
    return Fit(replace(steps, **prices), errors, call, float(np.median(off)), float(off.max()))

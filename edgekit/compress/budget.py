"""How much a network's weights may take, or how much accuracy they may cost: the price of a bit is searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.compress.drift import expected_drop
from edgekit.compress.walk import Engine, numpy_engine, walk
from edgekit.compress.weights import CompressedWeights, Measure, WeightCompressor, estimated_bytes, mirrored
from edgekit.errors import ModelError
from edgekit.graph.ir import Array, Graph

FIRST_DRIFT = 0.06
"""The first price that is tried: this drift spread over as many bits as there are weights."""
SIZE_TOLERANCE = 0.006
"""Share of the wanted bytes that may be left unused."""
NEAR = 0.05
"""In the logarithm of the size: within this of the target, sizes are measured, not estimated."""
CLOSEST_PRICES = 0.01
"""In the logarithm of the price: where the limit lies between two that are closer, the search ends."""
DROP_TOLERANCE = 0.15
"""Share of the allowed drop that may be left unused, about."""
SIZE_SLOPE, DROP_SLOPE = 0.15, 1.3
"""By how much the logarithms of bytes and drop change with that of the price, about: for the second guess only."""
MOST_TRIALS = 12
LONGEST_STRIDE = 3.0
"""In the logarithm of the price, at first; doubled each time while the limit has only been seen from one side."""
HELD_OUT = 5
"""One in this many images judges the drop, and calibrates only once the price is found."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Exactly one of: target_bytes, the most that the weights take; max_drop, points of top-1 accuracy.

    max_drop is judged by `expected_drop` on images that calibration did not see: no labels are needed.
    Raises ModelError for both or none of them, and for values that are not above 0.
    """

    target_bytes: float | None = None
    max_drop: float | None = None

    def __post_init__(self) -> None:
        given = [limit for limit in (self.target_bytes, self.max_drop) if limit is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ModelError("a budget is either a number of bytes or a drop in points of accuracy, above 0")


def compress_weights(
    graph: Graph,
    images: Sequence[Array],
    budget: Budget,
    *,
    engine: Engine = numpy_engine,
    measure: Measure = estimated_bytes,
    mirror: bool = False,
) -> CompressedWeights:
    """The network with the weights that stay nearest to its float outputs within the budget.

    images: (1, H, W, C) float32, preprocessed, a few hundred of the kind that the network is for; labels are not
    needed. measure: exact bytes of the coded tensors, all that counts against target_bytes. mirror: calibrate on the
    mirror images too.
    Raises ModelError where the budget cannot be kept, DataError for too few images, and as `WeightCompressor`.
    """
    if budget.target_bytes is not None:
        used = mirrored(images) if mirror else images
        return _within_bytes(WeightCompressor(graph, used, engine), budget.target_bytes, measure)
    if len(images) < HELD_OUT:
        raise ModelError(f"a drop is judged on one image in {HELD_OUT}: give at least {HELD_OUT}, not {len(images)}")
    return _within_drop(graph, images, engine, float(budget.max_drop or 0), mirror)


def _within_bytes(compressor: WeightCompressor, target: float, measure: Measure) -> CompressedWeights:
    tried: dict[float, CompressedWeights] = {}
    sizes: dict[float, float] = {}
    beside: float | None = None

    def excess(x: float) -> float:
        """Measured exactly only near the target: coding a whole network to see its size takes time."""
        nonlocal beside
        tried[x] = compressor.at(float(np.exp(-x)))
        estimate = estimated_bytes(tried[x].tensors)
        sizes[x] = max(estimate + (beside or 0.0), 1.0)
        if beside is None or abs(np.log(sizes[x] / target)) < NEAR:
            sizes[x] = measure(tried[x].tensors)
            beside = sizes[x] - estimate
        return float(np.log(sizes[x] / target))

    best = search(excess, -_first_price(compressor), SIZE_TOLERANCE, SIZE_SLOPE)
    # From the best downwards, since sizes far from the target were only estimated.
    for x in sorted((x for x in tried if best is not None and x <= best), reverse=True):
        sizes[x] = measure(tried[x].tensors)
        if sizes[x] <= target:
            return tried[x]
    raise ModelError(f"{target:.0f} bytes are too few: the least that was reached is {min(sizes.values()):.0f}")


def _within_drop(graph: Graph, images: Sequence[Array], engine: Engine, most: float, mirror: bool) -> CompressedWeights:
    seen = [image for i, image in enumerate(images) if i % HELD_OUT]
    unseen = images[::HELD_OUT]
    compressor = WeightCompressor(graph, mirrored(seen) if mirror else seen, engine)
    heads = compressor.heads
    before = walk(graph, unseen, engine, (), lambda node, state: None, heads)

    def excess(x: float) -> float:
        changed = compressor.at(float(np.exp(x))).graph
        drop = expected_drop(before, walk(changed, unseen, engine, (), lambda node, state: None, heads))
        return float(np.log(max(drop, most / 1e6) / most))

    best = search(excess, _first_price(compressor), DROP_TOLERANCE, DROP_SLOPE)
    if best is None:
        raise ModelError(f"a drop of at most {most} points cannot be kept on the images that were held out")
    return WeightCompressor(graph, mirrored(images) if mirror else images, engine).at(float(np.exp(best)))


def _first_price(compressor: WeightCompressor) -> float:
    return float(np.log(FIRST_DRIFT / compressor.weight_count))


def search(value: Callable[[float], float], start: float, tolerance: float, slope: float) -> float | None:
    """x with value(x) between -tolerance and 0, for a rising function; failing that the highest x tried below 0.

    slope: of the function, about. None where no x with a value of at most 0 was found in MOST_TRIALS.
    """
    below: tuple[float, float] | None = None
    above: tuple[float, float] | None = None
    x, stride = start, 1.0
    for _ in range(MOST_TRIALS):
        y = value(x)
        if y <= 0:
            below = (x, y) if below is None or x > below[0] else below
            if y >= -tolerance:
                break
        else:
            above = (x, y) if above is None or x < above[0] else above
        if below and above:
            if above[0] - below[0] < CLOSEST_PRICES:
                break
            share = (-tolerance / 2 - below[1]) / (above[1] - below[1])
            x = below[0] + (above[0] - below[0]) * min(max(share, 0.05), 0.95)
        else:
            x -= stride * float(np.clip((y + tolerance / 2) / slope, -LONGEST_STRIDE, LONGEST_STRIDE))
            stride = min(2 * stride, 8.0)
    return below[0] if below else None

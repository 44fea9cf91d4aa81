"""From statistics to the range [low, high] that an activation's 256 steps cover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgekit.errors import QuantizationError
from edgekit.graph.quant_params import QuantParams
from edgekit.quantize.calibrate import FloatArray, TensorStatistics

Range = tuple[float, float]
STEPS = 255
BINS = 4096
"""Of the histogram that stands for the values in the MSE search: 16 to a step of the full range."""
SORTED_VALUES = 2**18
"""About as many of the values are sorted for percentiles."""
_SHRINK = np.linspace(1.0, 0.3, 36)
"""Fractions of the full range that the MSE search tries."""


def min_max_range(members: Sequence[TensorStatistics]) -> Range:
    """Everything that calibration saw."""
    return min(float(m.low.min()) for m in members), max(float(m.high.max()) for m in members)


def percentile_range(members: Sequence[TensorStatistics], percent: float = 99.99) -> Range:
    """The central `percent` of the values: (100 - percent) / 2 are cut off at either end."""
    values = _values(members)
    tail = (100 - percent) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    full_low, full_high = min_max_range(members)
    return max(float(low), full_low), min(float(high), full_high)


def mse_range(members: Sequence[TensorStatistics]) -> Range:
    """The range with the least mean squared error of rounding and clipping, over shrunken full ranges.

    Either end is shrunk by itself, the greater one first. Source: arXiv:1810.05723's criterion, by search.
    """
    low, high = min_max_range(members)
    low, high = min(low, 0.0), max(high, 0.0)
    unit = max(high, -low)
    if high - low < BINS * np.finfo(np.float32).tiny:
        return low, high
    # In units of the greatest value, squares neither overflow nor vanish.
    values, low, high = _histogram(members, low, high), low / unit, high / unit
    if high >= -low:
        high = _best(values, [(low, high * f) for f in _SHRINK])[1]
        low = _best(values, [(low * f, high) for f in _SHRINK])[0] if low < 0 else 0.0
    else:
        low = _best(values, [(low * f, high) for f in _SHRINK])[0]
        high = _best(values, [(low, high * f) for f in _SHRINK])[1] if high > 0 else 0.0
    return low * unit, high * unit


METHODS: dict[str, Callable[[Sequence[TensorStatistics]], Range]] = {
    "min-max": min_max_range,
    "percentile": percentile_range,
    "mse": mse_range,
}


def choose_range(method: str, members: Sequence[TensorStatistics]) -> Range:
    """The range of activations that share one scale. Raises QuantizationError for an unknown method."""
    check_method(method)
    return METHODS[method](members)


def check_method(method: str) -> None:
    """Raise QuantizationError for an unknown range method."""
    if method not in METHODS:
        raise QuantizationError(f"range method {method!r} is none of {', '.join(METHODS)}")


def activation_params(low: float, high: float) -> QuantParams:
    """int8 parameters of an activation; the range is widened to hold 0, and 0 falls on a step exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / STEPS
    if scale < np.finfo(np.float32).tiny:
        return QuantParams.per_tensor(1 / STEPS, -128)
    return QuantParams.per_tensor(scale, int(np.clip(np.rint(-128 - low / scale), -128, 127)))


def _values(members: Sequence[TensorStatistics]) -> FloatArray:
    """At most about SORTED_VALUES values, evenly thinned over positions, all channels alike."""
    budget = SORTED_VALUES / len(members)
    thinned = [m.positions[:: max(1, round(m.positions.size / budget))] for m in members]
    return np.concatenate([positions.reshape(-1) for positions in thinned])


class _Histogram(NamedTuple):
    """centres (BINS,) in units of the greatest |value|, and each bin's share of the values (BINS,)."""

    centres: FloatArray
    shares: npt.NDArray[np.float64]


def _histogram(members: Sequence[TensorStatistics], low: float, high: float) -> _Histogram:
    """All sampled values between low and high; each member weighs the same, whatever its size."""
    width = (high - low) / BINS
    shares = np.zeros(BINS)
    for member in members:
        bins = ((member.positions.reshape(-1) - np.float32(low)) * np.float32(1 / width)).astype(np.int32)
        shares += np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS) / bins.size
    centres = (low + width * (np.arange(BINS) + 0.5)) / max(high, -low)
    return _Histogram(centres.astype(np.float32), shares)


def _best(values: _Histogram, ranges: Sequence[Range]) -> Range:
    return min(ranges, key=lambda r: _squared_error(values, r))


def _squared_error(values: _Histogram, limits: Range) -> float:
    low, high = limits
    scale = np.float32((high - low) / STEPS)
    clipped = np.clip(values.centres, np.float32(low), np.float32(high))
    error = np.rint(clipped / scale) * scale - values.centres
    return float(np.square(error) @ values.shares)

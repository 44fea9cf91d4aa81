"""TFLite's fixed-point arithmetic: a real factor as a 31-bit multiplier and a shift, and products with it.

Source: TFLite's `QuantizeMultiplier` and `MultiplyByQuantizedMultiplier` in their usual, twice rounding form, after
arXiv:1712.05877, section 2.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.graph.quant_params import RANGES, QuantParams

Array = npt.NDArray[Any]


def quantize_multiplier(real: npt.ArrayLike) -> tuple[Array, Array]:
    """Non-negative factors as (multiplier, shift), int64: real = multiplier / 2**31 * 2**shift, multiplier below 2**31.

    Factors too small for the format become 0.
    """
    mantissa, exponent = np.frexp(np.asarray(real, np.float64))
    multiplier = np.floor(mantissa * 2.0**31 + 0.5).astype(np.int64)
    shift = exponent.astype(np.int64)
    full = multiplier == 2**31
    multiplier, shift = np.where(full, 2**30, multiplier), np.where(full, shift + 1, shift)
    tiny = shift < -31
    return np.where(tiny, 0, multiplier), np.where(tiny, 0, shift)


def divide_by_power_of_two(x: Array, exponent: npt.ArrayLike) -> Array:
    """x / 2**exponent in integers, rounded to nearest, halves away from zero."""
    exponent = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    result: Array = (x >> exponent) + ((x & mask) > threshold)
    return result


def high_multiply(a: Array, b: npt.ArrayLike, bits: int = 31) -> Array:
    """a * b / 2**bits in int64, rounded to nearest: the doubling high product of Arm's SQRDMULH, without saturation."""
    product = a * np.asarray(b, np.int64)
    half = 1 << (bits - 1)
    nudged = product + np.where(product >= 0, half, 1 - half)
    # C++ divides towards zero, a shift rounds down.
    result: Array = np.where(nudged >= 0, nudged >> bits, -((-nudged) >> bits))
    return result


def multiply(x: Array, multiplier: npt.ArrayLike, shift: npt.ArrayLike) -> Array:
    """x * multiplier / 2**31 * 2**shift, rounded twice: after the product and after a shift to the right."""
    left, right = np.maximum(shift, 0), np.maximum(np.negative(shift), 0)
    return divide_by_power_of_two(high_multiply(x << left, multiplier), right)


def rescale(x: Array, real: npt.ArrayLike) -> Array:
    """x * real in fixed point. x: int64 of int32's range; real: factors that broadcast against it."""
    return multiply(x, *quantize_multiplier(real))


def divided_multiplier(real: float, count: int) -> tuple[int, int]:
    """(multiplier, shift) of real / count as TFLite's means have it: the multiplier is divided, and rounded down."""
    multiplier, shift = (int(value) for value in quantize_multiplier(real))
    gained = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << gained) // count, shift - gained


def rescale_once(x: Array, real: npt.ArrayLike) -> Array:
    """x * real rounded to nearest integers, halves to even, with factors of single precision: as XNNPACK rescales."""
    factors = np.asarray(real, np.float32).astype(np.float64)
    result: Array = np.rint(x * factors).astype(np.int64)
    return result


def round_half_away(x: Array) -> Array:
    """Nearest integers as int64, halves away from zero: C's `round`."""
    result: Array = (np.sign(x) * np.floor(np.abs(x) + 0.5)).astype(np.int64)
    return result


def activation_range(quant: QuantParams, activation: str) -> tuple[int, int]:
    """(least, greatest) integer that a fused activation (none, relu or relu6) lets through."""
    low, high = RANGES[quant.dtype]
    zero = quant.zero_point[0]
    if activation != "none":
        low = max(low, zero)
    if activation == "relu6":
        six = np.asarray(np.float32(6.0) / np.float32(quant.scale[0]))
        high = min(high, zero + int(round_half_away(six)))
    return low, high

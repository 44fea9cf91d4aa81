"""How many bits a tensor takes in a container, without writing one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from edgekit.compress.adaptive import Model, code_tensor
from edgekit.compress.arrangement import DEPTHWISE, FLAT, ROWS_FIRST, ROWS_LAST, ROWS_THEN_TAPS, Arrangement
from edgekit.compress.bits import BitWriter
from edgekit.compress.coded import CodedTensor
from edgekit.compress.fit import fit_model
from edgekit.compress.lanes import CountingCoder
from edgekit.compress.model_bits import write_codebook, write_model
from edgekit.compress.symbols import Symbols
from edgekit.graph.ir import Array

LOW_BITS = {1: (0,), 2: (0, 6, 8), 4: (0, 8, 12, 16, 19, 20, 21), 8: (0, 48, 50)}
"""By bytes an element: how many of its bits may be set apart from the symbols."""
SPLITS_TRIED = 2
REUSE = 8
"""Where a code stands for this many elements on average, setting more bits apart does not pay."""
MIN_FLAT = 1 << 12
"""Larger tensors of one axis only are coded flat; of more axes, flat is tried below this size only."""

MIN_PREDICTED = 1 << 14
"""Larger tensors are always coded with a fitted model."""


@dataclass(frozen=True, slots=True)
class CodedSize:
    """In bits: what the adaptive coder writes for the elements, and for codebook and model."""

    element_bits: float
    table_bits: int

    @property
    def bits(self) -> float:
        """Both."""
        return self.element_bits + self.table_bits


@dataclass(frozen=True, slots=True)
class AdaptivePlan:
    """A tensor ready to be coded adaptively, and what it will take."""

    symbols: Symbols
    model: Model
    size: CodedSize


def coded_size(tensor: CodedTensor | Array) -> CodedSize:
    """What the adaptive coder makes of a tensor, exact up to the last words of the whole file.

    Repetitions in a codebook and codes that no element uses cost nothing. Raises ValueError for an empty tensor.
    """
    values = tensor.values() if isinstance(tensor, CodedTensor) else tensor
    plan = plan_adaptive(values)
    if plan is None:
        raise ValueError("the adaptive coder takes no empty tensor")
    return plan.size


def plan_adaptive(values: Array) -> AdaptivePlan | None:
    """The cheapest of the orders that suit the shape and of a few splits into symbols and bits below; None if empty."""
    best: AdaptivePlan | None = None
    for symbols in _splits(values):
        for order in _orders(values.shape):
            for plan in _plans(symbols, values.shape, order):
                if best is None or plan.size.bits < best.size.bits:
                    best = plan
    return best


def _splits(values: Array) -> list[Symbols]:
    """The splits into symbols and bits below that look best by plain entropy: one or two, none of an empty tensor."""
    found: list[tuple[float, Symbols]] = []
    for low_bits in LOW_BITS[values.dtype.itemsize] if values.size else ():
        symbols = Symbols.of(values, low_bits)
        if symbols is None:
            continue
        counts = np.bincount(symbols.indices)
        entropy = float((counts * -np.log2(counts / len(symbols.indices))).sum())
        gap = 8 * values.dtype.itemsize - low_bits - math.log2(len(symbols.codes))
        found.append((entropy + low_bits * values.size + len(symbols.codes) * (gap + 2), symbols))
        if len(symbols.codes) <= max(values.size // REUSE, 1):
            break
    found.sort(key=lambda pair: pair[0])
    return [symbols for _, symbols in found[:SPLITS_TRIED]]


def _plans(symbols: Symbols, shape: tuple[int, ...], order: int) -> Iterator[AdaptivePlan]:
    """With the fitted model and, for small tensors, without any prediction, which takes less to describe."""
    model = fit_model(symbols, shape, order)
    yield _plan(symbols, shape, model)
    if len(symbols.indices) < MIN_PREDICTED:
        nothing = tuple(((0,) * len(lean), (0,) * len(size)) for lean, size in model.coefficients)
        yield _plan(symbols, shape, replace(model, coefficients=nothing))


def _plan(symbols: Symbols, shape: tuple[int, ...], model: Model) -> AdaptivePlan:
    counter, tables = CountingCoder(), BitWriter()
    code_tensor(shape, model, symbols.code_values(), counter, symbols.indices)
    write_codebook(tables, symbols)
    write_model(tables, model)
    bits = counter.bits + symbols.low_bits * len(symbols.indices)
    return AdaptivePlan(symbols, model, CodedSize(bits, 8 * len(tables.done())))


def _orders(shape: tuple[int, ...]) -> list[int]:
    """Orders worth trying: one of those that see the same rows, columns and taps."""
    found: dict[tuple[object, ...], int] = {}
    for order in (ROWS_FIRST, ROWS_THEN_TAPS, ROWS_LAST, DEPTHWISE, FLAT):
        seen = Arrangement.of(shape, order)
        if seen is None or (order == FLAT and len(shape) > 1 and seen.rows > MIN_FLAT):
            continue
        found.setdefault((seen.rows, seen.columns, seen.taps, seen.tap_width, _first_axis(order, seen)), order)
    return list(found.values())


def _first_axis(order: int, seen: Arrangement) -> bool:
    """Whether rows lie in the first axis."""
    return order in (FLAT, ROWS_FIRST, ROWS_THEN_TAPS) or seen.columns * seen.taps == 1

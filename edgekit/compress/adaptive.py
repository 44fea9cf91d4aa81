"""The adaptive coder of one tensor: symbols in, decisions for a range coder out, and back.

Encoder, decoder and size estimate walk through a tensor with the same code and differ in the `Coder` that they bring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.compress.arrangement import Arrangement, runs
from edgekit.compress.lanes import Coder
from edgekit.compress.predict import TAP_CLASSES, Classes, Known, scores, tap_neighbours
from edgekit.compress.tables import Cells, Tables, frequencies, positions
from edgekit.graph.ir import Array


@dataclass(frozen=True, slots=True)
class Model:
    """What the decoder is told about a tensor beside its codebook.

    order, stride_bits: how it is walked through; zero: the code of the value 0 where zeros are told apart, or -1;
    scale: levels per unit (a float32); mean: mean magnitude in 1/64 levels, zeros included; share: weights that are not
    zero, in 1/256; spread: their mean magnitude in 1/256 levels; coefficients: a class of taps' two rows for `scores`.
    """

    order: int
    stride_bits: int
    zero: int
    scale: float
    mean: int
    share: int
    spread: int
    coefficients: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]


def code_tensor(
    shape: tuple[int, ...],
    model: Model,
    code_values: npt.NDArray[np.float64],
    coder: Coder,
    indices: Array | None = None,
    between_runs: Callable[[], None] | None = None,
) -> Array:
    """Send a tensor's indices (n,) through `coder`, or receive them where `indices` is None; returns them.

    between_runs is called after each run of rows: a stream may be cut there.
    """
    arrangement = Arrangement.of(shape, model.order)
    if arrangement is None:
        raise ValueError(f"order {model.order} does not suit {shape}")
    known_codes = None if indices is None else arrangement.to_taps(indices)
    found = np.zeros((arrangement.taps, arrangement.rows, arrangement.columns), np.int32)
    if len(code_values) == 1 or not found.size:
        return arrangement.from_taps(found)
    where = positions(code_values, model.scale)
    levels = ((where + 128) >> 8).astype(np.int16)
    tables = Tables.of(Cells.of(where, model.zero), model.share, model.spread)
    classes = Classes.of(model.mean)
    known = Known.none(arrangement, 1 << model.stride_bits)
    for run in runs(arrangement.rows, arrangement.columns, model.stride_bits):
        for tap in range(arrangement.taps):
            leaning, size = model.coefficients[min(tap, TAP_CLASSES - 1)]
            predicted, expected = scores(known, run, tap, tap_neighbours(arrangement, tap), leaning, size)
            rows = slice(run.first, run.first + (run.count - 1) * run.step + 1, run.step)
            wanted = None if known_codes is None else known_codes[tap, rows].ravel()
            codes = _code_step(classes.contexts(predicted.ravel(), expected.ravel()), tables, coder, wanted)
            found[tap, rows] = codes.reshape(run.count, -1)
            known.of_run(tap, run)[:] = levels[found[tap, rows]]
        known.finish(run)
        if between_runs is not None:
            between_runs()
    return arrangement.from_taps(found)


def _code_step(contexts: tuple[Array, Array], tables: Tables, coder: Coder, wanted: Array | None) -> Array:
    """Code one step: flags where zeros are told apart, bins, then places within bins; the tables learn afterwards."""
    of_zeros, of_bins = contexts
    cells = tables.cells
    if cells.zero < 0:
        return _code_bins(of_bins, tables, coder, wanted)
    flags = coder.flags(tables.ones().ravel()[of_zeros], None if wanted is None else wanted != cells.zero)
    tables.learn_zeros(of_zeros, flags)
    codes = np.full(len(of_zeros), cells.zero, np.int32)
    codes[flags] = _code_bins(of_bins[flags], tables, coder, None if wanted is None else wanted[flags])
    return codes


def _code_bins(contexts: Array, tables: Tables, coder: Coder, wanted: Array | None) -> Array:
    cells = tables.cells
    if not len(contexts) or cells.bins * cells.code_at.shape[1] == 1:
        only: Array = np.full(len(contexts), cells.code_at[0, 0], np.int32)
        return only
    bins = coder.symbols(contexts, frequencies(tables.bins), None if wanted is None else cells.bin_of[wanted])
    ranks: Array = np.zeros(len(bins), np.int32)
    if tables.codes.shape[1] > 1:
        ranks = coder.symbols(bins, frequencies(tables.codes), None if wanted is None else cells.rank[wanted])
    tables.learn_bins(contexts, bins, ranks)
    return cells.code_at[bins, ranks]

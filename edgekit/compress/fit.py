"""The encoder's side of the adaptive model: which order, scale and coefficients a tensor is coded with.

Nothing here has to be reproduced by a decoder: what is chosen travels with the tensor, as integers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgekit.compress.adaptive import Model
from edgekit.compress.arrangement import Arrangement, Run, runs
from edgekit.compress.predict import ONE, TAP_CLASSES, Known, column_means, tap_neighbours
from edgekit.compress.symbols import Symbols
from edgekit.compress.tables import positions
from edgekit.graph.ir import Array

UNIT = 24
"""Levels that the mean magnitude of the weights that are not zero is given."""
SPARSE = 0.02
"""Zeros are told apart where they are more than this share."""
RIDGE = 1e-4
FITTED_ROWS = 1 << 17
"""Sums are fitted to at most about this many weights a class of taps."""

Matrix = npt.NDArray[np.float64]


def fit_model(symbols: Symbols, shape: tuple[int, ...], order: int) -> Model:
    """The model of a tensor in `order`, which must suit the shape."""
    arrangement = Arrangement.of(shape, order)
    if arrangement is None:
        raise ValueError(f"order {order} does not suit {shape}")
    values = symbols.code_values()
    counts = np.bincount(symbols.indices, minlength=len(values))
    scale = _scale(values, counts)
    where = positions(values, scale)
    sizes, total = np.abs(where) / 256, max(int(counts.sum()), 1)
    zero = int(np.flatnonzero(values == 0)[0]) if (values == 0).sum() == 1 else -1
    if zero >= 0 and counts[zero] <= SPARSE * total:
        zero = -1
    full = total - (int(counts[zero]) if zero >= 0 else 0)
    weighted = float((sizes * counts).sum())
    stride_bits = arrangement.stride_bits()
    levels = ((where + 128) >> 8).astype(np.int16)
    return Model(
        order=order,
        stride_bits=stride_bits,
        zero=zero,
        scale=scale,
        mean=int(np.clip(round(weighted / total * ONE), 1, 127 * ONE)),
        share=int(np.clip(round(full / total * 256), 1, 255)),
        spread=int(np.clip(round(weighted / max(full, 1) * 256), 1, (1 << 16) - 1)),
        coefficients=_coefficients(arrangement, levels[arrangement.to_taps(symbols.indices)], stride_bits),
    )


def _scale(values: npt.NDArray[np.float64], counts: Array) -> float:
    """Levels per unit, so that the mean magnitude of finite weights other than 0 is 24 levels; a float32."""
    usable = np.isfinite(values) & (values != 0) & (counts > 0)
    if not usable.any():
        return 1.0
    sizes = np.abs(values[usable])
    top = float(sizes.max())
    mean = top * float(np.average(sizes / top, weights=counts[usable]))
    tiny, huge = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
    return float(np.float32(np.clip(UNIT / mean if mean > UNIT / huge else huge, tiny, huge)))


def _coefficients(
    arrangement: Arrangement, levels: npt.NDArray[np.int16], stride_bits: int
) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Least squares over all runs, one pair of sums a class of taps. levels: (taps, rows, columns)."""
    classes = min(arrangement.taps, TAP_CLASSES)
    leaning: list[list[Matrix]] = [[] for _ in range(classes)]
    size: list[list[Matrix]] = [[] for _ in range(classes)]
    known = Known.none(arrangement, 1 << stride_bits)
    for run in runs(arrangement.rows, arrangement.columns, stride_bits):
        for tap in range(arrangement.taps):
            known.of_run(tap, run)[:] = levels[tap, run.first : run.first + (run.count - 1) * run.step + 1 : run.step]
            signed, unsigned = _neighbours(known, run, tap, tap_neighbours(arrangement, tap))
            leaning[min(tap, classes - 1)].append(signed)
            size[min(tap, classes - 1)].append(unsigned)
        known.finish(run)
    return tuple((_fit(a), _fit(b)) for a, b in zip(leaning, size, strict=True))


def _neighbours(known: Known, run: Run, tap: int, near: tuple[int, ...]) -> tuple[Matrix, Matrix]:
    """Normal equations of one step, (k + 1, k + 1): the sums' terms and, last, what they should come to."""
    mean, everywhere, here = column_means(known, tap)
    nothing = np.zeros((run.count, len(mean)), np.float32)
    around = [known.of_run(tap, run, d) for d in (-run.distance, run.distance)] if run.distance else [nothing, nothing]
    taps = [known.of_run(other, run) if other >= 0 else nothing for other in near]
    target = known.of_run(tap, run)

    def equations(terms: list[Array]) -> Matrix:
        table = np.stack([np.broadcast_to(t, nothing.shape).astype(np.float32).ravel() for t in terms])
        keep = max(1, table.shape[1] // FITTED_ROWS)
        table = table[:, ::keep]
        products: Matrix = (table @ table.T).astype(np.float64)
        return products

    signed = [around[0].astype(np.int32) + around[1], *taps, mean, target]
    sizes = [np.abs(around[0]).astype(np.int32) + np.abs(around[1]), *(np.abs(t) for t in taps)]
    return equations(signed), equations([*sizes, everywhere, here, np.float32(16), np.abs(target)])


def _fit(equations: list[Matrix]) -> tuple[int, ...]:
    """The solution in 1/64, rounded and kept within int8."""
    total = np.sum(equations, axis=0)
    terms, wanted = total[:-1, :-1].copy(), total[:-1, -1]
    count = len(terms)
    terms[np.arange(count), np.arange(count)] += RIDGE * np.trace(terms) / count + 1e-6
    return tuple(int(c) for c in np.clip(np.rint(np.linalg.solve(terms, wanted) * ONE), -127, 127))

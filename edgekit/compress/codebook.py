"""Weights that share few values: one-dimensional k-means, exact or by Lloyd's iteration from the paper's beginnings.

Source: Deep Compression, arXiv:1510.00149, section 3. The exact clustering is Ckmeans.1d.dp's (Wang and Song, The R
Journal 3/2, 2011; weighted: Song and Zhong, Bioinformatics 36/20, 2020) through the package `ckwrap`.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from edgekit.compress.coded import CodedTensor
from edgekit.errors import ModelError, RuntimeUnavailableError
from edgekit.graph.ir import Array

Method = Literal["optimal", "linear", "density", "random"]
LLOYD_ROUNDS = 100
MOST_LEVELS = 1 << 16


def share_weights(
    weights: Array,
    levels: int,
    method: Method = "optimal",
    *,
    importance: Array | None = None,
    keep_zeros: bool = True,
    seed: int = 0,
) -> CodedTensor:
    """The weights rounded to the `levels` values of a codebook that k-means finds, sorted.

    method: `optimal` is the least possible sum of importance * error^2; `linear` (evenly over the range), `density`
    (evenly over the sorted weights) and `random` (weights drawn with `seed`) are where Lloyd's iteration begins.
    importance: of the weights' shape, at least 0; all equal by default. keep_zeros: weights that are zero stay zero and
    take one of the levels, as pruned weights do; without zeros among the weights it changes nothing.
    Raises ModelError for unknown methods, a number of levels outside 1 to 65536, weights or importance that are not
    finite, and RuntimeUnavailableError without ckwrap.
    """
    if method not in get_args(Method):
        raise ModelError(f"no way to make a codebook is called {method!r}: choose one of {', '.join(get_args(Method))}")
    if not 1 <= levels <= MOST_LEVELS:
        raise ModelError(f"a codebook of {levels} values cannot be made: give 1 to {MOST_LEVELS}")
    values, counts = _distinct(weights, importance)
    is_zero = values == 0
    if keep_zeros and is_zero.any() and levels > 1:
        centres = np.append(_centres(values[~is_zero], counts[~is_zero], levels - 1, method, seed), 0.0)
    else:
        centres = _centres(values, counts, levels, method, seed)
    codebook = np.unique(centres.astype(weights.dtype))
    indices = nearest(weights.astype(np.float64), codebook.astype(np.float64))
    if keep_zeros and 0 in codebook:
        indices = np.where(weights == 0, np.searchsorted(codebook, 0), indices)
    return CodedTensor(indices.astype(np.uint8 if len(codebook) <= 256 else np.uint16), codebook)


def tie_gradient(gradient: Array, tensor: CodedTensor) -> Array:
    """Gradient of the codebook (L,) from that of the weights: each value moves for all weights that share it."""
    total: Array = np.bincount(tensor.indices.ravel(), gradient.ravel(), minlength=len(tensor.codebook))
    return total.astype(gradient.dtype)


def nearest(weights: Array, codebook: Array) -> Array:
    """Index of the nearest of the sorted `codebook` for each weight; halfway between two, the lower one."""
    indices: Array = np.searchsorted((codebook[1:] + codebook[:-1]) / 2, weights)
    return indices


def lloyd(values: Array, counts: Array, centres: Array) -> Array:
    """Centres (L,), sorted, that Lloyd's iteration reaches; a centre that nothing is near stays where it is."""
    centres = np.sort(centres.astype(np.float64))
    for _ in range(LLOYD_ROUNDS):
        owner = nearest(values, centres)
        mass = np.bincount(owner, counts, minlength=len(centres))
        total = np.bincount(owner, counts * values, minlength=len(centres))
        moved = np.where(mass > 0, total / np.where(mass > 0, mass, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _distinct(weights: Array, importance: Array | None) -> tuple[Array, Array]:
    """Sorted distinct weights in float64, and the sum of importance at each."""
    if not weights.size:
        raise ModelError("an empty tensor has no codebook")
    mass = np.ones(weights.shape) if importance is None else np.broadcast_to(importance, weights.shape)
    if not np.isfinite(weights).all() or not np.isfinite(mass).all() or mass.min() < 0:
        raise ModelError("weights and their importance must be finite, and no importance below 0: check the weights")
    values, owner = np.unique(weights.astype(np.float64), return_inverse=True)
    counts = np.bincount(owner.ravel(), mass.ravel().astype(np.float64))
    # What counts for nothing may lie anywhere; all of it counts alike where nothing else is left.
    return (values[counts > 0], counts[counts > 0]) if counts.any() else (values, np.ones(len(values)))


def _centres(values: Array, counts: Array, levels: int, method: Method, seed: int) -> Array:
    if len(values) <= levels:
        return values
    if method == "optimal":
        return np.asarray(_ckwrap().ckmeans(values, levels, weights=counts).centers, np.float64)
    if method == "linear":
        return lloyd(values, counts, np.linspace(values[0], values[-1], levels))
    shares = (np.cumsum(counts) - counts / 2) / counts.sum()
    if method == "density":
        return lloyd(values, counts, np.interp((np.arange(levels) + 0.5) / levels, shares, values))
    drawn = np.random.default_rng(seed).choice(len(values), levels, replace=False, p=counts / counts.sum())
    return lloyd(values, counts, values[drawn])


def _ckwrap() -> Any:
    try:
        import ckwrap
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(
            "exact codebooks need ckwrap, which is not installed: pip install edgekit[compress]"
        ) from error
    return ckwrap

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.compress.codebook import share_weights, tie_gradient
from edgekit.errors import ModelError

METHODS = ("optimal", "linear", "density", "random")


def least_error(values: np.ndarray, mass: np.ndarray, levels: int) -> float:
    """The least weighted square error over all ways to cut the sorted values into `levels` runs."""
    order = np.argsort(values)
    values, mass = values[order], mass[order]

    def error(begin: int, end: int) -> float:
        x, m = values[begin:end], mass[begin:end]
        return float((m * np.square(x - np.average(x, weights=m))).sum()) if m.sum() else 0.0

    cuts = itertools.combinations(range(1, len(values)), min(levels, len(values)) - 1)
    return min(sum(itertools.starmap(error, itertools.pairwise((0, *cut, len(values))))) for cut in cuts)


@given(
    st.lists(st.integers(-30, 30), min_size=1, max_size=9),
    st.lists(st.integers(1, 9), min_size=9, max_size=9),
    st.integers(1, 5),
)
def test_the_optimal_codebook_is_the_best_of_all_partitions(values, mass, levels):
    weights = np.array(values) / 4
    importance = np.array(mass[: len(values)], np.float64)
    shared = share_weights(weights, levels, importance=importance, keep_zeros=False)
    error = float((importance * np.square(shared.values() - weights)).sum())
    assert len(shared.codebook) <= levels
    assert error == pytest.approx(least_error(weights, importance, levels), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_no_beginning_beats_the_optimal_codebook(method):
    weights = np.random.default_rng(0).laplace(size=(3, 3, 20, 30)).astype(np.float32)
    error = {m: float(np.square(share_weights(weights, 12, m).values() - weights).sum()) for m in ("optimal", method)}
    assert error["optimal"] <= error[method] < 0.05 * float(np.square(weights).sum())


@pytest.mark.parametrize("method", METHODS)
def test_a_codebook_is_sorted_distinct_and_no_longer_than_asked(method):
    weights = np.random.default_rng(1).standard_normal((40, 50)).astype(np.float32)
    shared = share_weights(weights, 16, method)
    assert shared.codebook.dtype == np.float32
    assert len(shared.codebook) <= 16
    assert (np.diff(shared.codebook) > 0).all()
    assert len(np.unique(shared.values())) == len(shared.codebook)


def test_pruned_weights_stay_zero():
    weights = np.random.default_rng(2).standard_normal(1000).astype(np.float32) + 3
    weights[::3] = 0
    shared = share_weights(weights, 4)
    assert (shared.values()[weights == 0] == 0).all()
    assert (shared.values()[np.abs(weights) > 1.5] != 0).all()
    assert len(shared.codebook) == 4
    assert not (share_weights(weights, 4, keep_zeros=False).values() == 0).any()


def test_weights_of_few_values_are_kept_exactly():
    weights = np.random.default_rng(3).choice(np.float32([-1.5, 0.25, 0.1, 7]), (5, 6))
    for method in METHODS:
        np.testing.assert_array_equal(share_weights(weights, 4, method).values(), weights)


def test_what_does_not_count_does_not_move_the_codebook():
    weights = np.array([1.0, 1.2, 5.0, 5.2, 900.0])
    shared = share_weights(weights, 2, importance=np.array([1, 1, 1, 1, 0]))
    np.testing.assert_allclose(shared.codebook, [1.1, 5.1])


def test_many_levels_need_sixteen_bits():
    weights = np.random.default_rng(4).standard_normal(2000)
    assert share_weights(weights, 256).indices.dtype == np.uint8
    assert share_weights(weights, 257).indices.dtype == np.uint16


def test_the_gradient_of_a_codebook_is_that_of_the_tied_weights():
    random = np.random.default_rng(5)
    shared = share_weights(random.standard_normal((6, 7)), 4)
    target = random.standard_normal((6, 7))

    def loss(codebook: np.ndarray) -> float:
        return float(np.square(codebook[shared.indices] - target).sum())

    found = tie_gradient(2 * (shared.values() - target), shared)
    for level in range(4):
        step = 1e-6 * np.eye(4)[level]
        slope = (loss(shared.codebook + step) - loss(shared.codebook - step)) / 2e-6
        assert found[level] == pytest.approx(slope, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(3), 0), "a codebook of 0 values"),
        ((np.ones(3), 65537), "a codebook of 65537 values"),
        ((np.ones(3), 2, "kmeans"), "'kmeans': choose one of optimal, linear, density, random"),
        ((np.ones(0), 2), "an empty tensor"),
        ((np.array([1.0, np.nan]), 2), "must be finite"),
    ],
)
def test_what_cannot_be_shared_is_refused(arguments, message):
    with pytest.raises(ModelError, match=message):
        share_weights(*arguments)


def test_a_negative_importance_is_refused():
    with pytest.raises(ModelError, match="no importance below 0"):
        share_weights(np.ones(3), 2, importance=np.array([1.0, -1.0, 1.0]))

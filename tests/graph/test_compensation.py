from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgekit.graph import compensation
from edgekit.graph.compensation import damped, descend, input_costs, output_error, sweep


def problem(groups: int = 1, size: int = 7, outputs: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(weights (groups, K, N), gram matrices of correlated inputs)."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((groups, 200, size)) @ random.standard_normal((groups, size, size))
    return random.standard_normal((groups, size, outputs)), damped(x.swapaxes(1, 2) @ x / 200, 1e-3)


def to_half(inputs: np.ndarray, weights: np.ndarray, costs: np.ndarray) -> np.ndarray:
    return np.rint(2 * weights) / 2


def greedy_by_least_squares(weights: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Round the inputs by falling power; after each, solve for the rest anew. One group."""
    order = np.argsort(-np.diag(gram))
    chosen = weights.copy()
    for done in range(len(order)):
        fixed, free = order[:done], order[done:]
        if done:
            error = weights[fixed] - chosen[fixed]
            current = weights[free] + np.linalg.solve(gram[np.ix_(free, free)], gram[np.ix_(free, fixed)] @ error)
        else:
            current = weights[free]
        chosen[order[done]] = to_half(order, current[0], order)
    return chosen


def test_a_sweep_is_the_greedy_least_squares_solution():
    weights, gram = problem(groups=3)
    expected = np.stack([greedy_by_least_squares(w, g) for w, g in zip(weights, gram, strict=True)])
    np.testing.assert_array_equal(sweep(weights, gram, to_half), expected)


def test_the_costs_are_what_an_error_costs_once_the_later_inputs_make_up_for_it():
    _, gram = problem(outputs=1)
    order = np.argsort(-np.diag(gram[0]))
    for place, k in enumerate(order):
        later = order[place + 1 :]
        made_up = np.zeros(len(order))
        made_up[k] = 1.0
        if len(later):
            made_up[later] = -np.linalg.solve(gram[0][np.ix_(later, later)], gram[0][later, k])
        assert input_costs(gram)[0, k] == pytest.approx(made_up @ gram[0] @ made_up, rel=1e-9)


@pytest.mark.parametrize("block", [1, 3, 100])
def test_blocks_do_not_change_the_result(monkeypatch, block):
    weights, gram = problem(size=20)
    expected = sweep(weights, gram, to_half)
    monkeypatch.setattr(compensation, "BLOCK", block)
    np.testing.assert_array_equal(sweep(weights, gram, to_half), expected)


def test_nothing_is_made_up_for_between_inputs_that_are_independent():
    weights, _ = problem()
    gram = np.diag(np.arange(1.0, 8.0))[None]
    np.testing.assert_array_equal(sweep(weights, gram, to_half), np.rint(2 * weights) / 2)


def test_weights_that_are_kept_stay_as_they_are():
    weights, gram = problem(groups=2)
    np.testing.assert_array_equal(sweep(weights, gram, lambda inputs, values, costs: values), weights)


def test_the_error_falls_from_rounding_to_sweep_to_descent_to_the_best_there_is():
    weights, gram = problem(size=6, outputs=1, seed=2)
    rounded, swept = np.rint(2 * weights) / 2, sweep(weights, gram, to_half)
    descended = descend(weights, gram, swept, to_half)
    near = [np.floor(2 * weights[0, :, 0]) / 2 + 0.5 * np.array(c) for c in itertools.product((-1, 0, 1, 2), repeat=6)]
    best = min(output_error(weights - q[None, :, None], gram) for q in near)
    errors = [output_error(weights - q, gram) for q in (rounded, swept, descended)]
    assert errors[0] > errors[1] >= errors[2] >= best > 0


@pytest.mark.parametrize("seed", range(5))
def test_descent_never_makes_it_worse(seed):
    weights, gram = problem(groups=4, size=9, seed=seed)
    current = np.rint(2 * weights) / 2
    for _ in range(4):
        after = descend(weights, gram, current, to_half)
        assert output_error(weights - after, gram) <= output_error(weights - current, gram) * (1 + 1e-12)
        current = after


def test_inputs_that_were_always_zero_get_an_inverse():
    gram = damped(np.zeros((1, 3, 3)), 0.01)
    np.testing.assert_array_equal(gram[0], np.eye(3))
    assert output_error(np.ones((1, 3, 2)), gram) == 6

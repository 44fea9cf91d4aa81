from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import ModelError
from edgekit.graph.compensation import damped, output_error
from edgekit.prune.magnitude import CubicSchedule, choose_sparsities, prune_compensated, prune_smallest


def correlated(groups: int, size: int, outputs: int, rows: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(inputs (groups, rows, K), their gram matrix, weights (groups, K, N))."""
    random = np.random.default_rng(3)
    x = random.standard_normal((groups, rows, size)) @ random.standard_normal((groups, size, size))
    return x, damped(x.swapaxes(1, 2) @ x / rows, 1e-9), random.standard_normal((groups, size, outputs))


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 1.0])
def test_the_smallest_go(sparsity):
    weights = np.random.default_rng(0).standard_normal((3, 3, 4, 5)).astype(np.float32)
    pruned = prune_smallest(weights, sparsity)
    kept = pruned != 0
    assert int((~kept).sum()) == int(sparsity * weights.size)
    np.testing.assert_array_equal(pruned[kept], weights[kept])
    if 0 < sparsity < 1:
        assert np.abs(weights[~kept]).max() <= np.abs(weights[kept]).min()


def test_of_equal_weights_exactly_the_wanted_share_goes():
    assert (prune_smallest(np.ones((4, 5), np.float32), 0.35) == 0).sum() == 7


def test_sparsities_follow_the_costs_and_meet_the_total():
    random = np.random.default_rng(1)
    weights = {name: random.standard_normal(400) for name in ("cheap", "dear")}
    found = choose_sparsities(weights, {"cheap": 1.0, "dear": 100.0}, 0.5)
    assert found["cheap"] > 0.8 > 0.2 > found["dear"]
    assert sum(found.values()) / 2 == pytest.approx(0.5)
    equal = choose_sparsities(weights, {"cheap": 1.0, "dear": 1.0}, 0.5)
    assert equal["cheap"] == pytest.approx(equal["dear"], abs=0.1)


def test_chosen_sparsities_remove_less_than_any_other_split_of_the_same_total():
    random = np.random.default_rng(2)
    weights = {"a": random.standard_normal(20), "b": 2 * random.standard_normal(20)}
    costs = {"a": 3.0, "b": 1.0}

    def removed(a: int, b: int) -> float:
        return float(
            sum(
                costs[name] * np.square(np.sort(np.abs(weights[name]))[:count]).sum()
                for name, count in (("a", a), ("b", b))
            )
        )

    found = choose_sparsities(weights, costs, 0.5)
    assert removed(round(20 * found["a"]), round(20 * found["b"])) == min(removed(a, 20 - a) for a in range(21))


def test_a_layer_without_sensitivity_is_named():
    with pytest.raises(ModelError, match="'b' has no sensitivity"):
        choose_sparsities({"a": np.ones(2), "b": np.ones(2)}, {"a": 1.0}, 0.5)


def test_compensation_reaches_the_least_squares_solution_on_the_kept_weights():
    x, gram, weights = correlated(1, 12, 5)
    pruned = prune_compensated(weights, gram, 0.4, passes=400)
    for output in range(5):
        kept = pruned[0, :, output] != 0
        fitted, *_ = np.linalg.lstsq(x[0][:, kept], x[0] @ weights[0, :, output], rcond=None)
        np.testing.assert_allclose(pruned[0, kept, output], fitted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("groups", [1, 6])
def test_compensation_lowers_the_error_of_the_outputs(groups):
    x, gram, weights = correlated(groups, 9, 4)
    plain, made_up = prune_smallest(weights, 0.5), prune_compensated(weights, gram, 0.5)
    assert (made_up == 0).sum() == (plain == 0).sum()

    def error(pruned: np.ndarray) -> float:
        return float(np.square(x @ (pruned - weights)).sum(axis=(0, 2)).mean())

    assert error(made_up) < 0.7 * error(plain)
    assert output_error(made_up - weights, gram) == pytest.approx(error(made_up), rel=1e-6)


def test_the_schedule_is_cubic():
    schedule = CubicSchedule(final=0.8, begin=100, end=200, initial=0.2, every=30)
    assert [schedule.sparsity(step) for step in (0, 100, 200, 10_000)] == pytest.approx([0.2, 0.2, 0.8, 0.8])
    assert schedule.sparsity(150) == pytest.approx(0.8 - 0.6 / 8)
    values = [schedule.sparsity(step) for step in range(90, 210)]
    assert values == sorted(values)
    assert [step for step in range(300) if schedule.is_due(step)] == [100, 130, 160, 190, 200]


@pytest.mark.parametrize("sparsity", [-0.1, 1.5, float("nan")])
def test_a_sparsity_that_is_no_share_is_refused(sparsity):
    for refused in (
        lambda: prune_smallest(np.ones(3), sparsity),
        lambda: choose_sparsities({"a": np.ones(3)}, {"a": 1.0}, sparsity),
        lambda: CubicSchedule(sparsity, 0, 1),
    ):
        with pytest.raises(ModelError, match="no share of the weights: give 0 to 1"):
            refused()


@pytest.mark.parametrize(("begin", "end", "every"), [(5, 5, 1), (-1, 5, 1), (0, 5, 0)])
def test_a_schedule_that_does_not_run_forward_is_refused(begin, end, every):
    with pytest.raises(ModelError, match="must begin before it ends"):
        CubicSchedule(0.5, begin, end, every=every)

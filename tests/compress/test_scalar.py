from __future__ import annotations

import numpy as np
import pytest

from edgekit.compress.layer_problem import LayerProblem
from edgekit.compress.scalar import Levels, ScalarLayer, code_lengths, entropy_bits, grid, on_grid, quantize_scalar
from edgekit.graph.compensation import damped, output_error


def problem(groups: int = 1, size: int = 24, outputs: int = 40, seed: int = 0) -> LayerProblem:
    random = np.random.default_rng(seed)
    x = random.standard_normal((groups, 400, size)) @ random.standard_normal((groups, size, size)) / 5
    gram = damped(x.swapaxes(1, 2) @ x / 400, 0.01)
    return LayerProblem(gram, random.laplace(size=(groups, size, outputs)), None, None)


def test_the_choice_is_the_cheapest_of_all_values():
    random = np.random.default_rng(0)
    values = grid(0.25, -3, 3).astype(np.float64)
    bits = code_lengths(
        np.searchsorted(values, np.rint(random.laplace(size=4000) / 0.5) * 0.25) % len(values), len(values)
    )
    bits = np.sort(bits)[np.argsort(np.argsort(np.abs(values), kind="stable"), kind="stable")]  # rarer further out
    weights, costs = random.laplace(size=(3, 50)), np.array([0.5, 1.0, 4.0])
    for price in (0.0, 0.003, 0.03):
        found = Levels(values, bits, price).choose(np.zeros(3, np.int64), weights, costs)
        cost = costs[:, None, None] * np.square(weights[:, :, None] - values) + price * bits
        np.testing.assert_array_equal(found, values[cost.argmin(axis=2)])


def test_a_grid_holds_whole_multiples_and_zero():
    values = grid(0.1, -0.34, 0.71)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.float32(13 / 128) * np.arange(-3, 8, dtype=np.float32))
    assert all(float(value * 128).is_integer() for value in values)
    np.testing.assert_array_equal(grid(0.5, 1.0, 2.0), np.float32([0, 0.5, 1, 1.5, 2]))
    np.testing.assert_array_equal(grid(1.0, 0.0, 0.0), np.float32([0]))


def test_code_lengths_are_shares_and_their_sum_is_the_entropy():
    indices = np.repeat([0, 1, 2], [500, 250, 250])
    np.testing.assert_allclose(code_lengths(indices, 3), [1, 2, 2], atol=0.01)
    assert entropy_bits(indices, 3) == pytest.approx(1500 + 1.5 * np.log2(1000))


@pytest.mark.parametrize("groups", [1, 6])
def test_a_layer_tells_its_own_error_and_bits(groups):
    layer = quantize_scalar(given := problem(groups=groups), 0.01)
    assert layer.maps().shape == given.weights.shape
    assert layer.error == pytest.approx(output_error(given.weights - layer.maps(), given.gram))
    assert layer.bits == pytest.approx(entropy_bits(layer.indices, len(layer.codebook)))


def test_a_higher_price_takes_fewer_bits_and_costs_more_error():
    given = problem()
    layers = [quantize_scalar(given, price) for price in (1e-4, 1e-3, 1e-2, 1e-1, 1.0)]
    bits, errors = [layer.bits for layer in layers], [layer.error for layer in layers]
    assert bits == sorted(bits, reverse=True)
    assert errors == sorted(errors)
    assert bits[0] > 2 * bits[-1]
    zeros = [float((layer.maps() == 0).mean()) for layer in layers]
    assert zeros == sorted(zeros)


def test_it_beats_rounding_to_a_grid_by_far_at_the_same_bits():
    given = problem()
    layer = quantize_scalar(given, 0.01)
    steps = np.geomspace(0.05, 5, 60)
    plain = min((p for step in steps if (p := rounded(given, step)).bits >= layer.bits), key=lambda p: p.bits)
    assert layer.error < 0.6 * plain.error


def rounded(given: LayerProblem, step: float) -> ScalarLayer:
    return on_grid(given, step, 0.0, rounds=0)


def test_a_layer_of_zeros_takes_one_value():
    layer = quantize_scalar(LayerProblem(np.eye(4)[None], np.zeros((1, 4, 3)), None, None), 0.1)
    np.testing.assert_array_equal(layer.maps(), np.zeros((1, 4, 3)))
    assert len(layer.codebook) == 1


def test_a_price_near_zero_keeps_within_the_most_levels():
    layer = quantize_scalar(problem(), 1e-30)
    assert len(layer.codebook) <= 4096
    assert layer.error < 1e-5 * output_error(problem().weights, problem().gram)

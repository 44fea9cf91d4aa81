from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quantize_helpers import statistics

from edgekit.errors import QuantizationError
from edgekit.quantize.ranges import (
    METHODS,
    activation_params,
    check_method,
    choose_range,
    min_max_range,
    mse_range,
    percentile_range,
)

FLOATS = st.floats(-(2.0**60), 2.0**60, width=32)


def rounding_error(values: np.ndarray, limits: tuple[float, float]) -> float:
    """Mean squared error of int8, through the parameters themselves."""
    params = activation_params(*limits)
    return float(np.square(params.dequantize(params.quantize(values)) - values).mean(dtype=np.float64))


def heavy_tailed(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).laplace(0, 1, (2048, 8)).astype(np.float32)


def test_min_max_covers_all_members():
    first, second = statistics(np.float32([[1, 5], [2, -3]])), statistics(np.float32([[-7], [4]]))
    assert min_max_range([first, second]) == (-7, 5)


def test_min_max_is_of_all_that_was_seen_not_of_the_sample():
    seen = statistics(np.float32([[1.0], [2.0]]))
    wider = type(seen)(seen.low - 10, seen.high + 10, seen.mean, seen.positions)
    assert min_max_range([wider]) == (-9, 12)


@pytest.mark.parametrize("percent", [99.99, 99.0, 50.0])
def test_percentile_is_numpys(percent):
    values = heavy_tailed()
    tail = (100 - percent) / 2
    want = np.percentile(values, [tail, 100 - tail])
    np.testing.assert_allclose(percentile_range([statistics(values)], percent), want, rtol=1e-6)


def test_percentile_is_of_all_members_together():
    members = [heavy_tailed(0), heavy_tailed(1)[:, :3] * 4]
    want = np.percentile(np.concatenate([m.reshape(-1) for m in members]), [0.5, 99.5])
    np.testing.assert_allclose(percentile_range([statistics(m) for m in members], 99), want, rtol=1e-6)


def test_percentile_stays_within_what_was_seen():
    values = np.float32([[3.0], [4.0]])
    assert percentile_range([statistics(values)], 100) == (3, 4)


@pytest.mark.parametrize("seed", range(5))
def test_mse_beats_min_max_where_rare_extremes_stretch_the_range(seed):
    """The exact extrema are of all values, the sample holds the usual ones."""
    usual = statistics(heavy_tailed(seed))
    seen = [type(usual)(usual.low * 2.5, usual.high * 2.5, usual.mean, usual.positions)]
    by_mse, by_extrema = (rounding_error(usual.positions, choose_range(m, seen)) for m in ("mse", "min-max"))
    assert by_mse < 0.25 * by_extrema


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_mse_is_as_good_as_the_best_of_all_pairs_of_ends(seed, skewed):
    values = heavy_tailed(seed)
    values = np.where(values < 0, values * np.float32(0.1), values) if skewed else values
    low, high = values.min(), values.max()
    shares = np.linspace(0.3, 1, 15)
    best = min(rounding_error(values, (low * a, high * b)) for a in shares for b in shares)
    assert rounding_error(values, mse_range([statistics(values)])) <= 1.03 * best


@pytest.mark.parametrize("spread", [1e-6, 1.0, 1e6])
def test_mse_keeps_nearly_all_of_a_uniform_range(spread):
    values = (np.random.default_rng(0).uniform(-1, 1, (2048, 8)) * spread).astype(np.float32)
    low, high = mse_range([statistics(values)])
    assert low / values.min() == pytest.approx(1, abs=0.03)
    assert high / values.max() == pytest.approx(1, abs=0.03)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=60))
def test_mse_is_never_much_worse_than_min_max(values):
    data = np.float32(values).reshape(-1, 1)
    seen = [statistics(data)]
    full = min_max_range(seen)
    step = (max(full[1], 0) - min(full[0], 0)) / 255
    assert rounding_error(data, mse_range(seen)) <= rounding_error(data, full) + step**2


def test_mse_counts_every_value():
    """A few large values among very many small ones weigh as much as they are."""
    values = np.random.default_rng(0).normal(0, 0.05, (2048, 512)).astype(np.float32)
    values[::97, 3] = np.random.default_rng(1).uniform(2, 4, values[::97, 3].shape)
    best = min(rounding_error(values, (values.min(), values.max() * f)) for f in np.linspace(0.3, 1, 15))
    assert rounding_error(values, mse_range([statistics(values)])) <= 1.02 * best


def test_mse_of_members_of_unlike_size_weighs_them_alike():
    rng = np.random.default_rng(0)
    wide, narrow = rng.uniform(0, 1, (2048, 64)), rng.uniform(0, 100, (1024, 1))
    small_alone = mse_range([statistics(narrow)])
    assert mse_range([statistics(wide), statistics(narrow)])[1] == pytest.approx(small_alone[1], rel=0.05)


def test_mse_searches_negative_values_alike():
    values = heavy_tailed()
    low, high = mse_range([statistics(values)])
    mirrored = mse_range([statistics(-values)])
    assert mirrored == (-high, -low)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0, 1e-30, 1e30, 1e-36])
def test_constant_tensors(method, value):
    limits = choose_range(method, [statistics(np.full((64, 4), value, np.float32))])
    params = activation_params(*limits)
    got = params.dequantize(params.quantize(np.float32([value, 0.0])))
    np.testing.assert_allclose(got, [value, 0], rtol=1e-6, atol=1e-29 if 0 < value < 1e-20 else 0)


@pytest.mark.parametrize("method", METHODS)
def test_ranges_of_one_sign_are_widened_to_zero(method):
    values = np.random.default_rng(0).uniform(5, 10, (512, 4)).astype(np.float32)
    up = activation_params(*choose_range(method, [statistics(values)]))
    down = activation_params(*choose_range(method, [statistics(-values)]))
    assert up.zero_point == (-128,)
    assert down.zero_point == (127,)
    assert up.scale[0] == pytest.approx(10 / 255, rel=0.02)
    assert down.scale == up.scale


@settings(max_examples=300, deadline=None)
@given(low=FLOATS, high=FLOATS)
def test_zero_is_on_a_step_and_the_range_is_covered(low, high):
    low, high = min(low, high), max(low, high)
    params = activation_params(low, high)
    assert params.dequantize(params.quantize(np.zeros(1, np.float32))) == 0
    if max(high, 0.0) - min(low, 0.0) > 1e-30:
        ends = np.float32([min(low, 0.0), max(high, 0.0)])
        np.testing.assert_allclose(params.dequantize(params.quantize(ends)), ends, atol=0.501 * params.scale[0])


def test_the_whole_of_int8_is_used():
    params = activation_params(-1.28, 1.27)
    assert params.quantize(np.float32([-1.28, 0, 1.27])).tolist() == [-128, 0, 127]
    assert params.scale[0] == pytest.approx(0.01)


def test_unknown_method():
    with pytest.raises(QuantizationError, match="range method 'entropy' is none of min-max, percentile, mse"):
        choose_range("entropy", [])
    with pytest.raises(QuantizationError, match="range method 'MSE' is none of"):
        check_method("MSE")

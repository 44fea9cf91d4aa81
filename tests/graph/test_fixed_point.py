from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.graph.fixed_point import (
    activation_range,
    divide_by_power_of_two,
    divided_multiplier,
    quantize_multiplier,
    rescale,
    rescale_once,
    round_half_away,
)
from edgekit.graph.quant_params import QuantParams


@given(st.floats(1e-8, 1e4))
def test_multiplier_holds_31_bits(real):
    multiplier, shift = quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    assert float(multiplier) * 2.0 ** (float(shift) - 31) == pytest.approx(real, rel=2**-31)


def test_multiplier_that_rounds_up_to_a_power_of_two_is_normalized():
    multiplier, shift = quantize_multiplier(1 - 2.0**-40)
    assert (int(multiplier), int(shift)) == (2**30, 1)


def test_tiny_and_zero_factors_become_zero():
    assert quantize_multiplier([0.0, 1e-20])[0].tolist() == [0, 0]


def test_division_rounds_halves_away_from_zero():
    x = np.array([5, -5, 6, -6, 7, -7], np.int64)
    assert divide_by_power_of_two(x, 1).tolist() == [3, -3, 3, -3, 4, -4]
    assert divide_by_power_of_two(x, 0).tolist() == x.tolist()


@given(st.integers(-(2**24), 2**24), st.floats(1e-6, 2.0))
def test_rescaling_is_within_one_step_of_the_real_product(x, real):
    exact = x * real
    slack = 1 + abs(exact) * 2.0**-23
    assert abs(int(rescale(np.array([x]), real)[0]) - exact) <= slack
    assert abs(int(rescale_once(np.array([x]), real)[0]) - exact) <= slack


def test_two_roundings_differ_from_one():
    # 100 * 0.2549 = 25.49; with one bit to spare it is first 51 halves, then 25.5 rounds up.
    x, real = np.array([100]), 0.2549
    assert rescale(x, real).tolist() == [26]
    assert rescale_once(x, real).tolist() == [25]


@given(st.floats(1e-3, 4.0), st.integers(1, 10_000))
def test_divided_multiplier_is_the_quotient(real, count):
    multiplier, shift = divided_multiplier(real, count)
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(real / count, rel=2**-29)


def test_round_half_away():
    assert round_half_away(np.array([0.5, -0.5, 1.5, -2.5, 0.49])).tolist() == [1, -1, 2, -3, 0]


@pytest.mark.parametrize(
    ("activation", "zero_point", "limits"),
    [
        ("none", 3, (-128, 127)),
        ("relu", 3, (3, 127)),
        ("relu", -128, (-128, 127)),
        ("relu6", -128, (-128, -68)),
        ("relu6", 100, (100, 127)),
    ],
)
def test_activation_range(activation, zero_point, limits):
    assert activation_range(QuantParams.per_tensor(0.1, zero_point), activation) == limits

"""Scales and zero points: round trips, saturation, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import GraphError
from edgekit.graph.quant_params import RANGES, QuantParams

DTYPES = st.sampled_from(sorted(RANGES))


@given(
    scale=st.floats(1e-6, 1e3),
    fraction=st.floats(0, 1),
    dtype=st.sampled_from(["int8", "uint8", "int16"]),
    steps=st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_round_trip_stays_within_half_a_step(scale, fraction, dtype, steps):
    low, high = RANGES[dtype]
    params = QuantParams.per_tensor(scale, round(low + fraction * (high - low)), dtype)
    step = params.scale[0]
    least, most = (low - params.zero_point[0]) * step, (high - params.zero_point[0]) * step
    real = np.asarray([least + s * (most - least) for s in steps], np.float32)
    back = params.dequantize(params.quantize(real))
    float_error = 4 * np.finfo(np.float32).eps * max(abs(least), abs(most))
    assert np.abs(back.astype(np.float64) - real).max() <= step / 2 + float_error


@given(
    scales=st.lists(st.floats(1e-5, 10), min_size=1, max_size=6),
    axis=st.integers(0, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_per_channel_round_trip_uses_each_slices_scale(scales, axis, seed):
    shape = [2, 3, 4]
    shape[axis] = len(scales)
    params = QuantParams.per_channel(np.asarray(scales), axis)
    integers = np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)
    real = params.dequantize(integers)
    for i, scale in enumerate(params.scale):
        picked = np.take(real, i, axis)
        np.testing.assert_allclose(picked, np.take(integers, i, axis) * np.float32(scale), rtol=1e-6)
    np.testing.assert_array_equal(params.quantize(real), integers)


@given(value=st.floats(-1e6, 1e6), dtype=DTYPES)
def test_values_beyond_the_range_saturate(value, dtype):
    params = QuantParams.per_tensor(1.0, 0, dtype)
    low, high = RANGES[dtype]
    integer = int(params.quantize(np.asarray([value], np.float32))[0])
    assert integer == min(max(round(float(np.float32(value))), low), high)


def test_halves_round_to_even():
    params = QuantParams.per_tensor(1.0, 0)
    assert params.quantize(np.asarray([0.5, 1.5, 2.5, -0.5, -1.5], np.float32)).tolist() == [0, 2, 2, 0, -2]


def test_zero_is_exact_and_the_dtype_is_kept():
    params = QuantParams.per_tensor(0.013, 37, "uint8")
    assert params.quantize(np.zeros(3, np.float32)).tolist() == [37, 37, 37]
    assert params.quantize(np.zeros(3, np.float32)).dtype == np.uint8
    assert params.dequantize(np.asarray([37], np.uint8)).tolist() == [0.0]


def test_int32_does_not_wrap():
    params = QuantParams.per_tensor(1e-9, 0, "int32")
    assert params.quantize(np.asarray([10.0, -10.0])).tolist() == [2**31 - 1, -(2**31)]


def test_scales_are_rounded_to_float32():
    assert QuantParams.per_tensor(0.1, 0).scale == (float(np.float32(0.1)),)
    assert QuantParams.per_channel(np.asarray([0.1, 0.3]), 0).scale == (float(np.float32(0.1)), float(np.float32(0.3)))


@pytest.mark.parametrize(("axis", "rank", "shape"), [(None, 0, ()), (None, 4, (1, 1, 1, 1)), (3, 4, (1, 1, 1, 2))])
def test_broadcast_scale_has_the_tensors_rank(axis, rank, shape):
    scales = (0.5,) if axis is None else (0.5, 0.25)
    found = QuantParams(scales, (0,) * len(scales), "int8", axis).broadcast_scale(rank)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert found.reshape(-1).tolist() == list(scales)


def test_a_scalar_can_be_quantized():
    params = QuantParams.per_tensor(0.5, 1)
    assert params.quantize(np.float32(2.0).reshape(())) == 5
    assert params.dequantize(np.asarray(5, np.int8)) == 2.0


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_that_is_no_positive_number_is_refused(scale):
    with pytest.raises(GraphError, match=r"scale .* is not a positive number"):
        QuantParams((scale,), (0,))


def test_a_scale_that_float32_rounds_to_zero_is_refused():
    with pytest.raises(GraphError, match=r"scale 0\.0 is not a positive number"):
        QuantParams.per_tensor(1e-60, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((1.0,), (0,), "int4"), "quantized dtype 'int4' is none of int8, uint8, int16, int32"),
        (((1.0, 2.0), (0,), "int8", 0), "2 scales for 1 zero points"),
        (((), (), "int8", 0), "0 scales for 0 zero points"),
        (((1.0, 2.0), (0, 0)), "2 scales without an axis"),
        (((1.0,), (128,)), r"zero points \(128,\) do not fit int8"),
        (((1.0,), (-1,), "uint8"), r"zero points \(-1,\) do not fit uint8"),
        (((1.0, 2.0), (0, 1), "int8", 0), "per-channel quantization must be symmetric"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(GraphError, match=message):
        QuantParams(*arguments)

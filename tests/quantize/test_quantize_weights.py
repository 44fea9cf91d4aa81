from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.graph.kernels import conv2d
from edgekit.quantize.weights import SMALLEST_MULTIPLIER, kernel_scales, mean_error, quantize_layer

KERNELS = {"dense": (7, 5), "conv": (3, 3, 4, 6), "grouped": (3, 1, 2, 8), "depthwise": (3, 3, 1, 8)}
"""Kernel shapes; the layers read 7, 4, 8 (4 groups) and 4 (multiplier 2) channels."""
CHANNELS = {"dense": 7, "conv": 4, "grouped": 8, "depthwise": 4}


def random(shape: tuple[int, ...], seed: int = 0, spread: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * spread).astype(np.float32)


def apply(kind: str, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The layer without bias or padding; x (N, H, W, C), for dense (N, C)."""
    if kind == "dense":
        return x @ kernel
    groups = x.shape[3] // kernel.shape[2]
    attrs = {"strides": (1, 1), "dilation": (1, 1), "padding": (0,) * 4, "groups": groups, "activation": "none"}
    return conv2d([x, kernel], attrs)[0]


@settings(max_examples=80, deadline=None)
@given(kind=st.sampled_from(sorted(KERNELS)), seed=st.integers(0, 999), power=st.integers(-12, 6))
def test_weights_are_within_half_a_step_per_channel(kind, seed, power):
    kernel = random(KERNELS[kind], seed) * np.float32(10.0**power)
    kernel *= np.logspace(-3, 0, kernel.shape[-1], dtype=np.float32)
    layer = quantize_layer(kernel, np.zeros(kernel.shape[-1], np.float32), 0.02, 1e-3 * 10.0**power, None)
    scale = np.asarray(layer.kernel_params.scale)
    error = np.abs(layer.kernel * scale - kernel)
    assert (error <= 0.5001 * scale).all()
    assert layer.kernel_params.axis == kernel.ndim - 1
    assert np.abs(layer.kernel.astype(int)).max(axis=tuple(range(kernel.ndim - 1))).tolist() == [127] * kernel.shape[-1]


def test_bias_is_counted_in_input_times_kernel_steps():
    kernel, bias = random((3, 3, 4, 6)), random((6,), 1)
    layer = quantize_layer(kernel, bias, 0.02, 0.05, None)
    want = np.float32(np.asarray(layer.kernel_params.scale) * 0.02)
    np.testing.assert_array_equal(np.float32(layer.bias_params.scale), want)
    assert layer.bias_params.axis == 0
    assert (layer.bias.dtype, layer.bias_params.dtype) == (np.int32, "int32")
    assert (np.abs(layer.bias * np.asarray(layer.bias_params.scale) - bias) <= 0.5001 * want).all()


@pytest.mark.parametrize("kind", KERNELS)
def test_zero_kernels_keep_their_bias(kind):
    kernel = random(KERNELS[kind])
    kernel[..., 1] = 0
    bias = np.linspace(-2, 3, kernel.shape[-1], dtype=np.float32)
    layer = quantize_layer(kernel, bias, 0.02, 0.05, np.ones(CHANNELS[kind], np.float32))
    assert not layer.kernel[..., 1].any()
    assert layer.bias[1] * layer.bias_params.scale[1] == pytest.approx(bias[1], rel=1e-6)


@pytest.mark.parametrize("bias", [1e6, -1e6])
def test_huge_biases_over_tiny_weights_fit_int32(bias):
    kernel = random((4, 3), spread=1e-9)
    layer = quantize_layer(kernel, np.float32([bias, 0, 1e-9]), 1e-4, 1e4, None)
    real = layer.bias * np.asarray(layer.bias_params.scale)
    assert real[0] == pytest.approx(bias, rel=1e-6)
    # The sum of products still has room beside the bias.
    assert abs(int(layer.bias[0])) <= 2**30


@settings(max_examples=80, deadline=None)
@given(power=st.integers(-25, 5), in_power=st.integers(-8, 4), out_power=st.integers(-8, 4))
def test_multipliers_stay_above_the_floor(power, in_power, out_power):
    in_scale, out_scale = 10.0**in_power, 10.0**out_power
    scales = kernel_scales(random((5, 3)) * np.float32(10.0**power), np.zeros(3, np.float32), in_scale, out_scale)
    assert (in_scale * scales / out_scale >= SMALLEST_MULTIPLIER * 0.999).all()


@pytest.mark.parametrize("kind", KERNELS)
def test_mean_error_by_brute_force(kind):
    """Inputs that are the same everywhere: the layer's output with the error kernel is the mean error itself."""
    error, means = random(KERNELS[kind]), random((CHANNELS[kind],), 1)
    x = means[None] if kind == "dense" else np.broadcast_to(means, (1, 3, 3, len(means)))
    want = apply(kind, x, error).reshape(-1, error.shape[-1])[0]
    np.testing.assert_allclose(mean_error(error, means), want, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KERNELS)
@pytest.mark.parametrize("coarse", [False, True])
def test_bias_correction_removes_the_mean_output_error(kind, coarse):
    kernel = random(KERNELS[kind])
    if coarse:
        kernel[0] *= 50
    bias = np.full(kernel.shape[-1], 0.5, np.float32)
    shape = (400, CHANNELS[kind]) if kind == "dense" else (40, 6, 6, CHANNELS[kind])
    x = np.abs(random(shape, 3)) + np.float32(1)
    means = x.reshape(-1, x.shape[-1]).mean(0)

    def error_of(layer):
        steps = np.asarray(layer.kernel_params.scale)
        real = apply(kind, x.astype(np.float64), layer.kernel * steps) + layer.bias * np.asarray(
            layer.bias_params.scale
        )
        want = apply(kind, x.astype(np.float64), kernel.astype(np.float64)) + bias.astype(np.float64)
        return np.abs((real - want).reshape(-1, kernel.shape[-1]).mean(0))

    plain, corrected = (error_of(quantize_layer(kernel, bias, 0.02, 0.05, m)) for m in (None, means))
    assert corrected.max() < 0.1 * plain.max()

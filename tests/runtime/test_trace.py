"""Activations: each runtime's tensors by name, against a run of the network's front part."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import CLASSES, CONV, LAYERS, SIZE, image, onnx_classifier, onnx_quantized, tflite_models

from edgekit.errors import RuntimeUnavailableError
from edgekit.runtime import Session
from edgekit.runtime.onnx_trace import expose_activations


def first_layer(x: np.ndarray) -> np.ndarray:
    """relu6 of the 3x3 convolution, in numpy."""
    padded = np.pad(x[0].astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))  # (h, w, c, 3, 3)
    return np.clip(np.einsum("hwcij,ijco->hwo", windows, CONV.astype(np.float64)), 0, 6)[None]


def test_tflite_tensors_come_in_order_with_their_values() -> None:
    with Session.open(tflite_models()["float"], preserve_all_tensors=True) as session:
        session.run_float(image())
        tensors = session.tensors()
        assert tuple(tensors)[1:] == LAYERS
        np.testing.assert_allclose(tensors["conv"].to_float(), first_layer(image()), atol=1e-5)
        assert tensors["softmax"].array.shape == (1, CLASSES)


def test_quantized_tflite_tensors_carry_their_scales() -> None:
    with Session.open(tflite_models()["int8"], preserve_all_tensors=True) as session:
        session.run_float(image())
        conv = session.tensors()["conv"]
        assert conv.array.dtype == np.int8
        assert conv.scale is not None
        assert np.abs(conv.to_float() - np.minimum(first_layer(image()), conv.to_float().max())).max() < 3 * conv.scale


def test_onnx_tensors_have_the_values_of_the_same_network_in_tflite() -> None:
    with Session.open(onnx_classifier(), preserve_all_tensors=True) as session:
        assert [spec.name for spec in session.outputs] == ["softmax"]
        result = session.run_float(image())
        tensors = session.tensors()
    assert set(tensors) == {"x", *LAYERS, "conv_raw", "depthwise_raw", "flat"}
    np.testing.assert_array_equal(tensors["softmax"].array, result)
    np.testing.assert_allclose(tensors["conv"].array.transpose(0, 2, 3, 1), first_layer(image()), atol=1e-5)


def test_exposing_leaves_integer_kernels_fused() -> None:
    _, names = expose_activations(onnx_quantized())
    assert names == ("x_dq", "conv_dq")
    with Session.open(onnx_quantized()) as plain, Session.open(onnx_quantized(), preserve_all_tensors=True) as traced:
        np.testing.assert_array_equal(plain.run_quantized(image()), traced.run_quantized(image()))
        conv = traced.tensors()["conv_dq"].array
    assert conv.shape == (1, 8, SIZE, SIZE)
    np.testing.assert_allclose(conv / 0.1, np.rint(conv / 0.1), atol=1e-4)


def test_tensors_of_a_session_that_keeps_none() -> None:
    for model in (tflite_models()["float"], onnx_classifier()):
        with Session.open(model) as session, pytest.raises(RuntimeUnavailableError, match="activations were not kept"):
            session.tensors()

"""Two files on the same samples: outputs, and layers where names match."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from small_models import DENSE, LAYERS, image, onnx_classifier, onnx_quantized, tflite_models

from edgekit.errors import DataError
from edgekit.evaluate import compare_files
from edgekit.evaluate.compare import strip_suffix


@dataclass
class Picture:
    array: np.ndarray


SAMPLES = [Picture(image(seed)) for seed in range(3)]


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_a_file_agrees_with_itself(tmp_path: Path) -> None:
    for name, content in (("a.tflite", tflite_models()["int8"]), ("a.onnx", onnx_quantized())):
        path = write(tmp_path, name, content)
        result = compare_files(path, path, SAMPLES)
        assert (result.output.samples, result.output.max_abs_difference) == (3, 0.0)
        assert result.quantized is not None
        assert (result.quantized.equal_share, result.quantized.max_step_difference) == (1.0, 0)
        assert result.layers
        assert all(layer.min_cosine == 1.0 and layer.max_abs_difference == 0.0 for layer in result.layers)
        assert (result.unmatched_a, result.unmatched_b) == (0, 0)
        assert json.loads(json.dumps(result.to_json(), allow_nan=False))["layers"][0]["sqnr_db"] is None


def test_layers_of_both_formats_are_matched_by_name_across_layouts(tmp_path: Path) -> None:
    a = write(tmp_path, "a.tflite", tflite_models()["float"])
    b = write(tmp_path, "b.onnx", onnx_classifier())
    result = compare_files(a, b, SAMPLES)
    assert result.quantized is None
    assert tuple(layer.name for layer in result.layers) == LAYERS
    assert all(layer.min_cosine > 1 - 1e-9 and layer.max_abs_difference < 1e-5 for layer in result.layers)
    assert (result.unmatched_a, result.unmatched_b) == (1, 4)  # x0; x, conv_raw, depthwise_raw, flat


def test_the_first_differing_layer_shows(tmp_path: Path) -> None:
    changed = DENSE.copy()
    changed[:, 0] += 1.0
    a = write(tmp_path, "a.onnx", onnx_classifier())
    b = write(tmp_path, "b.onnx", onnx_classifier(dense=changed))
    by_name = {layer.name: layer for layer in compare_files(a, b, SAMPLES).layers}
    assert by_name["pool"].max_abs_difference == 0.0
    assert by_name["dense"].sqnr_db < 20
    assert by_name["softmax"].min_cosine < 0.999


def test_quantized_against_float_has_a_finite_sqnr(tmp_path: Path) -> None:
    a = write(tmp_path, "a.onnx", onnx_classifier())
    b = write(tmp_path, "b.tflite", tflite_models()["int8"])
    result = compare_files(a, b, SAMPLES)
    assert result.quantized is None
    by_name = {layer.name: layer for layer in result.layers}
    assert set(by_name) == set(LAYERS)
    assert 20 < by_name["conv"].sqnr_db < 60
    assert by_name["conv"].mean_cosine > 0.999


def test_outputs_in_the_same_steps_are_compared_as_steps(tmp_path: Path) -> None:
    a = write(tmp_path, "a.onnx", onnx_quantized("int8"))
    b = write(tmp_path, "b.onnx", onnx_quantized("uint8"))
    result = compare_files(a, b, SAMPLES)
    assert result.quantized is not None
    assert result.quantized.max_step_difference <= 1
    assert result.quantized.equal_share > 0.99
    assert [layer.name for layer in result.layers] == ["x", "conv", "y"]


def test_outputs_alone(tmp_path: Path) -> None:
    a = write(tmp_path, "a.onnx", onnx_classifier())
    result = compare_files(a, a, SAMPLES, layers=False)
    assert (result.layers, result.unmatched_a, result.unmatched_b) == ((), 0, 0)
    assert result.output.mean_cosine == 1.0


@pytest.mark.parametrize(
    ("name", "bare"),
    [("conv_dq", "conv"), ("conv_q", "conv"), ("conv_quantized_dq", "conv"), ("_q", "_q"), ("conv", "conv")],
)
def test_suffixes(name: str, bare: str) -> None:
    assert strip_suffix(name) == bare


def test_files_that_cannot_be_compared(tmp_path: Path) -> None:
    a = write(tmp_path, "a.onnx", onnx_classifier())
    b = write(tmp_path, "b.onnx", onnx_classifier(dense=DENSE[:, :7]))
    with pytest.raises(DataError, match=r"a\.onnx gives an output of shape \[1, 10\] and .*b\.onnx one of \[1, 7\]"):
        compare_files(a, b, SAMPLES)
    with pytest.raises(DataError, match="no sample to compare"):
        compare_files(a, a, [])

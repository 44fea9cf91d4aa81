"""DenseNet, Inception, Xception, NASNet and EfficientNet as int8 files of both formats."""

from __future__ import annotations

import pytest

from edgekit.pipeline.export_model import ExportRequest, export_model
from edgekit.pipeline.model import ModelRequest
from edgekit.pipeline.quantize_model import Int8Settings

VARIANTS = [
    ("densenet", {"resolution": 64}),
    ("densenet_cifar", {"depth": 40}),
    ("inception_v1", {"resolution": 64}),
    ("inception_v1", {"resolution": 64, "form": "torchvision"}),
    ("inception_v3", {"resolution": 107}),
    ("xception", {"resolution": 71}),
    ("nasnet_mobile", {"resolution": 64}),
    ("efficientnet_b0", {"resolution": 128}),
]


@pytest.mark.parametrize(("model", "options"), VARIANTS)
def test_int8_files_of_random_networks_agree_with_float(tmp_path, model, options):
    request = ExportRequest(
        ModelRequest(model, options, weights="none"), "int8", int8=Int8Settings(calibration_images=6), out=tmp_path
    )
    result = export_model(request)
    assert set(result.files) == {"tflite", "onnx"}
    for agreement in result.verification.with_float.values():
        assert agreement.mean_cosine >= 0.99
    assert result.verification.between_float.mean_cosine >= 0.99


@pytest.mark.parametrize("model", ["densenet", "nasnet_mobile", "efficientnet_b0"])
def test_float_files_of_odd_sizes_agree(tmp_path, model):
    request = ExportRequest(
        ModelRequest(model, {"resolution": 65}, weights="none"), int8=Int8Settings(calibration_images=2), out=tmp_path
    )
    verification = export_model(request).verification
    assert all(agreement.max_abs_difference < 1e-4 for agreement in verification.with_float.values())

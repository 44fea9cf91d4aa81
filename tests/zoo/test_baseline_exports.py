"""LeNet-5, AlexNet, VGG and the residual networks through the passes, both writers, and int8."""

from __future__ import annotations

import numpy as np
import pytest
from torch_twin import randomize_norms

from edgekit.export.onnx import onnx_bytes
from edgekit.export.tflite import tflite_bytes
from edgekit.graph.interpret import interpret
from edgekit.passes.registry import apply_passes
from edgekit.pipeline.export_model import ExportRequest, export_model
from edgekit.pipeline.model import ModelRequest
from edgekit.pipeline.quantize_model import Int8Settings
from edgekit.runtime.session import Session
from edgekit.zoo import build_model

VARIANTS = [
    ("lenet5", {}),
    ("lenet5", {"form": "modern", "resolution": 40}),
    ("alexnet", {"resolution": 99}),
    ("vgg", {"depth": 11, "resolution": 33}),
    ("resnet", {"depth": 18, "resolution": 33}),
    ("resnet", {"form": "keras", "resolution": 33}),
    ("resnet_v2", {"form": "keras", "resolution": 65}),
    ("resnet_v2", {"depth": 18, "resolution": 33}),
    ("resnext", {"resolution": 33}),
    ("se_resnet", {"form": "torch", "resolution": 33}),
    ("resnet_cifar", {}),
    ("resnet_cifar", {"version": "2"}),
]


@pytest.mark.parametrize(("model", "options"), VARIANTS)
def test_both_runtimes_agree_with_the_reference(model, options):
    graph = randomize_norms(build_model(model, classes=10, **options))
    x = np.random.default_rng(0).uniform(-2, 2, graph.shape("input")).astype(np.float32)
    expected = interpret(graph, {"input": x})[graph.outputs[0]]
    assert expected.std() > 1e-3
    lowered, _ = apply_passes(graph)
    for data in (tflite_bytes(lowered), onnx_bytes(lowered)):
        with Session.open(data) as session:
            np.testing.assert_allclose(session.run_float(x), expected, rtol=1e-4, atol=1e-5)


INT8 = [
    ("lenet5", {}),
    ("lenet5", {"form": "modern"}),
    ("alexnet", {"form": "torch", "resolution": 63}),
    ("vgg", {"depth": 11, "resolution": 32}),
    ("resnet", {"depth": 18, "resolution": 64}),
    ("resnet_v2", {"depth": 18, "resolution": 64}),
    ("resnext", {"resolution": 40}),
    ("se_resnet", {"resolution": 40}),
    ("resnet_cifar", {}),
    ("resnet_cifar", {"version": "2"}),
]


@pytest.mark.parametrize(("model", "options"), INT8)
def test_int8_files_of_random_weights_behave(tmp_path, model, options):
    """Cosine of at least 0.99 with the float model for both files, and nearly 1 between them."""
    settings = Int8Settings(calibration_images=8)
    wanted = ModelRequest(model, {"classes": 50, **options}, weights="none")
    result = export_model(ExportRequest(wanted, "int8", calibration="synthetic", int8=settings, out=tmp_path))
    cosines = [agreement.mean_cosine for agreement in result.verification.with_float.values()]
    assert len(cosines) == 2
    assert min(cosines) >= 0.99
    assert result.verification.between_float.mean_cosine > 0.995

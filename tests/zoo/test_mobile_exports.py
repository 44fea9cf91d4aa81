"""SqueezeNet, SqueezeNext, MobileNet V3 and both ShuffleNets through the passes and both writers."""

from __future__ import annotations

import numpy as np
import pytest
from torch_twin import randomize_norms

from edgekit.export.onnx import onnx_bytes
from edgekit.export.tflite import tflite_bytes
from edgekit.graph.interpret import interpret
from edgekit.passes.registry import apply_passes
from edgekit.runtime.session import Session
from edgekit.zoo import build_model

VARIANTS = [
    ("squeezenet", {}),
    ("squeezenet", {"version": "1.1", "conv10_padding": 1}),
    ("squeezenet", {"bypass": "simple"}),
    ("squeezenet", {"bypass": "complex"}),
    ("squeezenet", {"bypass": "complex_all", "sr": 0.3, "pct_3x3": 0.4, "freq": 3, "incr_e": 30, "base_e": 50}),
    ("squeezenext", {}),
    ("squeezenext", {"version": "23v5", "groups": 2}),
    ("squeezenext", {"version": "34", "alpha": 0.5}),
    ("squeezenext", {"version": "44", "alpha": 0.5}),
    ("mobilenet_v3_small", {}),
    ("mobilenet_v3_small", {"minimalistic": "on", "padding": "symmetric"}),
    ("mobilenet_v3_large", {"alpha": 0.35}),
    ("mobilenet_v3_large", {"alpha": 0.5, "padding": "symmetric"}),
    ("shufflenet_v1", {"groups": 1, "alpha": 0.25}),
    ("shufflenet_v1", {"groups": 2, "alpha": 0.5}),
    ("shufflenet_v1", {"groups": 3, "alpha": 0.5, "classifier_bias": "on"}),
    ("shufflenet_v1", {"groups": 4, "alpha": 0.25}),
    ("shufflenet_v1", {"groups": 8, "alpha": 0.5, "shallow": "on"}),
    ("shufflenet_v2", {"alpha": 0.5}),
    ("shufflenet_v2", {"unit": "torchvision"}),
    ("shufflenet_v2", {"squeeze_excite": "on", "residual": "on"}),
    ("shufflenet_v2", {"depth": "50"}),
    pytest.param("shufflenet_v2_164", {}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("model", "options"), VARIANTS)
def test_both_runtimes_agree_with_the_reference(model, options):
    graph = randomize_norms(build_model(model, resolution=65, classes=10, **options))
    x = np.random.default_rng(0).uniform(-2, 2, graph.shape("input")).astype(np.float32)
    expected = interpret(graph, {"input": x})[graph.outputs[0]]
    assert expected.std() > 1e-3
    lowered, _ = apply_passes(graph)
    for data in (tflite_bytes(lowered), onnx_bytes(lowered)):
        with Session.open(data) as session:
            np.testing.assert_allclose(session.run_float(x), expected, rtol=1e-4, atol=1e-5)

"""IGCV1, IGCV2, IGCV3 and CondenseNet through the passes and both writers, against the numpy interpreter."""

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
    ("igcv1_cifar", {"depth": 8}),
    ("igcv1_cifar", {"depth": 8, "shortcut": "identity", "primary": 4, "secondary": 8}),
    ("igcv1_cifar", {"depth": 8, "block": "regular", "primary": 16, "secondary": 1}),
    ("igcv1", {"resolution": 64, "classes": 10, "primary": 4, "secondary": 8}),
    ("igcv1", {"resolution": 64, "classes": 10, "primary": 16, "secondary": 2, "widen": "primary"}),
    ("igcv2_cifar", {"width": 48, "depth": 8, "norm": "conv"}),
    ("igcv2_cifar", {"variant": "igcv2", "depth": 8}),
    ("igcv2", {"alpha": 0.25, "resolution": 64, "classes": 10}),
    ("igcv3", {"alpha": 0.5, "resolution": 64, "classes": 10}),
    ("igcv3", {"variant": "w", "alpha": 0.5, "resolution": 64, "classes": 10}),
    ("condensenet_cifar", {"depth": 20}),
    ("condensenet_cifar", {"depth": 20, "form": "trainable"}),
    ("condensenet_cifar", {"depth": 20, "form": "pruned", "classifier": "pruned"}),
    ("condensenet", {"resolution": 64, "classes": 10}),
    ("condensenet", {"resolution": 64, "classes": 10, "groups": 8, "condense": 8}),
]


@pytest.mark.parametrize(("model", "options"), VARIANTS)
def test_both_runtimes_agree_with_the_reference(model, options):
    graph = randomize_norms(build_model(model, **options))
    x = np.random.default_rng(0).uniform(-2, 2, graph.shape("input")).astype(np.float32)
    values = interpret(graph, {"input": x}, keep=True)
    expected = values[graph.outputs[0]]
    assert expected.std() > 1e-3
    lowered, _ = apply_passes(graph)
    for data in (tflite_bytes(lowered), onnx_bytes(lowered)):
        with Session.open(data) as session:
            np.testing.assert_allclose(session.run_float(x), expected, rtol=1e-4, atol=1e-5)

"""All of keras.applications but ConvNeXt: imported, exported, and both files against Keras.

Batch norms have random statistics. Their scales lie around 0.7, since deep networks with larger ones amplify the
rounding of float32 without bound: Keras's own output then changes with the last bit of its input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_oracle import feeds_of, framework, imported, ops, outputs_of, randomised

from edgekit.export.onnx import onnx_bytes
from edgekit.export.tflite import tflite_bytes
from edgekit.graph import Graph
from edgekit.passes.registry import apply_passes
from edgekit.runtime.session import Session

LEAST_SIZES = {"Xception": 71, "InceptionV3": 75, "InceptionResNetV2": 75}
SIZE = 32
SMALL = (
    ("keras", "MobileNet", ".keras"),
    ("keras", "MobileNetV2", "object"),
    ("keras", "MobileNetV3Small", ".h5"),
    ("keras", "MobileNetV3Large", ".keras"),
    ("keras", "EfficientNetB0", ".keras"),
    ("keras", "EfficientNetV2B0", ".keras"),
    ("keras", "DenseNet121", ".keras"),
    ("keras", "InceptionV3", ".keras"),
    ("keras", "NASNetMobile", ".keras"),
    ("keras", "ResNet50", ".keras"),
    ("keras", "ResNet50V2", ".keras"),
    ("keras", "VGG16", ".keras"),
    ("keras", "Xception", ".keras"),
    ("tf_keras", "MobileNetV2", ".h5"),
    ("tf_keras", "MobileNetV3Small", ".keras"),
    ("tf_keras", "EfficientNetB0", "object"),
)
LARGE = (
    ("keras", "DenseNet169", ".keras"),
    ("keras", "DenseNet201", ".h5"),
    *(("keras", f"EfficientNetB{i}", ".keras") for i in range(1, 8)),
    *(("keras", f"EfficientNetV2{kind}", ".keras") for kind in ("B1", "B2", "B3", "S", "M", "L")),
    ("keras", "InceptionResNetV2", ".keras"),
    ("keras", "NASNetLarge", ".keras"),
    *(("keras", f"ResNet{kind}", ".keras") for kind in ("101", "101V2", "152", "152V2")),
    ("keras", "VGG19", ".keras"),
    ("tf_keras", "InceptionResNetV2", ".h5"),
    ("tf_keras", "MobileNet", ".keras"),
    ("tf_keras", "MobileNetV3Large", ".h5"),
    ("tf_keras", "ResNet50", ".h5"),
    ("tf_keras", "Xception", ".keras"),
)


def test_every_application_but_convnext_is_here() -> None:
    applications = vars(framework("keras").applications)
    known = {name for name, value in applications.items() if name[0].isupper() and callable(value)}
    convnext = {name for name in known if name.startswith("ConvNeXt")}
    assert {name for kind, name, _ in SMALL + LARGE if kind == "keras"} == known - convnext


@pytest.mark.parametrize(("kind", "name", "form"), SMALL)
def test_small(kind: str, name: str, form: str, tmp_path: Path) -> None:
    check(kind, name, form, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "form"), LARGE)
def test_large(kind: str, name: str, form: str, tmp_path: Path) -> None:
    check(kind, name, form, tmp_path)


def check(kind: str, name: str, form: str, folder: Path) -> None:
    k = framework(kind)
    k.backend.clear_session()
    k.utils.set_random_seed(0)
    size = LEAST_SIZES.get(name, SIZE)
    build = getattr(k.applications, name)
    model = build(weights=None, classifier_activation=None, input_shape=(size, size, 3))
    graph = imported(randomised(model, gamma=0.7, spread=0.4), form, folder)
    _check_names(graph, model)
    image = feeds_of(graph)[graph.inputs[0]]
    if "preprocessing" in graph.metadata:
        image = image * 30 + 128
    (want,) = outputs_of(model, {"image": image})
    assert want.std() > 1e-3
    rewritten, _ = apply_passes(graph)
    for content in (onnx_bytes(rewritten), tflite_bytes(rewritten)):
        with Session.open(content) as session:
            found = session.run_float(image)
        np.testing.assert_allclose(found, want, rtol=0, atol=1e-4 * float(np.abs(want).max()))


def _check_names(graph: Graph, model: Any) -> None:
    """Layers with weights keep their names, and nothing but what the network needs is there."""
    named = {node.name for node in graph.nodes}
    kinds = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense", "BatchNormalization")
    missing = [layer.name for layer in model.layers if type(layer).__name__ in kinds and layer.name not in named]
    assert missing == []
    assert "transpose" not in ops(graph)

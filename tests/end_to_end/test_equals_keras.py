"""Float exports with Keras's weights give what Keras gives: every width, three resolutions, every weight format.

Random weights alone would prove little: their signal fades layer by layer, until any network with the right bias gives
the same flat probabilities. So the batch norms get the statistics of real activations, spoiled a little each, the
classifier is scaled until its probabilities are peaked, and logits are compared, relative to their size.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.data.preprocess import KERAS_TF
from edgekit.data.synthetic import SyntheticSource
from edgekit.pipeline.export_model import ExportRequest, export_model
from edgekit.pipeline.model import ModelRequest
from edgekit.pipeline.quantize_model import Int8Settings
from edgekit.runtime import Session

TOLERANCE = 1e-4
RESOLUTIONS = {96: ".weights.h5", 131: ".h5", 224: ".keras"}
SPREAD = 3.0
"""Standard deviation of the logits."""


def images(resolution: int, count: int = 3) -> np.ndarray:
    preprocessing = KERAS_TF.with_size(resolution, resolution)
    return np.concatenate([sample.array for sample in SyntheticSource(11).samples(preprocessing, count)])


def keras_model(name: str, alpha: float, resolution: int) -> Any:
    keras = pytest.importorskip("keras")
    build = {"mobilenet_v1": keras.applications.MobileNet, "mobilenet_v2": keras.applications.MobileNetV2}[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build(input_shape=(resolution, resolution, 3), alpha=alpha, weights=None)


def lively_weights(name: str, alpha: float) -> list[np.ndarray]:
    """Weights under which the network tells images apart."""
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(int(alpha * 100))
    rng = np.random.default_rng(int(alpha * 100))
    model = keras_model(name, alpha, 96)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    model(images(96, 8), training=True)
    for norm in norms:
        gamma, _, mean, variance = norm.get_weights()
        width = len(gamma)
        norm.set_weights(
            [
                rng.uniform(0.7, 1.4, width),
                rng.normal(0.2, 0.3, width),
                mean + rng.normal(0, 0.2, width) * np.sqrt(variance),
                variance * rng.uniform(0.7, 1.5, width) + 1e-3,
            ]
        )
    classifier = model.layers[-1] if name == "mobilenet_v2" else model.get_layer("conv_preds")
    kernel, bias = classifier.get_weights()
    logits = centred_logits(model(images(96), training=False).numpy())
    classifier.set_weights([kernel * SPREAD / logits.std(), rng.normal(0, 0.5, len(bias))])
    return [np.asarray(w) for w in model.get_weights()]


def centred_logits(probabilities: np.ndarray) -> np.ndarray:
    """Logits up to a constant, in float64."""
    logits = np.log(probabilities.astype(np.float64))
    return logits - logits.mean(axis=-1, keepdims=True)


def check(model: Any, name: str, alpha: float, resolution: int, folder: Path) -> None:
    inputs = images(resolution)
    expected = centred_logits(model.predict(inputs, verbose=0))
    assert expected.std() > SPREAD / 3  # peaked
    assert np.abs(expected[0] - expected[1]).max() > 1  # and different for different images
    weights = folder / f"{name}_{alpha}_{resolution}{RESOLUTIONS[resolution]}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_weights(weights) if weights.name.endswith(".weights.h5") else model.save(weights)
    request = ModelRequest(name, {"alpha": alpha, "resolution": resolution}, weights=str(weights))
    result = export_model(ExportRequest(request, out=folder, int8=Int8Settings(calibration_images=1)))
    assert result.warnings == ()
    assert result.metadata["weights"]["source"] == "file"
    for path in result.files.values():
        with Session.open(path) as session:
            found = centred_logits(np.concatenate([session.run_float(x[None]) for x in inputs]))
        difference = np.abs(found - expected).max()
        assert difference < TOLERANCE * np.abs(expected).max(), f"{path.name}: {difference:.2e}"


def test_one_small_network(tmp_path: Path) -> None:
    model = keras_model("mobilenet_v2", 0.35, 96)
    model.set_weights(lively_weights("mobilenet_v2", 0.35))
    check(model, "mobilenet_v2", 0.35, 96, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "alpha"),
    [("mobilenet_v2", alpha) for alpha in (0.35, 0.5, 0.75, 1.0, 1.4)] + [("mobilenet_v1", a) for a in (0.25, 1.0)],
)
def test_every_width_at_three_resolutions(name: str, alpha: float, tmp_path: Path) -> None:
    weights = lively_weights(name, alpha)
    for resolution in RESOLUTIONS:
        model = keras_model(name, alpha, resolution)
        model.set_weights(weights)
        check(model, name, alpha, resolution, tmp_path)


def test_the_comparison_sees_a_wrong_epsilon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test can fail: Keras's usual epsilon of batch norms, 1e-3, replaced by 1e-5."""
    monkeypatch.setattr("edgekit.zoo.mobilenet.EPSILON", 1e-5)
    model = keras_model("mobilenet_v2", 0.35, 96)
    model.set_weights(lively_weights("mobilenet_v2", 0.35))
    with pytest.raises(AssertionError, match=r"mobilenet_v2_0\.35_96_fp32\.tflite: "):
        check(model, "mobilenet_v2", 0.35, 96, tmp_path)

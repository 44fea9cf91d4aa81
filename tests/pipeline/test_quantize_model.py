"""What the pipeline adds to quantization: the input's range and the record of how it was made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.data.preprocess import PRESETS
from edgekit.data.sources import open_source
from edgekit.errors import DataError
from edgekit.passes.registry import apply_passes
from edgekit.pipeline.model import ModelRequest, load_model
from edgekit.pipeline.quantize_model import Int8Settings, quantize_model, steps_range
from edgekit.pipeline.reporter import SilentReporter
from edgekit.quantize.ranges import activation_params


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_no_pixel_lies_between_two_steps(name: str) -> None:
    """With a tie at every pixel, two runtimes see two pictures: float inputs of both int8 files then differ."""
    low, high = PRESETS[name].value_range()
    params = activation_params(*steps_range(low, high))
    preset = PRESETS[name]
    for mean, std in zip(preset.mean, preset.std, strict=True):
        steps = (np.arange(256) - mean) / std / params.scale[0]
        apart = np.abs(steps - np.floor(steps) - 0.5)
        assert np.count_nonzero(apart < 1e-4) <= 2
    errors = steps - np.rint(steps)
    assert np.sqrt(np.mean(errors**2)) < 0.3


@given(st.floats(-1000, 0), st.floats(0, 1000))
def test_the_range_holds_both_ends_and_is_hardly_wider(low: float, high: float) -> None:
    least, most = steps_range(low, high)
    assert least <= low + 1e-9
    assert most >= high - 1e-9
    assert most - least <= (high - low) * 255 / 254 + 1e-9
    scale = (most - least) / 255
    if scale > 1e-30:
        assert least / scale == pytest.approx(round(least / scale), abs=1e-9)


def test_known_ranges() -> None:
    assert steps_range(-1, 1) == pytest.approx((-127 / 127, 128 / 127))
    assert steps_range(0, 1) == pytest.approx((0, 1))
    assert steps_range(-2, 0) == pytest.approx((-2, 0))
    assert steps_range(0, 0) == (0, 0)
    assert steps_range(0.5, 1) == pytest.approx((0, 1))


def test_the_record_holds_every_setting_and_no_path(tmp_path: Path) -> None:
    from command_line import write_photos

    photos = write_photos(tmp_path / "photos", 3)
    graph = load_model(ModelRequest("mobilenet_v2", {"alpha": 0.35, "resolution": 32}, "none"), SilentReporter())
    graph, _ = apply_passes(graph)
    quantized = quantize_model(graph, open_source(photos), Int8Settings(2), SilentReporter())
    step = quantized.metadata["steps"][-1]
    assert step["step"] == "quantize"
    assert step["calibration"]["name"] == "photos"
    assert (step["calibration"]["count"], step["calibration"]["used"]) == (3, 2)
    assert str(tmp_path) not in str(quantized.metadata)
    assert {"io", "range_method", "bias_correction", "xnnpack_forms", "input_range"} <= step.keys()
    assert "steps" not in graph.metadata or graph.metadata["steps"][-1]["step"] != "quantize"
    low, high = step["input_range"]
    quant = quantized.tensor(quantized.inputs[0]).quant
    assert quant is not None
    assert quant.scale[0] == pytest.approx((high - low) / 255)


def test_no_images_are_an_error() -> None:
    graph = load_model(ModelRequest("mobilenet_v2", {"alpha": 0.35, "resolution": 32}, "none"), SilentReporter())
    graph, _ = apply_passes(graph)
    with pytest.raises(DataError, match="limit of 0"):
        quantize_model(graph, open_source("synthetic"), Int8Settings(0), SilentReporter())

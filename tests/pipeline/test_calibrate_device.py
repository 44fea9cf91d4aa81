"""Calibration end to end with a made-up timer: files are written, prices found, checked, kept and used."""

from __future__ import annotations

import pytest
from made_up_prices import TRUE, MadeUpTimer

from edgekit.devices import find_profile
from edgekit.devices.calibration import calibration_file, device_targets, read_calibration
from edgekit.errors import DeviceError, ModelError
from edgekit.passes.target import DEFAULT_TARGETS
from edgekit.pipeline.calibrate_device import ANY_NUMBER, Timed, calibrate_device, measure_of, widest_concat
from edgekit.pipeline.micro_models import micro_models, whole_layers


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_DEVICES", str(tmp_path / "devices"))


def test_prices_are_found_checked_and_kept_and_count():
    timer = MadeUpTimer()
    result = calibrate_device(find_profile("host"), ["tflite"], measure=timer)
    assert timer.seen == [".tflite", ".tflite"]
    assert list(result.fits) == ["tflite float32", "tflite int8"]
    for name, fit in result.fits.items():
        assert fit.coefficients.mac == pytest.approx(TRUE.mac, rel=1e-4)
        assert result.worst_check(name) < 1e-4
    assert result.path == calibration_file("host")
    kept = read_calibration("host")
    assert kept is not None
    assert kept.runtimes == {"tflite": "a clock"}
    targets = device_targets(find_profile("host"))
    assert targets["tflite"].int8 == result.fits["tflite int8"].coefficients
    assert targets["tflite"].name == "tflite on host"
    assert targets["onnx"] == DEFAULT_TARGETS["onnx"]
    assert device_targets(find_profile("pi5")) == DEFAULT_TARGETS


def test_a_device_that_leaves_files_out_is_refused():
    with pytest.raises(DeviceError, match=r"1 of \d+ micro-models were timed"):
        calibrate_device(find_profile("host"), ["tflite"], measure=lambda paths, **more: Timed((1.0,), "x"))
    assert read_calibration("host") is None


def test_what_cannot_be_calibrated(tmp_path):
    with pytest.raises(DeviceError, match="nnapi is reached by none"):
        measure_of(find_profile("nnapi"))
    path = tmp_path / "board.yaml"
    path.write_text("name: board\ntitle: T\nkind: board\ntransport: ssh\nemulated: true\n")
    with pytest.raises(DeviceError, match="board is emulated: what it takes there is no latency"):
        measure_of(find_profile(str(path)))
    with pytest.raises(ModelError, match="format 'coreml' is none of tflite, onnx"):
        calibrate_device(find_profile("host"), ["coreml"])


@pytest.mark.parametrize(
    ("times", "widest"),
    [
        ({4: (1.0, 1.0), 6: (1.0, 2.0)}, ANY_NUMBER),
        ({4: (1.0, 1.0), 5: (1.0, 1.0), 6: (1.2, 1.0), 8: (0.5, 1.0)}, 5),
        ({8: (1.0, 1.0), 4: (2.0, 1.0)}, 2),
        ({4: (1.04, 1.0)}, ANY_NUMBER),
    ],
)
def test_the_widest_concat_that_is_worth_it(times, widest):
    assert widest_concat(times) == widest


def test_micro_models_have_names_of_their_own():
    graphs = [*micro_models(), *whole_layers()]
    assert len({g.name for g in graphs}) == len(graphs)
    assert not {g.name for g in micro_models()} & {g.name for g in whole_layers()}

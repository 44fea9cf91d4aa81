"""Outputs of a device are compared with this machine's before any time is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_device import FakeDevice
from small_models import onnx_classifier, onnx_quantized, onnx_single_op, tflite_models

from edgekit.bench.check import INPUTS, check_outputs, compare_outputs, expect, make_feeds
from edgekit.errors import DeviceError
from edgekit.runtime import Session


@pytest.fixture
def int8_file(tmp_path: Path) -> Path:
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite_models()["int8"])
    return path


def test_feeds_fit_any_input() -> None:
    for model in (tflite_models()["two_inputs"], tflite_models()["uint8"], onnx_quantized(), onnx_classifier()):
        with Session.open(model) as session:
            feeds = make_feeds(session)
            session.run({spec.name: value for spec, value in zip(session.inputs, feeds, strict=True)})
            assert all(np.unique(value).size > 10 for value in feeds)
            assert any((a != b).any() for a, b in zip(feeds, make_feeds(session, 1), strict=True))
    with Session.open(onnx_single_op("Identity", [5], dtype="INT64")) as session:
        assert make_feeds(session)[0].tolist() == [0] * 5


def test_equal_outputs(int8_file: Path) -> None:
    device = FakeDevice()
    device.open(int8_file, ())
    check = check_outputs(device, 0, expect(int8_file))
    assert (check.inputs, check.sqnr_db, check.largest_step, check.equal_share) == (INPUTS, None, 0, 1.0)
    assert check.reference.startswith("litert")


def test_one_step_apart_is_told(int8_file: Path) -> None:
    expected = expect(int8_file)
    found = [[np.where(values > 0, values - 1, values + 1)] for (values,) in expected.outputs]
    check = compare_outputs(expected, [[a.astype(np.int8) for a in own] for own in found])
    assert (check.largest_step, check.equal_share) == (1, 0.0)
    spec = expected.output_specs[0]
    real = np.concatenate([(a.astype(float) - spec.zero_point) * spec.scale for (a,) in expected.outputs])
    assert check.sqnr_db == pytest.approx(10 * np.log10((real**2).mean() / spec.scale**2))


def test_other_outputs_are_refused(int8_file: Path) -> None:
    device = FakeDevice()
    device.open(int8_file, ())
    device.wrong = 60.0
    with pytest.raises(DeviceError, match=r"fake computes something else than litert .* its times would mean nothing"):
        check_outputs(device, 0, expect(int8_file))


def test_other_shapes_and_nan_are_refused(int8_file: Path, tmp_path: Path) -> None:
    expected = expect(int8_file)
    with pytest.raises(DeviceError, match=r"outputs are \[\(\[1, 2\], 'int8'\)\], here they are .* same file"):
        compare_outputs(expected, [[np.zeros((1, 2), np.int8)]] * INPUTS)
    path = tmp_path / "float.onnx"
    path.write_bytes(onnx_classifier())
    expected = expect(path)
    with pytest.raises(DeviceError, match="holds NaN or infinity"):
        compare_outputs(expected, [[np.full_like(own[0], np.nan)] for own in expected.outputs])

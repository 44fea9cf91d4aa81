"""From files to a report: on a device of our own, and on this machine. What is reported, never how fast it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from fake_device import FakeDevice, steady
from small_models import onnx_classifier, tflite_models

from edgekit.bench import bench_files, bench_on
from edgekit.bench.block import Block
from edgekit.bench.device import DeviceState
from edgekit.bench.protocol import is_complete, make_plan
from edgekit.bench.run import BrokenOffError
from edgekit.bench.stats import ratio_to_reference
from edgekit.errors import DataError, DeviceError

PLAN = make_plan(quick=True, seconds=1.0, min_runs=64)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.tflite", tmp_path / "b.onnx"]
    paths[0].write_bytes(tflite_models()["int8"])
    paths[1].write_bytes(onnx_classifier())
    return paths


def test_files_of_both_formats_side_by_side(files: list[Path]) -> None:
    report = bench_files(files, seconds=0.05, min_runs=32)
    first, second = report.files
    assert [first.path, second.path] == [str(p) for p in files]
    assert first.opened.runtime.startswith("litert")
    assert second.opened.runtime.startswith("onnxruntime")
    assert first.ratio is None
    assert second.ratio == ratio_to_reference(second.blocks, first.blocks)
    for own in report.files:
        assert own.complete == is_complete(own.blocks, make_plan(quick=True, seconds=0.05, min_runs=32))
        assert own.summary.runs == sum(block.runs for block in own.blocks) >= 2
        assert min(min(block.samples_ns) for block in own.blocks) / 1e6 == own.summary.min_ms > 0
        assert own.opened.load_ms > 0
        assert own.opened.first_ms > 0
        assert own.check is None


def test_the_document_repeats_the_measurement(files: list[Path]) -> None:
    device = FakeDevice(steady(2), steady(3))
    report = bench_on(device, files, PLAN, clock=device.clock)
    told = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert (told["format"], told["valid"], told["failure"]) == ("edgekit-bench-1", True, None)
    assert told["device"]["name"] == "fake"
    assert told["device"]["cpus"] == [7]
    assert told["plan"] == {"seconds": 1.0, "min_runs": 64, "max_seconds": 3.0, "warmup_seconds": 1.0}
    assert told["versions"].keys() == {"edgekit", "python", "numpy"}
    for path, own in zip(files, told["files"], strict=True):
        assert own["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert own["check"]["inputs"] == 4
    assert [own["verdict"] for own in told["files"]] == ["-", "slower"]
    assert {tuple(block["samples_ns"]) for block in told["files"][1]["blocks"]} == {(3_000_000,) * 17}
    assert device.closed == 1


@pytest.mark.parametrize("spoil", ["hot", "emulated", "drifting"])
def test_what_cannot_be_trusted_is_not_ranked(files: list[Path], spoil: str) -> None:
    device = FakeDevice(steady(2), steady(3))
    device.emulated = spoil == "emulated"
    if spoil == "hot":
        device.states = iter([DeviceState(thermal_status=0), DeviceState(thermal_status=1)])
    if spoil == "drifting":
        device.models = (steady(2), lambda: 3 * (1 + device.now / 5e9))
    report = bench_on(device, files, PLAN, clock=device.clock)
    assert not report.valid
    assert report.verdict(report.files[1]) == "not ranked"
    assert report.files[1].ratio.verdict == "slower"


def test_no_time_is_taken_of_a_device_that_computes_something_else(files: list[Path]) -> None:
    device = FakeDevice(steady(2))
    device.wrong = 50.0
    with pytest.raises(DeviceError, match="computes something else"):
        bench_on(device, files[:1], PLAN, clock=device.clock)
    assert (device.log, device.closed) == ([], 1)
    assert bench_on(device, files[:1], PLAN, check=False, clock=device.clock).files[0].check is None


class Leaving(FakeDevice):
    """Goes away after so many blocks."""

    left = 0

    def block(self, index: int, *, runs: int, seconds: float = 0.0, lead: int = 0) -> Block:
        self.left -= 1
        if self.left < 0:
            raise DeviceError("fake: the cable was pulled")
        return super().block(index, runs=runs, seconds=seconds, lead=lead)


def test_finished_blocks_outlive_the_device(files: list[Path]) -> None:
    device = Leaving(steady(90), steady(90))
    device.left = 2 * 2 + 7  # windows of the warm-up, then one round and three blocks
    with pytest.raises(BrokenOffError, match=r"the cable was pulled; 3 finished blocks a file are kept") as caught:
        bench_on(device, files, PLAN, clock=device.clock)
    report = caught.value.report
    assert [len(own.blocks) for own in report.files] == [3, 3]
    assert (report.failure, report.valid, device.closed) == ("fake: the cable was pulled", False, 1)
    assert not any(own.complete for own in report.files)


def test_a_device_that_leaves_before_the_first_block(files: list[Path]) -> None:
    device = Leaving(steady(90), steady(90))
    with pytest.raises(DeviceError, match=r"cable was pulled$") as caught:
        bench_on(device, files, PLAN, clock=device.clock)
    assert not isinstance(caught.value, BrokenOffError)


def test_nothing_to_measure() -> None:
    with pytest.raises(DataError, match="no model files were given"):
        bench_files([])
    with pytest.raises(DataError, match="measure nothing"):
        bench_files(["a.onnx"], seconds=0)

"""Fusion by a device's prices, and by measurement: the fastest is taken, whatever was predicted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgekit.devices import find_profile
from edgekit.errors import ModelError
from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.passes import apply_passes
from edgekit.passes.target import DEFAULT_TARGETS
from edgekit.pipeline import export_model as export_module
from edgekit.pipeline.calibrate_device import Timed
from edgekit.pipeline.export_model import ExportRequest, export_model
from edgekit.pipeline.fuse_model import distinct_forms, fuse_model, tune_channels
from edgekit.pipeline.model import ModelRequest
from edgekit.pipeline.reporter import SilentReporter


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_DEVICES", str(tmp_path / "devices"))


class Script:
    """A timer that gives these nanoseconds, in the order of the files, and then the last one."""

    def __init__(self, *ns: float) -> None:
        self.ns = ns
        self.calls = 0

    def __call__(self, paths: Sequence[Path], seconds: float = 0.0, min_runs: int = 0) -> Timed:
        self.calls += 1
        assert all(path.stat().st_size for path in paths)
        return Timed(tuple(self.ns[min(i, len(self.ns) - 1)] for i in range(len(paths))), "script")


def shuffled() -> Graph:
    b = GraphBuilder("net", (1, 8, 8, 12))
    x = b.conv2d("input", 48, 1, groups=3, name="a")
    x = b.conv2d(b.channel_shuffle(x, 3, name="s"), 24, 1, groups=3, name="c")
    graph, _ = apply_passes(b.finish(x))
    return graph


def test_forms_differ_and_the_source_is_among_them():
    forms = distinct_forms(shuffled(), DEFAULT_TARGETS["tflite"], "tflite")
    assert len(forms) >= 2
    assert sum(form.written is None for form in forms) == 1
    assert [f.price_ns for f in forms] == sorted(f.price_ns for f in forms)


@pytest.mark.parametrize("fastest", [0, 1])
def test_the_faster_of_two_is_taken(fastest):
    graph, target = shuffled(), DEFAULT_TARGETS["tflite"]
    forms = distinct_forms(graph, target, "tflite")
    times = [2000.0, 2000.0, *[3000.0] * len(forms)]
    times[fastest] = 1000.0
    timer = Script(*times)
    fused, report, trials = tune_channels(graph, target, "tflite", timer)
    assert timer.calls == 1
    assert [t.chosen for t in trials] == [i == fastest for i in range(len(forms))]
    assert [n.op for n in fused.nodes] == [n.op for n in forms[fastest].graph.nodes]
    assert report.changed == (forms[fastest].written is not None)
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 12)).astype(np.float32)
    np.testing.assert_allclose(
        interpret(fused, {"input": x})["c"], interpret(graph, {"input": x})["c"], rtol=1e-5, atol=1e-5
    )


def test_of_equally_fast_ones_the_cheapest_is_taken():
    _, _, trials = tune_channels(shuffled(), DEFAULT_TARGETS["onnx"], "onnx", Script(1000.0, 990.0))
    assert trials[0].chosen


def test_nothing_is_measured_where_there_is_one_form():
    b = GraphBuilder("net", (1, 4, 4, 4))
    graph, _ = apply_passes(b.finish(b.conv2d("input", 8, 1, name="a")))
    timer = Script(1.0)
    fused, report, trials = tune_channels(graph, DEFAULT_TARGETS["tflite"], "tflite", timer)
    assert (timer.calls, trials, report.changed) == (0, (), False)
    assert [n.op for n in fused.nodes] == ["conv2d"]


def test_a_device_that_was_never_measured_is_told():
    reporter = SilentReporter()
    done = fuse_model(shuffled(), ["tflite"], reporter, profile=find_profile("pi5"))
    assert "`edgekit devices calibrate pi5` measures them" in reporter.warnings[0]
    assert done.reports["tflite"].target == "tflite, default coefficients"


def test_export_by_device_and_tuned(tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "measure_candidates", lambda profile: Script(2000.0, 1000.0, 3000.0))
    model = ModelRequest("shufflenet_v2", {"alpha": 0.5, "resolution": 32, "classes": 10}, "none")
    plain = export_model(ExportRequest(model, formats=("tflite",), out=tmp_path))
    assert "reproducible" not in json.loads(plain.manifest.read_text())
    result = export_model(ExportRequest(model, formats=("tflite",), device="host", tune=True, out=tmp_path))
    assert result.files["tflite"].name == "shufflenet_v2_0.5_32_10classes_fp32_host.tflite"
    told = json.loads(result.manifest.read_text())
    assert told["reproducible"] is False
    assert [t["chosen"] for t in told["tuned"]["tflite"]][:2] == [False, True]
    assert told["tuned"]["tflite"][1]["measured_ms"] == 0.001


def test_tune_without_fusion_is_refused(tmp_path):
    with pytest.raises(ModelError, match="--tune measures forms of fusion, and --no-fuse leaves fusion out"):
        export_model(ExportRequest(ModelRequest("lenet5", {}), fuse=False, tune=True, out=tmp_path))


def test_explain_tells_prices_and_alternatives():
    done = fuse_model(shuffled(), ["tflite", "onnx"], SilentReporter())
    for report in done.reports.values():
        assert report.price_us[1] <= report.price_us[0]
        assert len(report.left) == sum(report.after.values())
        assert all(" us: " in line and " us more" in line for line in report.left)

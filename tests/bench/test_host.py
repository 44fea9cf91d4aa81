"""Measuring real files for a moment: what is reported, never how fast it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_models import onnx_classifier, onnx_quantized, onnx_single_op, tflite_models

from edgekit.bench import bench_files
from edgekit.bench.host import make_feeds, make_plan, run_plan
from edgekit.bench.protocol import is_complete
from edgekit.bench.stats import ratio_to_reference
from edgekit.errors import DataError
from edgekit.runtime import Session

MS = 1_000_000


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_files_of_both_formats_side_by_side(tmp_path: Path) -> None:
    paths = [write(tmp_path, "a.tflite", tflite_models()["int8"]), write(tmp_path, "b.onnx", onnx_classifier())]
    first, second = bench_files(paths, seconds=0.05, min_runs=32)
    assert [first.path, second.path] == [str(p) for p in paths]
    assert first.runtime.startswith("litert")
    assert second.runtime.startswith("onnxruntime")
    assert first.ratio is None
    assert second.ratio is not None
    assert second.ratio == ratio_to_reference(second.blocks_ns, first.blocks_ns)
    for result in (first, second):
        assert result.complete == is_complete(result.blocks_ns, make_plan(quick=True, seconds=0.05, min_runs=32))
        assert result.summary.runs == sum(len(block) for block in result.blocks_ns) >= 2
        assert min(map(min, result.blocks_ns)) / 1e6 == result.summary.min_ms > 0
        assert result.load_ms > 0
        assert result.first_ms > 0
    told = json.loads(json.dumps(second.to_json(), allow_nan=False))
    assert told["summary"]["runs"] == second.summary.runs
    assert told["ratio"]["verdict"] == second.ratio.verdict


def test_a_slower_model_is_called_slower() -> None:
    """On a clock of our own: 2 ms against 3 ms, on a machine that slows down by a half meanwhile."""
    now = [0]

    def model(ms: float):
        def run() -> None:
            now[0] += int(ms * MS * (1 + now[0] / (40_000 * MS)))

        return run

    plan = make_plan(quick=True, seconds=5.0, min_runs=128)
    blocks = run_plan([model(2), model(3)], plan, lambda: now[0])
    ratio = ratio_to_reference(blocks[1], blocks[0])
    assert ratio.verdict == "slower"
    assert ratio.value == pytest.approx(1.5, rel=0.01)


def test_feeds_fit_any_input() -> None:
    for model in (tflite_models()["two_inputs"], tflite_models()["uint8"], onnx_quantized(), onnx_classifier()):
        with Session.open(model) as session:
            feeds = make_feeds(session)
            session.run(feeds)
            assert all(np.unique(value).size > 10 for value in feeds.values())
    with Session.open(onnx_single_op("Identity", [5], dtype="INT64")) as session:
        assert make_feeds(session)["x"].tolist() == [0] * 5


def test_plans_and_their_overrides() -> None:
    assert make_plan(quick=False, seconds=None, min_runs=None).min_runs == 1024
    plan = make_plan(quick=True, seconds=2.0, min_runs=None)
    assert (plan.seconds, plan.max_seconds, plan.min_runs) == (2.0, 6.0, 128)


def test_nothing_to_measure() -> None:
    with pytest.raises(DataError, match="no model files were given"):
        bench_files([])
    with pytest.raises(DataError, match="0 s and 128 runs measure nothing"):
        bench_files(["a.onnx"], seconds=0)
    with pytest.raises(DataError, match=r"nan s and 128 runs"):
        bench_files(["a.onnx"], seconds=float("nan"))
    with pytest.raises(DataError, match="and 0 runs measure nothing"):
        bench_files(["a.onnx"], min_runs=0)

"""A model that exists only as `.tflite`: loaded, quantized, and sent to ONNX."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import refused, run
from small_models import CLASSES, SIZE, tflite_models

from edgekit.data.preprocess import TORCH
from edgekit.errors import ModelError
from edgekit.export.tflite import tflite_bytes
from edgekit.graph.builder import GraphBuilder
from edgekit.pipeline.model import ModelRequest, load_model, preprocessing_of, preset
from edgekit.pipeline.reporter import SilentReporter
from edgekit.runtime.session import Session


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """What TensorFlow's converter writes of a small classifier, without metadata."""
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite_models()["float"])
    return path


def own(path: Path, labels: list[str]) -> Path:
    b = GraphBuilder("own", (1, 16, 16, 3))
    x = b.global_avg_pool(b.activation(b.conv2d("input", 8, 3, name="conv"), "relu", name="relu"), name="pool")
    graph = b.finish(b.dense(x, 2, name="dense"))
    graph.metadata = {"preprocessing": TORCH.with_size(16, 16).to_metadata(), "labels": labels}
    path.write_bytes(tflite_bytes(graph))
    return path


def test_a_file_that_does_not_say_is_taken_as_torch_with_a_warning(net: Path) -> None:
    reporter = SilentReporter()
    graph = load_model(ModelRequest(str(net), {}), reporter)
    assert preprocessing_of(graph) == preset("torch", SIZE, SIZE, 3)
    assert ["net.tflite does not say how its images are normalized" in w for w in reporter.warnings] == [True]


def test_a_file_that_says_is_believed_unless_told_otherwise(tmp_path: Path) -> None:
    path, reporter = own(tmp_path / "own.tflite", ["cat", "dog"]), SilentReporter()
    graph = load_model(ModelRequest(str(path), {}), reporter)
    assert (preprocessing_of(graph), graph.metadata["labels"]) == (TORCH.with_size(16, 16), ["cat", "dog"])
    assert reporter.warnings == []
    assert preprocessing_of(load_model(ModelRequest(str(path), {}, preprocessing="unit"), reporter)).std == (255.0,) * 3


def test_options_of_zoo_models_are_refused(net: Path) -> None:
    with pytest.raises(ModelError, match="--alpha shapes zoo models"):
        load_model(ModelRequest(str(net), {"alpha": 0.5}), SilentReporter())


@pytest.mark.parametrize("precision", ["--int8", "--fp16", None])
def test_export_writes_both_files(net: Path, tmp_path: Path, precision: str | None) -> None:
    out = tmp_path / "out"
    done = json.loads(run("export", net, *([precision] if precision else []), "--out", out, "--json").out)
    suffix = {"--int8": "int8", "--fp16": "fp16", None: "fp32"}[precision]
    assert sorted(p.name for p in out.iterdir()) == [f"net_{suffix}.{kind}" for kind in ("json", "onnx", "tflite")]
    assert done["agreement"]["with_float"]["onnx"]["mean_cosine"] > (0.99 if suffix == "int8" else 0.99999)
    if suffix == "fp32":
        x = np.random.default_rng(0).standard_normal((1, SIZE, SIZE, 3)).astype(np.float32)
        want = Session.open(net).run_float(x)
        for kind in ("onnx", "tflite"):
            np.testing.assert_allclose(Session.open(out / f"net_{suffix}.{kind}").run_float(x), want, atol=1e-6)


def test_info_counts_a_tflite_file(net: Path) -> None:
    counts = json.loads(run("info", net, "--json").out)
    assert (counts["name"], counts["input"]) == ("net", [1, SIZE, SIZE, 3])
    assert counts["parameters"] == 3 * 3 * 3 * 8 + 3 * 3 * 8 + 8 * CLASSES


def test_quantized_files_are_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "int8.tflite"
    path.write_bytes(tflite_models()["int8"])
    refused(run("export", path, "--int8", "--out", tmp_path), "is quantized", "edgekit quantizes it itself")

"""The published SqueezeNet on real photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from quantize_helpers import sqnr_db

from edgekit.data.preprocess import CAFFE
from edgekit.data.sources import open_source
from edgekit.export.onnx import onnx_bytes
from edgekit.export.tflite import tflite_bytes
from edgekit.graph import Graph
from edgekit.graph.ir import Array
from edgekit.importers.weights import load_weights
from edgekit.passes import apply_passes
from edgekit.pipeline.float_runner import float_runner
from edgekit.quantize.assign import QuantizeOptions, quantize_graph
from edgekit.quantize.calibrate import calibrate, observed_tensors
from edgekit.quantize.equalize import equalize_channels
from edgekit.runtime import Session
from edgekit.zoo.squeezenet import squeezenet as build_squeezenet

CALIBRATION, TEST = 30, 60


@pytest.fixture(scope="module")
def squeezenet(data_dir: Path) -> Graph:
    file = data_dir / "squeezenet_v1.0_imagenet.npz"
    if not file.exists():
        pytest.skip(f"real weights not found: {file.name} is not in the data folder")
    graph = load_weights(build_squeezenet(conv10_padding=1), file)
    (softmax,) = (node for node in graph.nodes if node.op == "softmax")
    graph.outputs = softmax.inputs
    return apply_passes(graph)[0]


@pytest.fixture(scope="module")
def photographs(data_dir: Path) -> list[Array]:
    folder = data_dir / "imagenet500"
    if not folder.is_dir():
        pytest.skip("real images not found: imagenet500/ is not in the data folder")
    return [sample.array for sample in open_source(folder).samples(CAFFE, CALIBRATION + TEST)]


def logits(data: bytes, samples: list[Array]) -> Array:
    with Session.open(data, threads=2) as session:
        return np.concatenate([session.run_float(image).reshape(1, -1) for image in samples])


@pytest.mark.slow
def test_squeezenet_keeps_its_predictions(squeezenet, photographs):
    # Sorted by class: every third image calibrates, the others test.
    calibration = photographs[::3][:CALIBRATION]
    tested = [image for i, image in enumerate(photographs) if i % 3][:TEST]
    seen = calibrate(squeezenet, float_runner(squeezenet, observed_tensors(squeezenet)), calibration)
    graph, seen, count = equalize_channels(squeezenet, seen)
    int8 = quantize_graph(graph, seen, QuantizeOptions(io="float32", input_range=CAFFE.value_range()))
    want = logits(onnx_bytes(squeezenet), tested)
    lite, onnx = logits(tflite_bytes(int8), tested), logits(onnx_bytes(int8), tested)
    for got in (lite, onnx):
        assert (got.argmax(1) == want.argmax(1)).mean() >= 0.85
        assert sqnr_db(want, got) > 20
    assert (lite.argmax(1) == onnx.argmax(1)).mean() >= 0.95
    assert count > 100

"""Prepares the files of the fusion benchmark: the usual way, edgekit without and with fusion, and the floor."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from fusion_floor import floor_graph, without_border_ops
from fusion_models import COLUMNS, Network

from edgekit.data.sources import open_source
from edgekit.export.onnx import onnx_bytes
from edgekit.export.tflite import tflite_bytes
from edgekit.graph import Graph
from edgekit.passes.registry import apply_passes
from edgekit.pipeline.export_model import ExportRequest, export_model
from edgekit.pipeline.model import ModelRequest, load_model, preprocessing_of
from edgekit.pipeline.quantize_model import Int8Settings, quantize_model
from edgekit.pipeline.reporter import SilentReporter

WAYS = ("usual", "unfused", "fused", "floor")
"""(a) to (d)."""
IMAGES = 16
"""For calibration: ranges hardly matter to time."""


def file_of(work: Path, network: Network, column: str, way: str) -> Path:
    """Where a file lies."""
    precision, suffix = column.split()
    return work / network.name / f"{way}_{precision}.{suffix}"


def prepare(network: Network, work: Path, *, again: bool) -> None:
    """Write what is missing; edgekit's own files are always made anew. again: the peers' too."""
    (work / network.name).mkdir(parents=True, exist_ok=True)
    request = ModelRequest(network.zoo, network.options, weights="none")
    graph = load_model(request, SilentReporter())
    _prepare_edgekit(network, request, work)
    _prepare_floor(network, graph, work)
    usual = [file_of(work, network, column, "usual") for column in network.columns]
    if again or not all(path.exists() for path in usual):
        _prepare_usual(network, graph, work)


def _prepare_edgekit(network: Network, request: ModelRequest, work: Path) -> None:
    settings = Int8Settings(calibration_images=IMAGES)
    for fuse, precision in itertools.product((True, False), ("int8", "float32")):
        way, short = "fused" if fuse else "unfused", "int8" if precision == "int8" else "fp32"
        result = export_model(ExportRequest(request, precision, int8=settings, fuse=fuse, out=work / network.name))
        for suffix, path in result.files.items():
            path.replace(file_of(work, network, f"{short} {suffix}", way))
        result.manifest.replace(work / network.name / f"{way}_{short}.json")


def _prepare_floor(network: Network, model: Graph, work: Path) -> None:
    graph, _ = apply_passes(model)
    settings = Int8Settings(calibration_images=IMAGES)
    quantized = quantize_model(graph, open_source("synthetic"), settings, SilentReporter())
    for short, source in (("int8", quantized), ("fp32", graph)):
        floor = floor_graph(source)
        file_of(work, network, f"{short} tflite", "floor").write_bytes(tflite_bytes(floor))
        content = without_border_ops(onnx_bytes(floor), len(graph.inputs), len(graph.outputs))
        file_of(work, network, f"{short} onnx", "floor").write_bytes(content)


def _prepare_usual(network: Network, graph: Graph, work: Path) -> None:
    from peers import keras_tflite, usual_onnx

    from edgekit.train.keras_model import keras_model

    samples = open_source("synthetic").samples(preprocessing_of(graph), IMAGES)
    images = [sample.array for sample in samples]
    model = keras_model(graph, batch=1)
    paths = {column: file_of(work, network, column, "usual") for column in COLUMNS}
    keras_tflite.convert(model, images, paths["fp32 tflite"], paths["int8 tflite"])
    if network.torch is not None:
        usual_onnx.export_torch(*network.torch, graph.shape(graph.inputs[0]), paths["fp32 onnx"])
        images = [np.ascontiguousarray(image.transpose(0, 3, 1, 2)) for image in images]
        usual_onnx.quantize(paths["fp32 onnx"], paths["int8 onnx"], images)

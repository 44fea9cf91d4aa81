"""Top-1 and top-5 that int8 costs: edgekit beside onnxruntime's quantizer and TensorFlow's converter.

Real ImageNet SqueezeNet v1.0, 100 of the 500 images for calibration, the rest for the test; `--folds 5` calibrates on
each fifth in turn and adds up the five tests. One image of 400 is 0.25 points, so agreement with the float model and
the signal-to-noise ratio of the probabilities say more about small differences than accuracy does.
Run: python benchmarks/int8_accuracy.py [--folds 5]. Needs the [test] extra and the real data (EDGEKIT_DATA).
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine_line, versions_line
from squeezenet_caffe import data_dir, squeezenet_graph, squeezenet_keras

from edgekit.data.preprocess import CAFFE
from edgekit.data.sources import open_source
from edgekit.evaluate.accuracy import rank_of
from edgekit.export.onnx import onnx_bytes
from edgekit.export.tflite import tflite_bytes
from edgekit.graph import Graph
from edgekit.passes.registry import apply_passes
from edgekit.pipeline.float_runner import float_runner
from edgekit.pipeline.quantize_model import steps_range
from edgekit.quantize.assign import QuantizeOptions, quantize_graph
from edgekit.quantize.calibrate import calibrate, observed_tensors
from edgekit.quantize.equalize import equalize_channels
from edgekit.runtime.session import Session

Images = np.ndarray
FOLDS = 5


def edgekit_int8(graph: Graph, images: Images, **changes: Any) -> Graph:
    """What `edgekit export --int8` does to a graph."""
    graph, _ = apply_passes(graph)
    strength = changes.pop("strength", 0.5)
    statistics = calibrate(graph, float_runner(graph, observed_tensors(graph)), one_by_one(images))
    graph, statistics, _ = equalize_channels(graph, statistics, strength)
    options = QuantizeOptions(input_range=steps_range(*CAFFE.value_range()), **changes)
    return quantize_graph(graph, statistics, options)


def onnxruntime_int8(graph: Graph, images: Images, method: str) -> bytes:
    """onnxruntime's quantize_static, per channel, QDQ, uint8 activations."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = ({"input": image.transpose(0, 3, 1, 2).copy()} for image in one_by_one(images))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "float.onnx").write_bytes(onnx_bytes(graph))
        quant_pre_process(folder / "float.onnx", folder / "prepared.onnx")
        quantize_static(
            folder / "prepared.onnx",
            folder / "int8.onnx",
            Reader(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, method),
        )
        return (folder / "int8.onnx").read_bytes()


def converter_int8(weights: Any, images: Images) -> bytes:
    """TensorFlow's converter, full int8."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(squeezenet_keras(weights))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in one_by_one(images))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def one_by_one(images: Images) -> Iterator[np.ndarray]:
    return (images[i : i + 1] for i in range(len(images)))


def outputs_of(model: bytes, images: Images) -> np.ndarray:
    with Session.open(model, threads=2) as session:
        return np.concatenate([session.run_float(image).reshape(1, -1) for image in one_by_one(images)])


def candidates(graph: Graph, weights: Any, calibration: Images) -> dict[str, Callable[[], bytes]]:
    """Name -> what makes the file, in the order of the table."""
    ours = edgekit_int8(graph, calibration)
    return {
        "float": lambda: onnx_bytes(graph),
        "edgekit int8 TFLite": lambda: tflite_bytes(ours),
        "edgekit int8 ONNX": lambda: onnx_bytes(ours),
        "edgekit, min-max, nothing else": lambda: tflite_bytes(
            edgekit_int8(graph, calibration, strength=0.0, range_method="min-max", bias_correction=False)
        ),
        "onnxruntime quantize_static, min-max": lambda: onnxruntime_int8(graph, calibration, "MinMax"),
        "onnxruntime quantize_static, percentile": lambda: onnxruntime_int8(graph, calibration, "Percentile"),
        "TFLiteConverter": lambda: converter_int8(weights, calibration),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, default=1, choices=range(1, FOLDS + 1))
    arguments = parser.parse_args()
    data = data_dir()
    weights_file = data / "squeezenet_v1.0_imagenet.npz"
    weights, graph = np.load(weights_file), squeezenet_graph(weights_file)
    samples = list(open_source(data / "imagenet500", classes=data / "imagenet_classes.txt").samples(CAFFE))
    images = np.concatenate([sample.array for sample in samples])
    labels = np.array([sample.label for sample in samples])
    outputs: dict[str, list[np.ndarray]] = {}
    tested: list[np.ndarray] = []
    for fold in range(arguments.folds):
        is_calibration = np.arange(len(images)) % FOLDS == fold
        tested.append(labels[~is_calibration])
        for name, make in candidates(graph, weights, images[is_calibration]).items():
            with contextlib.redirect_stdout(sys.stderr):  # the peers say a lot
                model = make()
            outputs.setdefault(name, []).append(outputs_of(model, images[~is_calibration]))
    report({name: np.concatenate(parts) for name, parts in outputs.items()}, np.concatenate(tested), arguments.folds)


def report(outputs: dict[str, np.ndarray], labels: np.ndarray, folds: int) -> None:
    print(f"{machine_line()}\n{versions_line()}")
    print(f"100 images for calibration, {len(labels) // folds} for the test, {folds} fold(s) added up\n")
    print("| | top-1 % | top-5 % | top-1 loss | top-5 loss | agrees with float % | signal/noise dB |")
    print("|---|---|---|---|---|---|---|")
    reference = outputs["float"]
    base = accuracy(reference, labels)
    for name, values in outputs.items():
        top1, top5 = accuracy(values, labels)
        row = f"| {name} | {top1:.2f} | {top5:.2f} |"
        if name == "float":
            print(f"{row} | | | |")
            continue
        agrees = 100 * np.mean(values.argmax(1) == reference.argmax(1))
        noise = 10 * np.log10(np.square(reference).sum() / np.square(values - reference).sum())
        print(f"{row} {base[0] - top1:+.2f} | {base[1] - top5:+.2f} | {agrees:.1f} | {noise:.1f} |")


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    ranks = np.array([rank_of(row, int(label)) for row, label in zip(outputs, labels, strict=True)])
    return 100 * float(np.mean(ranks == 0)), 100 * float(np.mean(ranks < 5))


if __name__ == "__main__":
    main()

"""The usual way to an int8 TFLite and an int8 ONNX file of MobileNet V2 0.75: the peer of `edgekit export`.

Keras model -> TFLiteConverter, full int8, 100 calibration images; Keras's own ONNX export -> onnxruntime's
quantize_static on the same images. Random weights and images: only time and memory are compared.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

IMAGES = 100


def images() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(IMAGES):
        yield rng.uniform(-1, 1, (1, 224, 224, 3)).astype(np.float32)


class Reader(CalibrationDataReader):
    def __init__(self, name: str) -> None:
        self.feeds = ({name: image} for image in images())

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


def main(folder: Path) -> None:
    model = keras.applications.MobileNetV2(alpha=0.75, weights=None)

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in images())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / "usual_int8.tflite").write_bytes(converter.convert())

    model.export(folder / "usual.onnx", format="onnx", verbose=False)
    import onnx

    name = onnx.load(folder / "usual.onnx").graph.input[0].name
    quantize_static(
        str(folder / "usual.onnx"),
        str(folder / "usual_int8.onnx"),
        Reader(name),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))

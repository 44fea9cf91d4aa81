"""The usual way to TFLite files: a Keras model through TensorFlow's converter, float and fully int8."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def convert(model: Any, images: Sequence[np.ndarray], fp32: Path, int8: Path) -> None:
    """Write both files. images: representative ones, (1, H, W, C), which int8 ranges are taken from."""
    import tensorflow as tf

    fp32.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    int8.write_bytes(converter.convert())

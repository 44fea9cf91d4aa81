"""The usual way to ONNX files: torch's exporter, then onnxruntime's quantize_static."""

from __future__ import annotations

import importlib
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def export_torch(module: str, function: str, shape: Sequence[int], path: Path) -> None:
    """pytorchcv's network, randomly initialised, through torch.onnx.export. shape: of the input, NHWC."""
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    net = getattr(importlib.import_module(f"pytorchcv.models.{module}"), function)()
    net.eval()
    batch, height, width, channels = shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            net, (torch.zeros(batch, channels, height, width),), str(path), verbose=False, external_data=False
        )


def quantize(fp32: Path, int8: Path, images: Sequence[np.ndarray]) -> None:
    """onnxruntime's pre-processing and static quantization: QDQ, scales per channel. images: in the file's layout."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self, name: str) -> None:
            self.feeds = ({name: image} for image in images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(fp32), str(prepared))
        quantize_static(
            str(prepared),
            str(int8),
            Reader(onnx.load(prepared).graph.input[0].name),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )

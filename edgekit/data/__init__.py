"""Images: how a network wants its pixels, and where calibration and evaluation images come from."""

from __future__ import annotations

from edgekit.data.preprocess import CAFFE, KERAS_TF, PRESETS, TORCH, Preprocessing
from edgekit.data.samples import Sample, Source
from edgekit.data.sources import open_source

__all__ = ["CAFFE", "KERAS_TF", "PRESETS", "TORCH", "Preprocessing", "Sample", "Source", "open_source"]

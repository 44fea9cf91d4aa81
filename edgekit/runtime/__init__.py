"""Run model files: one `Session` over onnxruntime, ai-edge-litert and tflite-runtime."""

from __future__ import annotations

from edgekit.runtime.coverage import Coverage, xnnpack_coverage
from edgekit.runtime.io_spec import IoSpec, TensorValue
from edgekit.runtime.session import Session

__all__ = ["Coverage", "IoSpec", "Session", "TensorValue", "xnnpack_coverage"]

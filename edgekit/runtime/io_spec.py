"""What a model file takes and gives, and the arithmetic between that and NHWC float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.graph.quant_params import RANGES, QuantParams

Array = NDArray[Any]
Layout = Literal["NHWC", "NCHW"]


@dataclass(frozen=True, slots=True)
class IoSpec:
    """One input or output of a model file.

    `shape` is the file's own, with a dynamic batch taken as 1; -1 stands for a size of an output that is known only
    after a run. `scale` and `zero_point` are None where the tensor is not quantized; `layout` is None unless it is 4-D.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float | None = None
    zero_point: int | None = None
    layout: Layout | None = None

    @property
    def nhwc_shape(self) -> tuple[int, ...]:
        """The shape as an NHWC caller sees it."""
        if self.layout != "NCHW":
            return self.shape
        n, c, h, w = self.shape
        return (n, h, w, c)


@dataclass(frozen=True, slots=True)
class TensorValue:
    """A tensor as a run left it: the raw array in the file's own layout, and how to read its numbers."""

    array: Array
    scale: float | None = None
    zero_point: int | None = None

    def to_float(self) -> NDArray[np.float32]:
        """The real values, in the file's own layout: (q - zero_point) * scale for a quantized tensor."""
        return dequantize(self.array, self.scale, self.zero_point)


def guess_layout(shape: tuple[int, ...], default: Layout) -> Layout | None:
    """Layout of a 4-D tensor of which a file says nothing; None for other ranks.

    It is the format's usual one, unless only the other one would give an image's 1 to 4 channels: converters also make
    ONNX files with NHWC inputs and TFLite files with NCHW ones.
    """
    if len(shape) != 4:
        return None
    other: Layout = "NCHW" if default == "NHWC" else "NHWC"
    axis = {"NHWC": 3, "NCHW": 1}
    if shape[axis[default]] > 4 and 1 <= shape[axis[other]] <= 4:
        return other
    return default


def dequantize(raw: Array, scale: float | None, zero_point: int | None) -> NDArray[np.float32]:
    """(raw - zero_point) * scale as float32; a tensor without a scale is only cast."""
    if scale is None:
        return np.asarray(raw, dtype=np.float32)
    return QuantParams.per_tensor(scale, zero_point or 0, str(raw.dtype)).dequantize(raw)


def encode_input(x: Array, spec: IoSpec) -> Array:
    """Turn one NHWC float sample into what the file takes: its layout, then its dtype and scale.

    Raises DataError for another shape, an input that is not floating point, NaN for a quantized input, or an integer
    input whose scale the file does not tell.
    """
    x = np.asarray(x)
    if x.dtype.kind != "f":
        raise DataError(f"input {spec.name!r} takes a float32 sample, got {x.dtype}: preprocess it first")
    if x.shape != spec.nhwc_shape:
        raise DataError(f"input {spec.name!r} takes shape {list(spec.nhwc_shape)}, got {list(x.shape)}")
    if spec.layout == "NCHW":
        x = x.transpose(0, 3, 1, 2)
    if spec.dtype.kind == "f":
        return np.ascontiguousarray(x, dtype=spec.dtype)
    if spec.scale is None or str(spec.dtype) not in RANGES:
        raise DataError(
            f"input {spec.name!r} is {spec.dtype} and the file tells no scale for it: feed it raw, with Session.run"
        )
    if np.isnan(x).any():
        raise DataError(f"the sample for input {spec.name!r} holds NaN, which no integer stands for")
    params = QuantParams.per_tensor(spec.scale, spec.zero_point or 0, str(spec.dtype))
    return np.ascontiguousarray(params.quantize(x))


def to_nhwc(x: Array, layout: Layout | None) -> Array:
    """A 4-D NCHW array as NHWC; anything else as it is."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if layout == "NCHW" and x.ndim == 4 else x

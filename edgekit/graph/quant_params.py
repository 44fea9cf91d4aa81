"""Scales and zero points: how integers stand for real numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.errors import GraphError

RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "int32": (-(2**31), 2**31 - 1)}

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class QuantParams:
    """real = scale * (integer - zero_point), per tensor (axis None) or per slice along `axis`.

    scale and zero_point are tuples of equal length: 1 per tensor, the axis's size per channel.
    Raises GraphError where a scale is not positive and finite, a zero point does not fit the dtype,
    or per-channel parameters have a zero point other than 0. Source: TFLite's 8-bit quantization specification.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    dtype: str = "int8"
    axis: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in RANGES:
            raise GraphError(f"quantized dtype {self.dtype!r} is none of {', '.join(RANGES)}")
        if not self.scale or len(self.scale) != len(self.zero_point):
            raise GraphError(f"{len(self.scale)} scales for {len(self.zero_point)} zero points")
        if self.axis is None and len(self.scale) != 1:
            raise GraphError(f"{len(self.scale)} scales without an axis")
        bad = next((s for s in self.scale if not (math.isfinite(s) and s > 0)), None)
        if bad is not None:
            raise GraphError(f"scale {bad} is not a positive number")
        low, high = RANGES[self.dtype]
        if any(not low <= z <= high for z in self.zero_point):
            raise GraphError(f"zero points {self.zero_point[:4]} do not fit {self.dtype}")
        if self.axis is not None and any(self.zero_point):
            raise GraphError("per-channel quantization must be symmetric (zero point 0)")

    @classmethod
    def per_tensor(cls, scale: float, zero_point: int, dtype: str = "int8") -> QuantParams:
        """One scale for the whole tensor; the scale is rounded to float32, as files store it."""
        return cls((float(np.float32(scale)),), (int(zero_point),), dtype)

    @classmethod
    def per_channel(cls, scales: npt.NDArray[np.floating], axis: int, dtype: str = "int8") -> QuantParams:
        """One symmetric scale per slice along `axis`; scales of shape (channels,), rounded to float32."""
        rounded = tuple(float(np.float32(s)) for s in scales)
        return cls(rounded, (0,) * len(rounded), dtype, axis)

    def broadcast_scale(self, rank: int) -> FloatArray:
        """The scales as a float32 array of `rank` dimensions that broadcasts against the tensor."""
        shape = [1] * rank
        if self.axis is not None:
            shape[self.axis] = len(self.scale)
        return np.asarray(self.scale, np.float32).reshape(shape)

    def quantize(self, real: npt.NDArray[np.floating]) -> IntArray:
        """Real values to integers of `dtype`: round half to even, saturate."""
        low, high = RANGES[self.dtype]
        steps = np.asarray(np.divide(real, self.broadcast_scale(real.ndim), dtype=np.float64))
        np.rint(steps, out=steps)
        steps += self.zero_point[0]
        integers: IntArray = np.clip(steps, low, high, out=steps).astype(self.dtype)
        return integers

    def dequantize(self, integers: IntArray) -> FloatArray:
        """Integers to real values (float32)."""
        centred = integers.astype(np.int64) - self.zero_point[0]
        real: FloatArray = centred.astype(np.float32) * self.broadcast_scale(integers.ndim)
        return real

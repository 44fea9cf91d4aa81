"""Keras layers for what Keras has no layer for. All of them save and load; shapes are NHWC, with an open batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from edgekit.graph.ir import Array
from edgekit.graph.kernels import pool_counts

_serializable = keras.saving.register_keras_serializable(package="edgekit")


class _Configured(keras.layers.Layer):  # type: ignore[misc]
    """A layer whose configuration is the keywords that it was made with."""

    def __init__(self, options: dict[str, Any], base: dict[str, Any]) -> None:
        super().__init__(**base)
        self._options = options

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        return {**super().get_config(), **self._options}


@_serializable
class Take(_Configured):
    """Picks slices of an axis (never the batch) by index: CondenseNet's index layer."""

    def __init__(self, indices: Sequence[int], axis: int = -1, **base: Any) -> None:
        super().__init__({"indices": [int(i) for i in indices], "axis": axis}, base)
        self.indices, self.axis = np.asarray(indices, np.int32), axis

    def call(self, x: Any) -> Any:
        """The picked slices, in the order of the indices."""
        return ops.take(x, self.indices, axis=self.axis)


@_serializable
class Split(_Configured):
    """Consecutive pieces of an axis, of the given sizes."""

    def __init__(self, sizes: Sequence[int], axis: int = -1, **base: Any) -> None:
        super().__init__({"sizes": list(sizes), "axis": axis}, base)
        self.sizes, self.axis = tuple(sizes), axis

    def call(self, x: Any) -> list[Any]:
        """One tensor a piece."""
        if len(self.sizes) == 1:
            return [x]
        equal = len(set(self.sizes)) == 1
        where = len(self.sizes) if equal else np.cumsum(self.sizes)[:-1].tolist()
        return list(ops.split(x, where, axis=self.axis))


@_serializable
class Slice(_Configured):
    """x[:, begin:end:stride, ...]; one entry for each axis behind the batch."""

    def __init__(self, begin: Sequence[int], end: Sequence[int], strides: Sequence[int], **base: Any) -> None:
        super().__init__({"begin": list(begin), "end": list(end), "strides": list(strides)}, base)
        self.key = (slice(None), *(slice(b, e, s) for b, e, s in zip(begin, end, strides, strict=True)))

    def call(self, x: Any) -> Any:
        """The part."""
        return x[self.key]


@_serializable
class Pad(_Configured):
    """A constant around the tensor; (before, after) for each axis behind the batch."""

    def __init__(self, widths: Sequence[Sequence[int]], value: float = 0.0, **base: Any) -> None:
        super().__init__({"widths": [list(w) for w in widths], "value": value}, base)
        self.widths, self.value = [(0, 0), *(tuple(w) for w in widths)], value

    def call(self, x: Any) -> Any:
        """The padded tensor."""
        return ops.pad(x, self.widths, constant_values=self.value)


@_serializable
class HardSigmoid(_Configured):
    """clip(slope * x + offset, 0, 1)."""

    def __init__(self, slope: float, offset: float, **base: Any) -> None:
        super().__init__({"slope": slope, "offset": offset}, base)
        self.slope, self.offset = slope, offset

    def call(self, x: Any) -> Any:
        """Element by element."""
        return ops.clip(x * self.slope + self.offset, 0.0, 1.0)


@_serializable
class PaddedAveragePool(_Configured):
    """Means over windows of (top, bottom, left, right)-padded images; padding is not counted."""

    def __init__(self, kernel: Sequence[int], strides: Sequence[int], padding: Sequence[int], **base: Any) -> None:
        super().__init__({"kernel": list(kernel), "strides": list(strides), "padding": list(padding)}, base)
        self.kernel, self.strides, self.padding = tuple(kernel), tuple(strides), tuple(padding)

    def build(self, shape: Sequence[int]) -> None:
        """How many real positions each window covers follows from the size of the images."""
        attrs = {"kernel": self.kernel, "strides": self.strides, "padding": self.padding}
        self.factors: Array = np.prod(self.kernel) / pool_counts(shape[1], shape[2], attrs)

    def call(self, x: Any) -> Any:
        """Means that count zeros, corrected."""
        top, bottom, left, right = self.padding
        padded = ops.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)])
        means = ops.average_pool(padded, self.kernel, self.strides, "valid", data_format="channels_last")
        return means * ops.cast(self.factors, x.dtype)


@_serializable
class Combine(_Configured):
    """x + c or x * c (`op`: add or multiply) with a constant that is kept as a weight and not trained."""

    def __init__(self, op: str, shape: Sequence[int], **base: Any) -> None:
        super().__init__({"op": op, "shape": list(shape)}, base)
        self.op = op
        self.constant = self.add_weight(shape=tuple(shape), initializer="zeros", trainable=False, name="constant")

    def call(self, x: Any) -> Any:
        """With numpy's broadcasting; the constant has no batch axis of more than 1."""
        constant = ops.cast(self.constant, x.dtype)
        return x + constant if self.op == "add" else x * constant

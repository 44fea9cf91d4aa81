"""An array that is computed when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt


class Deferred:
    """Shape and dtype of an array, and how to make it.

    A network of 140 million random weights is thus built, counted and given trained weights without their ever being
    drawn. `value` calls `make` once; copies of a tensor share what it gave. Raises ValueError where that has another
    shape or dtype.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, make: Callable[[], npt.NDArray[Any]]) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._make = make
        self._value: npt.NDArray[Any] | None = None

    def value(self) -> npt.NDArray[Any]:
        """The array, read-only."""
        if self._value is None:
            made = self._make()
            if made.shape != self.shape or made.dtype != self.dtype:
                raise ValueError(f"got {made.dtype}{made.shape}, promised {self.dtype}{self.shape}")
            made.flags.writeable = False
            self._value = made
        return self._value

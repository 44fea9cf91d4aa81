"""How closely two models' outputs agree, added up one sample at a time: memory does not grow with their number."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError

Array = NDArray[Any]
_UINT8_SHIFT = 128


@dataclass(frozen=True, slots=True)
class AgreementResult:
    """Agreement of a candidate's float outputs with a reference's.

    `top1_share` is over samples (see `share_a_maximum`), `mean_abs_difference` over all elements, and `sqnr_db` is
    10 log10(sum ref^2 / sum (ref - candidate)^2) over all elements of all samples: infinite where nothing differs.
    """

    samples: int
    mean_cosine: float
    min_cosine: float
    top1_share: float
    max_abs_difference: float
    mean_abs_difference: float
    sqnr_db: float

    def to_json(self) -> dict[str, Any]:
        """The fields; JSON has no infinity, so a `sqnr_db` without noise (or without signal) is None."""
        return {**asdict(self), "sqnr_db": self.sqnr_db if math.isfinite(self.sqnr_db) else None}


@dataclass(frozen=True, slots=True)
class QuantizedAgreementResult:
    """Agreement of two 8-bit outputs in steps: `equal_share` over all elements, `top1_share` over samples."""

    samples: int
    equal_share: float
    max_step_difference: int
    top1_share: float

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


class Agreement:
    """Adds up the agreement between float outputs of a reference and a candidate."""

    def __init__(self) -> None:
        self.samples = 0
        self._elements = 0
        self._top1 = 0
        self._cosine_sum, self._cosine_min = 0.0, 1.0
        self._abs_sum, self._abs_max = 0.0, 0.0
        self._signal, self._noise = 0.0, 0.0

    def add(self, reference: Array, candidate: Array) -> None:
        """Add one sample's outputs, of any shape. Raises DataError where their sizes differ or one is not finite."""
        ref, cand = _flat_pair(reference, candidate)
        for name, values in (("reference", ref), ("candidate", cand)):
            if not np.isfinite(values).all():
                raise DataError(
                    f"the {name}'s output for sample {self.samples} holds NaN or infinity: check its weights"
                )
        difference = np.abs(ref - cand)
        similarity = cosine(ref, cand)
        self.samples += 1
        self._elements += ref.size
        self._top1 += share_a_maximum(ref, cand)
        self._cosine_sum += similarity
        self._cosine_min = min(self._cosine_min, similarity)
        self._abs_sum += float(difference.sum())
        self._abs_max = max(self._abs_max, float(difference.max()))
        self._signal += float(ref @ ref)
        self._noise += float(difference @ difference)

    def result(self) -> AgreementResult:
        """The agreement so far. Raises DataError before the first sample."""
        _require_samples(self.samples)
        return AgreementResult(
            samples=self.samples,
            mean_cosine=self._cosine_sum / self.samples,
            min_cosine=self._cosine_min,
            top1_share=self._top1 / self.samples,
            max_abs_difference=self._abs_max,
            mean_abs_difference=self._abs_sum / self._elements,
            sqnr_db=sqnr_db(self._signal, self._noise),
        )


class QuantizedAgreement:
    """Adds up the agreement between raw 8-bit outputs of one scale; uint8 values are int8 ones shifted by 128."""

    def __init__(self) -> None:
        self.samples = 0
        self._elements = 0
        self._equal = 0
        self._top1 = 0
        self._largest = 0

    def add(self, first: Array, second: Array) -> None:
        """Add one sample's raw outputs. Raises DataError where they are not 8-bit or their sizes differ."""
        a, b = _flat_pair(as_signed_steps(first), as_signed_steps(second))
        difference = np.abs(a - b)
        self.samples += 1
        self._elements += a.size
        self._equal += int((difference == 0).sum())
        self._top1 += share_a_maximum(a, b)
        self._largest = max(self._largest, int(difference.max()))

    def result(self) -> QuantizedAgreementResult:
        """The agreement so far. Raises DataError before the first sample."""
        _require_samples(self.samples)
        return QuantizedAgreementResult(
            samples=self.samples,
            equal_share=self._equal / self._elements,
            max_step_difference=self._largest,
            top1_share=self._top1 / self.samples,
        )


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Cosine of the angle between two vectors; two zero vectors agree (1.0), a zero and another one do not (0.0)."""
    largest_a, largest_b = float(np.abs(a).max()), float(np.abs(b).max())
    if largest_a == 0.0 or largest_b == 0.0:
        return 1.0 if largest_a == largest_b else 0.0
    a, b = a / largest_a, b / largest_b  # so that squares neither overflow nor vanish
    return min(1.0, max(-1.0, float(a @ b / math.sqrt(float(a @ a) * float(b @ b)))))


def share_a_maximum(a: Array, b: Array) -> bool:
    """Whether some position is a maximum of both vectors: top-1 agreement where 8-bit outputs tie.

    An int8 softmax often gives two classes the same step, and which one an arg-max names is then an accident of order.
    """
    return bool(((a == a.max()) & (b == b.max())).any())


def sqnr_db(signal: float, noise: float) -> float:
    """Signal to noise in decibels from sums of squares; infinite without noise, else -infinite without signal."""
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def as_signed_steps(raw: Array) -> NDArray[np.int64]:
    """8-bit values as int8 numbers them. Raises DataError for another dtype."""
    if raw.dtype == np.uint8:
        return raw.astype(np.int64) - _UINT8_SHIFT
    if raw.dtype == np.int8:
        return raw.astype(np.int64)
    raise DataError(f"outputs are compared in steps only where both are int8 or uint8, not {raw.dtype}")


def _flat_pair(a: Array, b: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if a.size != b.size or a.size == 0:
        raise DataError(f"outputs of shapes {list(a.shape)} and {list(b.shape)} cannot be compared")
    return a.reshape(-1).astype(np.float64), b.reshape(-1).astype(np.float64)


def _require_samples(samples: int) -> None:
    if samples == 0:
        raise DataError("there was no sample to compare outputs on: give at least one image")

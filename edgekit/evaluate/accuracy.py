"""Top-1 and top-5 accuracy of model files, all files in one pass over the data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.evaluate.agreement import Agreement, AgreementResult
from edgekit.runtime.session import Runtime, Session

_Z95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


class LabelledSample(Protocol):
    """A preprocessed image and its class."""

    @property
    def array(self) -> NDArray[np.float32]:
        """float32 (1, height, width, channels)."""

    @property
    def label(self) -> int | None:
        """Index of the class, None where it is not known."""


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `total`, with the Wilson score interval at 95 %."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.count / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end. Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209."""
        n, p, z = self.total, self.value, _Z95
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))

    def to_json(self) -> dict[str, Any]:
        """Count, total, share and interval."""
        return {"count": self.count, "total": self.total, "share": self.value, "interval95": list(self.interval)}


@dataclass(frozen=True, slots=True)
class FileAccuracy:
    """Accuracy of one file. `agreement` is with the first file's outputs; None for the first file itself."""

    path: str
    runtime: str
    samples: int
    top1: Share
    top5: Share
    agreement: AgreementResult | None

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        agreement = self.agreement.to_json() if self.agreement else None
        shares = {"top1": self.top1.to_json(), "top5": self.top5.to_json()}
        return {"path": self.path, "runtime": self.runtime, "samples": self.samples, **shares, "agreement": agreement}


@dataclass(slots=True)
class _Tally:
    """Counts of one file while the data streams by."""

    session: Session
    agreement: Agreement
    top1: int = 0
    top5: int = 0


def evaluate_files(
    paths: Sequence[str | PathLike[str]],
    samples: Iterable[LabelledSample],
    *,
    runtime: Runtime = "auto",
    threads: int = 1,
) -> list[FileAccuracy]:
    """Run every sample through every file and count hits; the samples are read once, whatever the number of files.

    Raises DataError for no files, no samples, a sample without a label, a label that a file has no output for, or files
    whose numbers of classes differ.
    """
    if not paths:
        raise DataError("no model files were given: name at least one .tflite or .onnx file")
    count = 0
    with ExitStack() as stack:
        tallies = [
            _Tally(stack.enter_context(Session.open(path, runtime=runtime, threads=threads)), Agreement())
            for path in paths
        ]
        for sample in samples:
            _add_sample(tallies, sample, count)
            count += 1
        if count == 0:
            raise DataError("the data holds no sample to evaluate on: give a folder or file with at least one image")
        return [
            _finish(str(path), tally, count, is_first=i == 0)
            for i, (path, tally) in enumerate(zip(paths, tallies, strict=True))
        ]


def rank_of(outputs: NDArray[np.float32], label: int) -> int:
    """Position of `label` when classes are ordered by falling output, equal outputs by rising index; 0 is the top."""
    value = outputs[label]
    return int((outputs > value).sum() + (outputs[:label] == value).sum())


def _add_sample(tallies: list[_Tally], sample: LabelledSample, position: int) -> None:
    label = sample.label
    if label is None:
        raise DataError(
            f"sample {position} has no label, and accuracy needs one: use a folder per class or an .npz with labels; "
            " `edgekit compare` needs none"
        )
    first: NDArray[np.float32] | None = None
    for tally in tallies:
        outputs = tally.session.run_float(sample.array).reshape(-1)
        _require_class(tally.session.label, outputs, label, first)
        rank = rank_of(outputs, label)
        tally.top1 += rank < 1
        tally.top5 += rank < 5
        if first is None:
            first = outputs
        else:
            tally.agreement.add(first, outputs)


def _require_class(path: str, outputs: NDArray[np.float32], label: int, first: NDArray[np.float32] | None) -> None:
    if not np.isfinite(outputs).all():
        raise DataError(f"{path} gave NaN or infinity: check its weights and the sample's preprocessing")
    if first is not None and outputs.size != first.size:
        raise DataError(f"{path} gives {outputs.size} classes and the first file {first.size}: they cannot be compared")
    if not 0 <= label < outputs.size:
        raise DataError(
            f"{path} gives {outputs.size} classes, but a sample's label is {label}: check the data's classes"
        )


def _finish(path: str, tally: _Tally, count: int, *, is_first: bool) -> FileAccuracy:
    agreement = None if is_first else tally.agreement.result()
    runtime = tally.session.runtime
    return FileAccuracy(path, runtime, count, Share(tally.top1, count), Share(tally.top5, count), agreement)

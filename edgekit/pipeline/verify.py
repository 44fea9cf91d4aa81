"""Proof that exported files do what the float model does: run both on images and compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.errors import DataError, EdgekitError
from edgekit.evaluate.agreement import Agreement, AgreementResult, QuantizedAgreement, QuantizedAgreementResult
from edgekit.export.onnx import onnx_bytes
from edgekit.graph.ir import Array, Graph
from edgekit.runtime.session import Session

WORKERS = 2
FLOAT_SQNR_DB = 60.0
"""A float32 file with a noisier output than this is a failed export; rounding alone gives 100 or more."""


@dataclass(frozen=True, slots=True)
class Verification:
    """with_float: per file name, agreement with the float model. between: of the two int8 files, where both exist."""

    images: int
    with_float: Mapping[str, AgreementResult]
    between: QuantizedAgreementResult | None
    between_float: AgreementResult | None

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return {
            "images": self.images,
            "with_float": {name: result.to_json() for name, result in self.with_float.items()},
            "between": self.between.to_json() if self.between else None,
            "between_float": self.between_float.to_json() if self.between_float else None,
        }


def verify_files(reference: Graph, files: Mapping[str, bytes], images: Iterable[Array]) -> Verification:
    """Run every file (name -> bytes) and the untouched float graph on the same images, in the files' own runtimes."""
    # One thread each, side by side: quicker than one after another with two, and kind to a busy machine.
    reference_session = Session.open(onnx_bytes(reference))
    sessions = {name: Session.open(data) for name, data in files.items()}
    with_float = {name: Agreement() for name in sessions}
    between, between_float = QuantizedAgreement(), Agreement()
    count = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        for image in images:
            reference_run = pool.submit(reference_session.run_float, image)
            runs = {name: pool.submit(session.run_quantized, image) for name, session in sessions.items()}
            raw = {name: run.result() for name, run in runs.items()}
            real = {name: sessions[name].to_float(values) for name, values in raw.items()}
            expected = reference_run.result()
            _require_finite(expected, count)
            for name, values in real.items():
                with_float[name].add(expected, values)
            if len(raw) == 2:
                between_float.add(*real.values())
                if all(values.dtype.itemsize == 1 for values in raw.values()):
                    between.add(*raw.values())
            count += 1
    return Verification(
        images=count,
        with_float={name: agreement.result() for name, agreement in with_float.items()},
        between=between.result() if between.samples else None,
        between_float=between_float.result() if between_float.samples else None,
    )


def _require_finite(expected: Array, position: int) -> None:
    if not np.isfinite(expected).all():
        raise DataError(
            f"the model gives NaN or infinite values for image {position}; check its weights and --preprocessing"
        )


def require_float_agreement(verification: Verification) -> None:
    """Raise EdgekitError where a float file's signal-to-noise ratio against the model is below FLOAT_SQNR_DB."""
    for name, result in verification.with_float.items():
        if result.sqnr_db < FLOAT_SQNR_DB:
            raise EdgekitError(
                f"the {name} file differs from the model (signal to noise {result.sqnr_db:.1f} dB); nothing written. "
                "This is a defect of edgekit: please report it with the model"
            )

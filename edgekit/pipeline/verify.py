"""Proof that exported files do what the float model does: run both on images and compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit.errors import DataError, EdgekitError
from edgekit.evaluate.agreement import Agreement, AgreementResult, QuantizedAgreement, QuantizedAgreementResult
from edgekit.export.onnx import onnx_bytes
from edgekit.graph.ir import Array, Graph
from edgekit.runtime.session import Session

WORKERS = 2
REWRITING_IMAGES = 2
"""On how many images the rewritten float model is compared with the model itself."""
FLOAT_SQNR_DB = 60.0
"""A float32 file with a noisier output than this is a failed export; rounding alone gives 100 or more."""

HALF_SQNR_DB = 20.0
"""The same for a float16 file. Rounding the weights gave 54 dB in SqueezeNet with its trained ones. With random ones,
to which outputs are more sensitive, 22 networks of the zoo gave 45 to 165 dB, igcv3 alone 26 and 31. At 20 dB the noise
is a tenth of the signal; the outputs of other weights give less than 0."""


@dataclass(frozen=True, slots=True)
class Verification:
    """with_float: per file name, agreement with the float model. between: of the two int8 files, where both exist.

    These are about the first output. other_outputs: as with_float, per file name and the model's name of the output.
    """

    images: int
    with_float: Mapping[str, AgreementResult]
    between: QuantizedAgreementResult | None
    between_float: AgreementResult | None
    other_outputs: Mapping[str, Mapping[str, AgreementResult]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return {
            "images": self.images,
            "with_float": {name: result.to_json() for name, result in self.with_float.items()},
            "between": self.between.to_json() if self.between else None,
            "between_float": self.between_float.to_json() if self.between_float else None,
            "other_outputs": {
                name: {output: result.to_json() for output, result in results.items()}
                for name, results in self.other_outputs.items()
            },
        }


def verify_files(
    model: Graph,
    files: Mapping[str, bytes],
    images: Iterable[Array],
    known: Sequence[tuple[Array, ...]] | None = None,
) -> Verification:
    """Run every file (name -> bytes) and the float model on the same images, in the files' own runtimes.

    known: the outputs of the rewritten float model for these images, where they have been computed already. They stand
    in for the model's own once those of the first REWRITING_IMAGES have been found equal; raises EdgekitError if not.
    """
    # One thread each, side by side: quicker than one after another with two, and kind to a busy machine.
    reference = _Reference(model, known)
    sessions = {name: Session.open(data) for name, data in files.items()}
    agreements = {name: [Agreement() for _ in model.outputs] for name in sessions}
    between, between_float = QuantizedAgreement(), Agreement()
    count = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        for image in images:
            reference_run = pool.submit(reference.run, count, image)
            runs = {name: pool.submit(session.run_raw_outputs, image) for name, session in sessions.items()}
            raw = {name: run.result() for name, run in runs.items()}
            expected = reference_run.result()
            _require_finite(expected, count)
            real = [_add_outputs(agreements[name], expected, sessions[name], outputs) for name, outputs in raw.items()]
            if len(raw) == 2:
                between_float.add(*real)
                if all(outputs[0].dtype.itemsize == 1 for outputs in raw.values()):
                    between.add(*(outputs[0] for outputs in raw.values()))
            count += 1
    results = {name: [agreement.result() for agreement in found] for name, found in agreements.items()}
    return Verification(
        images=count,
        with_float={name: first for name, (first, *_) in results.items()},
        between=between.result() if between.samples else None,
        between_float=between_float.result() if between_float.samples else None,
        other_outputs={
            name: dict(zip(model.outputs[1:], others, strict=True)) for name, (_, *others) in results.items()
        },
    )


def _add_outputs(
    agreements: Sequence[Agreement], expected: Sequence[Array], session: Session, raw: Sequence[Array]
) -> Array:
    """Add one image's outputs to their agreements; return the real values of the first."""
    real = [session.to_float(values, position) for position, values in enumerate(raw)]
    for agreement, ours, theirs in zip(agreements, expected, real, strict=True):
        agreement.add(ours, theirs)
    return real[0]


class _Reference:
    """The float model's outputs: computed, or known from before and spot-checked."""

    def __init__(self, model: Graph, known: Sequence[tuple[Array, ...]] | None) -> None:
        self._session, self._known = Session.open(onnx_bytes(model)), known

    def run(self, position: int, image: Array) -> tuple[Array, ...]:
        if self._known is not None and position >= REWRITING_IMAGES:
            return self._known[position]
        outputs = self._session.run_outputs(image)
        if self._known is not None:
            for ours, rewritten in zip(outputs, self._known[position], strict=True):
                _require_same(ours, rewritten)
        return outputs


def _require_same(model_output: Array, rewritten_output: Array) -> None:
    agreement = Agreement()
    agreement.add(model_output, rewritten_output)
    if agreement.result().sqnr_db < FLOAT_SQNR_DB:
        raise EdgekitError(
            f"the passes changed the model (signal to noise {agreement.result().sqnr_db:.1f} dB); nothing written. "
            "This is a defect of edgekit: please report it with the model"
        )


def _require_finite(expected: Sequence[Array], position: int) -> None:
    if not all(np.isfinite(output).all() for output in expected):
        raise DataError(
            f"the model gives NaN or infinite values for image {position}; check its weights and --preprocessing"
        )


def require_float_agreement(verification: Verification, least_sqnr_db: float = FLOAT_SQNR_DB) -> None:
    """Raise EdgekitError where an output's signal-to-noise ratio against the model is below `least_sqnr_db`."""
    found = [(f"the {name} file", result) for name, result in verification.with_float.items()]
    for name, results in verification.other_outputs.items():
        found += [(f"output {output!r} of the {name} file", result) for output, result in results.items()]
    for what, result in found:
        if result.sqnr_db < least_sqnr_db:
            raise EdgekitError(
                f"{what} differs from the model (signal to noise {result.sqnr_db:.1f} dB); nothing written. "
                "This is a defect of edgekit: please report it with the model"
            )

"""The same inputs through two model files: how their outputs agree, and their layers where the names match."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.evaluate.agreement import Agreement, AgreementResult, QuantizedAgreement, QuantizedAgreementResult
from edgekit.runtime.io_spec import Layout, TensorValue, to_nhwc
from edgekit.runtime.session import Session

_SUFFIXES = ("_dequantized", "_quantized", "_dq", "_q")


class HasArray(Protocol):
    """A preprocessed image."""

    @property
    def array(self) -> NDArray[np.float32]:
        """float32 (1, height, width, channels)."""


@dataclass(frozen=True, slots=True)
class LayerAgreement:
    """Agreement of one tensor that both files have, under the name without quantization suffixes."""

    name: str
    mean_cosine: float
    min_cosine: float
    max_abs_difference: float
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two files on the same samples.

    `quantized` is there where both outputs are 8-bit with the same scale. `layers` follow the order of execution of the
    first file; `unmatched_a` and `unmatched_b` count tensors without a partner of the same name and shape.
    """

    a: str
    b: str
    output: AgreementResult
    quantized: QuantizedAgreementResult | None
    layers: tuple[LayerAgreement, ...]
    unmatched_a: int
    unmatched_b: int

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values; an infinite SQNR is None."""
        layers = [{**asdict(x), "sqnr_db": x.sqnr_db if np.isfinite(x.sqnr_db) else None} for x in self.layers]
        return {
            "a": self.a,
            "b": self.b,
            "output": self.output.to_json(),
            "quantized": self.quantized.to_json() if self.quantized else None,
            "layers": layers,
            "unmatched_a": self.unmatched_a,
            "unmatched_b": self.unmatched_b,
        }


def compare_files(
    a: str | PathLike[str],
    b: str | PathLike[str],
    samples: Iterable[HasArray],
    *,
    layers: bool = True,
    threads: int = 1,
) -> Comparison:
    """Run every sample through both files, the first being the reference.

    Outputs come from the files as they deploy. With `layers`, both are opened a second time with their activations
    kept, which means TFLite's own kernels instead of XNNPACK's.
    Raises DataError where there is no sample, or the two outputs differ in size.
    """
    output, layer_sums = Agreement(), _LayerSums()
    with ExitStack() as stack:
        first, second = (stack.enter_context(Session.open(path, threads=threads)) for path in (a, b))
        steps = QuantizedAgreement() if _same_steps(first, second) else None
        traced = [
            stack.enter_context(Session.open(path, threads=threads, preserve_all_tensors=True))
            for path in ((a, b) if layers else ())
        ]
        for sample in samples:
            _add_outputs(first, second, sample.array, output, steps)
            if traced:
                layer_sums.add(*(traced_tensors(session, sample.array) for session in traced))
    return Comparison(
        a=str(a),
        b=str(b),
        output=output.result(),
        quantized=steps.result() if steps else None,
        layers=layer_sums.results(),
        unmatched_a=layer_sums.unmatched_a,
        unmatched_b=layer_sums.unmatched_b,
    )


def traced_tensors(session: Session, x: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Real values of the activations that one NHWC float sample leaves, 4-D ones as NHWC, by name without suffixes.

    The session must keep its tensors. Of tensors whose names become equal, the first counts.
    """
    session.run_quantized(x)
    layout = next((spec.layout for spec in session.inputs if spec.layout), None)
    found: dict[str, NDArray[np.float32]] = {}
    for name, tensor in session.tensors().items():
        if tensor.array.dtype.kind == "f" or tensor.scale is not None:
            found.setdefault(strip_suffix(name), _as_nhwc(tensor, layout))
    return found


def strip_suffix(name: str) -> str:
    """A tensor's name without what quantized files append to it."""
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and name != suffix:
            return strip_suffix(name.removesuffix(suffix))
    return name


def _as_nhwc(tensor: TensorValue, layout: Layout | None) -> NDArray[np.float32]:
    return np.asarray(to_nhwc(tensor.to_float(), layout), dtype=np.float32)


def _same_steps(first: Session, second: Session) -> bool:
    a, b = first.outputs[0], second.outputs[0]
    eight_bit = all(spec.dtype in (np.dtype(np.int8), np.dtype(np.uint8)) for spec in (a, b))
    if not eight_bit or a.scale is None or a.scale != b.scale:
        return False
    zero_points = [(s.zero_point or 0) - (128 if s.dtype == np.uint8 else 0) for s in (a, b)]
    return zero_points[0] == zero_points[1]


def _add_outputs(
    first: Session, second: Session, x: NDArray[np.float32], output: Agreement, steps: QuantizedAgreement | None
) -> None:
    raw = [session.run_quantized(x) for session in (first, second)]
    real = [session.to_float(value) for session, value in zip((first, second), raw, strict=True)]
    if real[0].size != real[1].size:
        raise DataError(
            f"{first.label} gives an output of shape {list(real[0].shape)} and {second.label} one of "
            f"{list(real[1].shape)}: they cannot be compared"
        )
    output.add(real[0], real[1])
    if steps:
        steps.add(raw[0], raw[1])


class _LayerSums:
    """Agreement by tensor name; pairs are settled on the first sample."""

    def __init__(self) -> None:
        self._sums: dict[str, Agreement] = {}
        self.unmatched_a = 0
        self.unmatched_b = 0

    def add(self, a: dict[str, NDArray[np.float32]], b: dict[str, NDArray[np.float32]]) -> None:
        if not self._sums:
            self._sums = {name: Agreement() for name in a if name in b and _same_sizes(a[name], b[name])}
            self.unmatched_a, self.unmatched_b = len(a) - len(self._sums), len(b) - len(self._sums)
        for name, total in self._sums.items():
            _add_layer(name, total, a[name], b[name])

    def results(self) -> tuple[LayerAgreement, ...]:
        return tuple(_layer(name, total.result()) for name, total in self._sums.items())


def _add_layer(name: str, total: Agreement, a: NDArray[np.float32], b: NDArray[np.float32]) -> None:
    try:
        total.add(a, b)
    except DataError as error:
        raise DataError(f"layer {name!r}: {error}") from error


def _same_sizes(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    """Whether the shapes are equal but for dimensions of 1: (1, 1, 1, c) after pooling is (1, c) elsewhere."""
    return [s for s in a.shape if s != 1] == [s for s in b.shape if s != 1]


def _layer(name: str, result: AgreementResult) -> LayerAgreement:
    return LayerAgreement(name, result.mean_cosine, result.min_cosine, result.max_abs_difference, result.sqnr_db)

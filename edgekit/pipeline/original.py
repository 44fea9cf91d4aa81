"""Whether an imported graph does what the user's own file does, told by the file's own runtime."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError, ImportFileError, RuntimeUnavailableError
from edgekit.evaluate.agreement import Agreement, AgreementResult
from edgekit.export.onnx import onnx_bytes
from edgekit.graph.ir import Array, Graph
from edgekit.pipeline.reporter import Reporter
from edgekit.pipeline.verify import FLOAT_SQNR_DB, HALF_SQNR_DB
from edgekit.runtime.io_spec import IoSpec, dequantize, encode_input
from edgekit.runtime.session import Session

WITHOUT_RUNTIME = (".keras", ".h5", ".hdf5")
"""Files that only TensorFlow could run, which edgekit does without."""


@dataclass(frozen=True, slots=True)
class ImportAgreement:
    """Agreement of the imported graph with the file, for each of the graph's outputs. runtime: what ran the file."""

    runtime: str
    outputs: dict[str, AgreementResult]

    @property
    def sqnr_db(self) -> float:
        """Signal to noise of the output that agrees least."""
        return min(result.sqnr_db for result in self.outputs.values())

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        outputs = {name: result.to_json() for name, result in self.outputs.items()}
        return {"runtime": self.runtime, "outputs": outputs}


def check_import(
    path: Path, graph: Graph, images: Iterable[Array], reporter: Reporter, input_shape: tuple[int, ...] | None = None
) -> ImportAgreement | None:
    """Run the file at `path` and the graph imported from it on the same images, (1, H, W, C) float32; compare.

    input_shape: of the file's input, in its own layout, where the file leaves it open. None for Keras's files; with a
    warning, where the runtime refuses the file; and for outputs that are not finite: later steps tell the layer.
    Raises EdgekitError where the two differ by more than a thousandth of the outputs' norm (FLOAT_SQNR_DB), or
    HALF_SQNR_DB if all weights are float16 numbers: the runtime may then round activations, too.
    """
    suffix = path.suffix.lower()
    if suffix in WITHOUT_RUNTIME:
        return None
    try:
        # Files of other names have been read as ONNX; a session tells those by their content alone.
        source = path if suffix in (".onnx", ".tflite") else path.read_bytes()
        original = Session.open(source, input_shape=input_shape)
    except (ImportFileError, RuntimeUnavailableError) as problem:
        reporter.warn(f"{path.name} was imported, but not run itself to check that: {problem}")
        return None
    with original, Session.open(onnx_bytes(graph)) as imported:
        agreements = {name: Agreement() for name in graph.outputs}
        if len(original.inputs) != 1 or len(original.outputs) != len(agreements):
            raise _difference(path, f"{len(original.inputs)} inputs and {len(original.outputs)} outputs became others")
        for image in images:
            fed, image = _encode(image, original.inputs[0])
            found = imported.run_outputs(image)
            if not all(np.isfinite(output).all() for output in found):
                return None
            expected = original.run({original.inputs[0].name: fed})
            for agreement, spec, ours in zip(agreements.values(), original.outputs, found, strict=True):
                theirs = _in_layout_of(ours, dequantize(expected[spec.name], spec.scale, spec.zero_point))
                if theirs is None:
                    raise _difference(path, f"output {spec.name!r} has shape {ours.shape}")
                agreement.add(theirs, ours)
        result = ImportAgreement(original.runtime, {name: a.result() for name, a in agreements.items()})
    if result.sqnr_db < (HALF_SQNR_DB if _is_half(graph) else FLOAT_SQNR_DB):
        raise _difference(path, f"signal to noise {result.sqnr_db:.1f} dB")
    return result


def _difference(path: Path, what: str) -> EdgekitError:
    return EdgekitError(
        f"{path} as imported differs from what its own runtime makes of the file ({what}); nothing written. "
        "This is a defect of edgekit: please report it with the model"
    )


def _encode(image: Array, spec: IoSpec) -> tuple[Array, Array]:
    """What the file is fed, and the same as float32 for the graph."""
    # The importer has found out whether the file means NCHW or NHWC; the runtime's specification only guesses.
    layouts = [replace(spec, layout=layout) for layout in (spec.layout, "NCHW", "NHWC")]
    spec = next((candidate for candidate in layouts if candidate.nhwc_shape == image.shape), spec)
    if spec.dtype.kind in "ui" and spec.scale is None:  # pixels: such a graph normalizes them itself
        low, high = image.min(), image.max()
        pixels = np.rint((image - low) * (255 / max(high - low, 1e-9))).astype(np.float32)
        return encode_input(pixels, replace(spec, dtype=np.dtype(np.float32))).astype(spec.dtype), pixels
    fed = encode_input(image, spec)
    real = dequantize(fed, spec.scale, spec.zero_point)
    return fed, real.transpose(0, 2, 3, 1) if spec.layout == "NCHW" else real


def _in_layout_of(ours: Array, theirs: Array) -> Array | None:
    """The file's output in the graph's order of axes; None where no order has its shape."""
    orders = [theirs, theirs.transpose(0, 2, 3, 1)] if theirs.ndim == 4 else [theirs]
    fitting = [order for order in orders if order.shape == ours.shape]
    return min(fitting, key=lambda order: float(np.abs(order - ours).max()), default=None)


def _is_half(graph: Graph) -> bool:
    weights = [tensor.array for tensor in graph.constants() if tensor.dtype == "float32"]
    with np.errstate(over="ignore"):
        return all(np.array_equal(array, array.astype(np.float16)) for array in weights)

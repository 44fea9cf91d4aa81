"""The main job: a model in, files that run and a proof that they do out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit import __version__
from edgekit.data.kept import KeptSource
from edgekit.data.samples import Source
from edgekit.data.sources import open_source
from edgekit.devices import find_profile
from edgekit.errors import ModelError, OutputError
from edgekit.export.files import require_writable, write_all
from edgekit.graph.cost import GraphCost, graph_cost
from edgekit.graph.ir import Array, Graph
from edgekit.passes.fuse_channels import FusionReport
from edgekit.passes.registry import PassReport, apply_passes
from edgekit.pipeline.deflate import deflated_size
from edgekit.pipeline.file_names import Precision, export_stem
from edgekit.pipeline.fuse_model import Fused, Trial, fuse_model, measure_candidates
from edgekit.pipeline.model import ModelRequest, load_model, model_file, preprocessing_of
from edgekit.pipeline.original import ImportAgreement, check_import
from edgekit.pipeline.quantize_model import Int8Settings, quantize_model
from edgekit.pipeline.reading import reading, warn_of_skipped
from edgekit.pipeline.reporter import Reporter, SilentReporter
from edgekit.pipeline.verify import (
    FLOAT_SQNR_DB,
    HALF_SQNR_DB,
    REWRITING_IMAGES,
    Verification,
    require_float_agreement,
    verify_files,
)
from edgekit.pipeline.write_file import FORMATS, file_bytes

FUSING_PASSES = ("hoist_activations", "fuse_activations", "fold_padding")
"""What `fuse=False` leaves out; batch norms are folded all the same, int8 needs it."""
POOR_COSINE = 0.9
"""int8 files that agree less than this are written with a warning: trained networks reach 0.99, random ones 0.98."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export and how.

    calibration: an image folder, an .npz, or `synthetic` (also used for the comparison). device: a profile's name or
    file, whose prices fusion goes by. tune: measure the forms of fusion instead and take the fastest.
    """

    model: ModelRequest
    precision: Precision = "float32"
    formats: tuple[str, ...] = FORMATS
    calibration: str | None = None
    int8: Int8Settings = field(default_factory=Int8Settings)
    fuse: bool = True
    device: str | None = None
    tune: bool = False
    out: Path = Path()


@dataclass(frozen=True, slots=True)
class FileSizes:
    """One file's four sizes in bytes: on disk, deflated as in an APK, its weights in memory, its peak activations."""

    file_bytes: int
    zipped_bytes: int
    weight_bytes: int
    peak_activation_bytes: int


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written and what it is worth. imported: of the user's own file, where a runtime could run it."""

    name: str
    files: Mapping[str, Path]
    sizes: Mapping[str, FileSizes]
    sha256: Mapping[str, str]
    manifest: Path
    verification: Verification
    imported: ImportAgreement | None
    source_cost: GraphCost
    exported_cost: GraphCost
    passes: tuple[PassReport, ...]
    fusions: Mapping[str, FusionReport]
    trials: Mapping[str, tuple[Trial, ...]]
    metadata: Mapping[str, Any]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The manifest's content. It holds no path and, unless tuned, no time: the same export gives the same bytes."""
        tuned = {fmt: [trial.to_json() for trial in trials] for fmt, trials in self.trials.items()}
        return {
            "edgekit": __version__,
            "name": self.name,
            "parameters": self.source_cost.parameters,
            "macs": self.source_cost.macs,
            "files": {
                fmt: {
                    "name": path.name,
                    "sha256": self.sha256[fmt],
                    "bytes": self.sizes[fmt].file_bytes,
                    "zipped_bytes": self.sizes[fmt].zipped_bytes,
                    "weight_bytes": self.sizes[fmt].weight_bytes,
                    "peak_activation_bytes": self.sizes[fmt].peak_activation_bytes,
                }
                for fmt, path in self.files.items()
            },
            "import": self.imported.to_json() if self.imported else None,
            "agreement": self.verification.to_json(),
            "metadata": dict(self.metadata),
            "warnings": list(self.warnings),
            **({"tuned": tuned, "reproducible": False} if tuned else {}),
        }


class _Recorder:
    """Hands everything on to the caller's reporter and keeps the warnings for the manifest."""

    def __init__(self, inner: Reporter) -> None:
        self.inner, self.warnings = inner, list[str]()
        self.step, self.track = inner.step, inner.track

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        self.inner.warn(text)


def export_model(request: ExportRequest, reporter: Reporter | None = None) -> ExportResult:
    """Load, rewrite, quantize, write, run, compare; files appear only when everything has held.

    Raises EdgekitError with one clear line; nothing is left half-written.
    """
    recorder = _Recorder(reporter or SilentReporter())
    _check_formats(request.formats)
    _check_out(request.out)
    profile = find_profile(request.device) if request.device is not None else None
    if request.tune and not request.fuse:
        raise ModelError("--tune measures forms of fusion, and --no-fuse leaves fusion out: give one of them")
    timer = measure_candidates(profile) if request.tune else None
    source = KeptSource(open_source(request.calibration or "synthetic"))
    model = load_model(request.model, recorder)
    if request.calibration is None and request.precision == "int8":
        recorder.warn(
            "calibrated on synthetic images: ranges are only as good as they are. "
            "Give a hundred real ones with --calibration FOLDER"
        )
    source_cost = graph_cost(model)
    recorder.step("model", _model_line(model, source_cost))
    imported = _check_import(model, source, request, recorder)
    graph, reports = _rewrite(model, request, recorder)
    known: list[tuple[Array, ...]] | None = None
    if request.precision == "int8":
        known = []
        graph = quantize_model(graph, source, request.int8, recorder, known)
    fused = Fused(dict.fromkeys(request.formats, graph), {}, {})
    if request.fuse:
        fused = fuse_model(graph, request.formats, recorder, profile=profile, measure=timer)
    graphs = fused.graphs
    contents = {fmt: file_bytes(fmt, graphs[fmt]) for fmt in request.formats}
    with ThreadPoolExecutor(1) as pool:  # packs while the files run
        packing = pool.map(deflated_size, contents.values())
        verification = _verify(model, contents, source, request, recorder, known)
        warn_of_skipped(source, recorder)
        zipped_bytes = dict(zip(contents, packing, strict=True))
    return _finish(request, fused, contents, zipped_bytes, verification, imported, source_cost, reports, recorder)


def _check_formats(formats: tuple[str, ...]) -> None:
    unknown = [fmt for fmt in formats if fmt not in FORMATS]
    if unknown or not formats:
        raise ModelError(f"format {(unknown or ['(none)'])[0]!r} is none of {', '.join(FORMATS)}")


def _check_out(out: Path) -> None:
    """Refuse a folder that cannot be or be written to before the work; a full disk shows when the files are written."""
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise OutputError(f"cannot write to {out}: {nearest} is a file, not a folder; choose another --out")
    require_writable(nearest)


def _model_line(graph: Graph, cost: GraphCost) -> str:
    shape = "x".join(str(d) for d in graph.shape(graph.inputs[0])[1:])
    return f"{graph.name}: input {shape}, {cost.parameters:,} parameters, {cost.macs / 1e6:,.1f} M MACs"


def _check_import(model: Graph, source: Source, request: ExportRequest, reporter: Reporter) -> ImportAgreement | None:
    """How the imported graph agrees with the user's own file; None for a model of the zoo."""
    path = model_file(request.model)
    if path is None:
        return None
    with reading(source, preprocessing_of(model), REWRITING_IMAGES, "checking", reporter) as samples:
        images = (sample.array for sample in samples)
        found = check_import(path, model, images, reporter, request.model.input_shape)
    if found is not None:
        reporter.step("import", f"signal to noise {found.sqnr_db:.1f} dB against the file itself in {found.runtime}")
    return found


def _rewrite(model: Graph, request: ExportRequest, reporter: Reporter) -> tuple[Graph, tuple[PassReport, ...]]:
    skip = () if request.fuse else FUSING_PASSES
    graph, reports = apply_passes(model, skip=skip)
    if request.precision == "float16":
        graph, more = apply_passes(graph, ["store_half"])
        reports += more
    done = ", ".join(f"{r.name} {r.count}" for r in reports if r.count)
    reporter.step("passes", f"{done or 'nothing to do'}; {len(model.nodes)} -> {len(graph.nodes)} nodes")
    graph.metadata["edgekit"] = __version__
    return graph, tuple(reports)


def _verify(
    model: Graph,
    contents: Mapping[str, bytes],
    source: Source,
    request: ExportRequest,
    reporter: Reporter,
    known: list[tuple[Array, ...]] | None,
) -> Verification:
    limit = request.int8.calibration_images
    with reading(source, preprocessing_of(model), limit, "comparing", reporter) as samples:
        verification = verify_files(model, contents, (sample.array for sample in samples), known)
    if request.precision == "int8":
        _warn_of_poor_agreement(verification, reporter)
    else:
        require_float_agreement(verification, FLOAT_SQNR_DB if request.precision == "float32" else HALF_SQNR_DB)
    return verification


def _warn_of_poor_agreement(verification: Verification, reporter: Reporter) -> None:
    least = min(result.mean_cosine for result in verification.with_float.values())
    if least < POOR_COSINE:
        reporter.warn(
            f"int8 agrees poorly with the float model (cosine {least:.3f}): see that the calibration images are like "
            "those of the model's use and prepared in its way, or try another --ranges"
        )


def _finish(
    request: ExportRequest,
    fused: Fused,
    contents: Mapping[str, bytes],
    zipped_bytes: Mapping[str, int],
    verification: Verification,
    imported: ImportAgreement | None,
    source_cost: GraphCost,
    reports: tuple[PassReport, ...],
    recorder: _Recorder,
) -> ExportResult:
    graphs = fused.graphs
    graph = graphs[request.formats[0]]
    stem = export_stem(
        graph,
        request.precision,
        io=request.int8.options.io,
        fuse=request.fuse,
        sized=request.model.input_shape is not None,
        device=fused.device,
    )
    costs = {fmt: graph_cost(graphs[fmt]) for fmt in contents}
    result = ExportResult(
        name=stem,
        files={fmt: request.out / f"{stem}.{fmt}" for fmt in contents},
        sizes={
            fmt: FileSizes(len(data), zipped_bytes[fmt], costs[fmt].weight_bytes, costs[fmt].peak_activation_bytes)
            for fmt, data in contents.items()
        },
        sha256={fmt: hashlib.sha256(data).hexdigest() for fmt, data in contents.items()},
        manifest=request.out / f"{stem}.json",
        verification=verification,
        imported=imported,
        source_cost=source_cost,
        exported_cost=costs[request.formats[0]],
        passes=reports,
        fusions=fused.reports,
        trials=fused.trials,
        metadata=graph.metadata,
        warnings=tuple(recorder.warnings),
    )
    manifest = json.dumps(result.to_json(), indent=2, sort_keys=True).encode() + b"\n"
    write_all({**{result.files[fmt]: data for fmt, data in contents.items()}, result.manifest: manifest})
    return result

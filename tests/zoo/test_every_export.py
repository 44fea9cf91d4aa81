"""Every published variant of every model: exported in both precisions and both formats, run, and compared.

Resolution and classes shape no layer but the first and the last, so variants that differ in nothing else are one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.graph.interpret import interpret
from edgekit.pipeline.export_model import ExportRequest, ExportResult, export_model
from edgekit.pipeline.model import ModelRequest, preprocessing_of
from edgekit.pipeline.quantize_model import Int8Settings
from edgekit.runtime.session import Session
from edgekit.zoo import ModelRow, build_model, model_rows, model_spec

RESOLUTION = 64
"""At 32 the last maps are 1x1 and see little but padding: random features fade there and int8 has nothing to keep."""

RESOLUTIONS = {f"efficientnet_b{n}": 96 for n in range(8)}
"""Networks whose last maps, at 64 two pixels wide, are mostly padding to their 5x5 kernels."""

CLASSES = 10
IMAGES = 4

FLOAT_TOLERANCE = 1e-4
LEAST_COSINE = 0.99
"""Of int8 probabilities with float ones, averaged over images, and of the two runtimes' with each other."""

LEAST_SQNR_DB = 18.0
MOST_STEPS = 48
"""Difference of one int8 output between the runtimes, of 256. They round averages, products and hard swishes each in
their way, which deep random networks amplify; most variants differ by 0 or 1."""

LARGE_PARAMETERS = 2_500_000
LARGE_CIFAR_MACS = 90_000_000
NEVER_QUICK_PARAMETERS = 9_000_000


@dataclass(frozen=True)
class Variant:
    """One structure. options: all that its builder takes but the seed."""

    model: str
    options: dict[str, Any]
    row: ModelRow

    @property
    def label(self) -> str:
        named = {k: v for k, v in self.row.published.options.items() if k not in ("resolution", "classes")}
        return " ".join([self.model, *(f"{key}={value}" for key, value in named.items())])

    @property
    def large(self) -> bool:
        small_images = self.options["resolution"] < RESOLUTION
        too_long = small_images and self.row.macs > LARGE_CIFAR_MACS
        return too_long or self.row.parameters > LARGE_PARAMETERS


def variants() -> list[Variant]:
    """One for each structure, in the zoo's order."""
    found: dict[tuple[str, str], Variant] = {}
    for row in model_rows():
        options = {option.name: option for option in model_spec(row.model).options if option.name != "seed"}
        chosen = {name: row.published.options.get(name, option.default) for name, option in options.items()}
        size = options["resolution"]
        chosen["resolution"] = max(int(size.least), min(RESOLUTIONS.get(row.model, RESOLUTION), int(size.default)))
        chosen["classes"] = CLASSES
        found.setdefault((row.model, json.dumps(chosen)), Variant(row.model, chosen, row))
    return list(found.values())


def parameters() -> list[Any]:
    """Large variants are slow, but for the smallest of each model."""
    smallest = {v.model: v for v in sorted(variants(), key=lambda v: -v.row.parameters)}
    return [
        pytest.param(
            v,
            id=v.label,
            marks=pytest.mark.slow
            if v.large and (v is not smallest[v.model] or v.row.parameters > NEVER_QUICK_PARAMETERS)
            else (),
        )
        for v in variants()
    ]


def export(variant: Variant, precision: Any, out: Path) -> ExportResult:
    request = ModelRequest(variant.model, variant.options, weights="none")
    return export_model(ExportRequest(request, precision, int8=Int8Settings(calibration_images=IMAGES), out=out))


@pytest.mark.parametrize("variant", parameters())
def test_both_precisions_in_both_runtimes(variant: Variant, tmp_path: Path) -> None:
    """float32 files against the numpy interpreter of the graph as it was built; int8 files against float and each
    other, over the images that calibrated them.
    """
    graph = build_model(variant.model, **variant.options)
    _, height, width, channels = graph.shape("input")
    low, high = preprocessing_of(graph).value_range()
    patches = np.random.default_rng(0).uniform(low, high, (1, 5, 5, channels)).astype(np.float32)
    image = patches.repeat(-(-height // 5), 1).repeat(-(-width // 5), 2)[:, :height, :width]
    expected = interpret(graph, {"input": image})[graph.outputs[0]]
    assert np.ptp(expected) > 0.02  # or any network of flat outputs would pass

    exported = export(variant, "float32", tmp_path)
    assert set(exported.files) == {"tflite", "onnx"}
    for path in exported.files.values():
        with Session.open(path) as session:
            found = session.run_float(image)
        np.testing.assert_allclose(found, expected, rtol=FLOAT_TOLERANCE, atol=FLOAT_TOLERANCE * expected.max())

    agreement = export(variant, "int8", tmp_path).verification
    assert agreement.images == IMAGES
    assert agreement.with_float.keys() == {"tflite", "onnx"}
    for result in agreement.with_float.values():
        assert result.mean_cosine > LEAST_COSINE
        assert result.sqnr_db > LEAST_SQNR_DB
    assert agreement.between is not None
    assert agreement.between_float is not None
    assert agreement.between.max_step_difference <= MOST_STEPS
    assert agreement.between_float.mean_cosine > LEAST_COSINE


def test_every_model_and_every_published_structure_takes_part() -> None:
    """Deduplication leaves out no row: each has a variant of its structure."""
    shapes = {(v.model, tuple(sorted((k, v.options[k]) for k in v.options if k not in ("resolution", "classes"))))
              for v in variants()}  # fmt: skip
    for row in model_rows():
        options = {o.name: o.default for o in model_spec(row.model).options} | dict(row.published.options)
        kept = tuple(sorted((k, v) for k, v in options.items() if k not in ("resolution", "classes", "seed")))
        assert (row.model, kept) in shapes

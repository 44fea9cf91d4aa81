"""Calibration, equalization and quantization of a float graph, as one job."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edgekit.data.prefetch import Prefetch
from edgekit.data.samples import Source
from edgekit.graph.ir import Array, Graph
from edgekit.pipeline.float_runner import LIFETIME, float_runner
from edgekit.pipeline.model import preprocessing_of
from edgekit.pipeline.reading import reading
from edgekit.pipeline.reporter import Reporter
from edgekit.quantize.assign import QuantizeOptions, quantize_graph
from edgekit.quantize.calibrate import gather_statistics, observed_tensors
from edgekit.quantize.equalize import equalize_channels


@dataclass(frozen=True, slots=True)
class Int8Settings:
    """How to quantize. calibration_images: the most that are read from the source."""

    calibration_images: int = 100
    equalize: bool = True
    options: QuantizeOptions = field(default_factory=QuantizeOptions)


def quantize_model(
    graph: Graph,
    source: Source,
    settings: Int8Settings,
    reporter: Reporter,
    outputs: list[tuple[Array, ...]] | None = None,
) -> Graph:
    """The int8 form of a float graph on which the passes have run; its metadata records how it was made.

    outputs: where given, receives the float graph's outputs for each calibration image.
    """
    observed = observed_tensors(graph)
    preprocessing = preprocessing_of(graph)
    with reading(source, preprocessing, settings.calibration_images, "calibrating", reporter) as samples:
        run = float_runner(graph, observed, outputs)
        with Prefetch((run(sample.array) for sample in samples), ahead=LIFETIME - 2) as runs:
            statistics = gather_statistics(graph, runs)
    scaled = 0
    if settings.equalize:
        graph, statistics, scaled = equalize_channels(graph, statistics)
    options = replace(settings.options, input_range=steps_range(*preprocessing.value_range()))
    quantized = quantize_graph(graph, statistics, options)
    quantized.metadata["steps"] = [
        *quantized.metadata.get("steps", []),
        {
            "step": "quantize",
            "equalized_channels": scaled,
            "calibration": _provenance(source),
            **asdict(options),
        },
    ]
    return quantized


def steps_range(low: float, high: float) -> tuple[float, float]:
    """The least range of 256 steps that holds `low` to `high` and has 0 on a step.

    Merely rounding the zero point would put every pixel of images in [-1, 1] halfway between two steps, where runtimes
    round differently and a bit of the picture is lost.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale, below = min(
        (max(-low / below if below else 0.0, high / (255 - below) if below < 255 else 0.0), below)
        for below in range(256)
        if (below or not low) and (below < 255 or not high)
    )
    return -below * scale, (255 - below) * scale


def _provenance(source: Source) -> dict[str, Any]:
    """What the source tells of itself, but no path: files made in other places from the same images are the same."""
    told = source.describe()
    return {"name": source.name, **{key: value for key, value in told.items() if key != "path"}}

"""Calibration, equalization and quantization of a float graph, as one job."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from edgekit.data.prefetch import prefetch
from edgekit.data.samples import Source
from edgekit.graph.ir import Graph
from edgekit.pipeline.float_runner import float_runner
from edgekit.pipeline.model import preprocessing_of
from edgekit.pipeline.reporter import Reporter
from edgekit.quantize.assign import QuantizeOptions, quantize_graph
from edgekit.quantize.calibrate import calibrate, observed_tensors
from edgekit.quantize.equalize import equalize_channels


@dataclass(frozen=True, slots=True)
class Int8Settings:
    """How to quantize. calibration_images: the most that are read from the source."""

    calibration_images: int = 100
    equalize: bool = True
    options: QuantizeOptions = field(default_factory=QuantizeOptions)


def quantize_model(graph: Graph, source: Source, settings: Int8Settings, reporter: Reporter) -> Graph:
    """The int8 form of a float graph on which the passes have run; its metadata records how it was made."""
    observed = observed_tensors(graph)
    preprocessing = preprocessing_of(graph)
    samples = source.samples(preprocessing, settings.calibration_images)
    total = min(len(source), settings.calibration_images)
    images = (sample.array for sample in reporter.track(prefetch(samples), "calibrating", total))
    statistics = calibrate(graph, float_runner(graph, observed), images)
    scaled = 0
    if settings.equalize:
        graph, statistics, scaled = equalize_channels(graph, statistics)
    options = replace(settings.options, input_range=preprocessing.value_range())
    quantized = quantize_graph(graph, statistics, options)
    quantized.metadata["steps"] = [
        *quantized.metadata.get("steps", []),
        {
            "step": "quantize",
            "equalized_channels": scaled,
            "calibration": source.describe(),
            **asdict(options),
        },
    ]
    return quantized

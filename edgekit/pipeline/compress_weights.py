"""Compression of a network's weights as one job: images, passes, budget."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.compress.budget import Budget, compress_weights
from edgekit.compress.weights import CompressedWeights
from edgekit.data.samples import Source
from edgekit.graph.ir import Graph
from edgekit.pipeline.container_file import graph_bytes
from edgekit.pipeline.engine import onnx_engine
from edgekit.pipeline.float_runner import THREADS
from edgekit.pipeline.model import preprocessing_of
from edgekit.pipeline.reading import reading, warn_of_skipped
from edgekit.pipeline.reporter import Reporter


@dataclass(frozen=True, slots=True)
class WeightSettings:
    """How to compress. calibration_images: the most that are read from the source. mirror: use mirror images too."""

    budget: Budget
    calibration_images: int = 250
    mirror: bool = True


def compress_model_weights(
    graph: Graph, source: Source, settings: WeightSettings, reporter: Reporter
) -> CompressedWeights:
    """A graph on which the passes have run, its weights within the budget, calibrated on the source's images.

    A budget of bytes is that of the whole container. The graph's metadata record what was done.
    Raises as `compress_weights`, and DataError where the source has no usable image.
    """
    graph = graph.copy()
    with reading(source, preprocessing_of(graph), settings.calibration_images, "reading images", reporter) as samples:
        images = [sample.array for sample in samples]
    warn_of_skipped(source, reporter)
    graph.metadata["steps"] = [*graph.metadata.get("steps", []), _step(source, settings)]
    done = compress_weights(
        graph,
        images,
        settings.budget,
        engine=onnx_engine(THREADS),
        measure=lambda tensors: len(graph_bytes(graph, tensors)),
        mirror=settings.mirror,
    )
    reporter.step(
        "weights",
        f"{len(done.layers)} layers, drift {done.drift:.4f} nats on the calibration images, "
        f"expected loss of top-1 there {done.expected_drop:.2f} points",
    )
    return done


def _step(source: Source, settings: WeightSettings) -> dict[str, object]:
    """What the metadata tell, without any path."""
    told = {key: value for key, value in source.describe().items() if key != "path"}
    budget = settings.budget
    return {
        "step": "compress",
        "target_bytes": budget.target_bytes,
        "max_drop": budget.max_drop,
        "mirror": settings.mirror,
        "calibration": {"name": source.name, **told},
    }

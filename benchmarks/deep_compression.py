"""Size against accuracy of compressed ImageNet SqueezeNet v1.0, beside the authors' file, zip, zstd and plain k-means.

Of the 500 images one half calibrates and the other half is tested, and the other way round: all are tested on weights
that have not seen them. One image is 0.2 points, so agreement with the float network, the signal-to-noise ratio of the
logits and the drift of the probabilities (Kullback-Leibler, in nats) tell near candidates apart better.
Run: python benchmarks/deep_compression.py [--folds 1] [--keep FOLDER]. Needs the [test] extra and the real data
(EDGEKIT_DATA). --keep remembers the outputs of each candidate, so that a second run only makes what is new.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import zstandard
from int8_accuracy import accuracy, edgekit_int8
from machine import machine_line, versions_line
from squeezenet_caffe import data_dir, squeezenet_graph

from edgekit.compress.codebook import share_weights
from edgekit.compress.container import read_container
from edgekit.compress.drift import log_probabilities
from edgekit.compress.layer_rows import weight_layers
from edgekit.compress.walk import subgraph
from edgekit.compress.weights import CompressedWeights, WeightCompressor, mirrored
from edgekit.data.preprocess import CAFFE
from edgekit.data.sources import open_source
from edgekit.export.tflite import tflite_bytes
from edgekit.graph import Graph
from edgekit.passes.registry import apply_passes
from edgekit.pipeline.container_file import content_graph, graph_bytes, lossless_bytes
from edgekit.pipeline.engine import onnx_engine

FOLDS = 2
ALEXNET_BYTES = 240_000_000
LOGITS = "pool10"
PRICES = (2e-8, 4e-8, 8e-8, 1.5e-7, 2.6e-7, 4.5e-7)
"""Drift of the probabilities in nats that a bit is worth."""
KMEANS_BITS = (8, 6, 5)


@dataclass(frozen=True)
class Candidate:
    """nbytes: of the file, the largest of the folds. logits: (images, 1000), fold after fold. seconds: to make it."""

    name: str
    nbytes: int
    logits: np.ndarray
    seconds: float = 0.0


@dataclass(frozen=True)
class Data:
    """images (500, 227, 227, 3) and their classes; folds: for each, whether an image calibrates."""

    images: np.ndarray
    labels: np.ndarray
    calibrates: list[np.ndarray]


def read_data(folds: int) -> Data:
    data = data_dir()
    samples = list(open_source(data / "imagenet500", classes=data / "imagenet_classes.txt").samples(CAFFE))
    order = np.arange(len(samples))
    labels = np.array([sample.label for sample in samples])
    return Data(np.concatenate([s.array for s in samples]), labels, [order % FOLDS == fold for fold in range(folds)])


def logits_of(graph: Graph, images: np.ndarray) -> np.ndarray:
    """(images, 1000): what the softmax reads."""
    run = onnx_engine()(subgraph(graph, graph.inputs, [LOGITS]))
    nchw = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return np.concatenate([run({graph.inputs[0]: image[None]})[LOGITS] for image in nchw])


class Kept:
    """Candidates that were made before, in a folder; without one, nothing is remembered."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, make: Callable[[], tuple[int, np.ndarray, float]]) -> tuple[int, np.ndarray, float]:
        """bytes, logits, seconds."""
        path = self._folder / f"{name}.npz" if self._folder else None
        if path and path.exists():
            found = np.load(path)
            return int(found["nbytes"]), found["logits"], float(found["seconds"])
        nbytes, logits, seconds = make()
        if path:
            np.savez(path, nbytes=nbytes, logits=logits, seconds=seconds)
        print(f"{name}: {nbytes:,} bytes, {seconds:.0f} s", file=sys.stderr, flush=True)
        return nbytes, logits, seconds


def compressed(graph: Graph, data: Data, kept: Kept) -> list[Candidate]:
    """The curve: one candidate a price."""
    ways = {f"edgekit, {price:.3g} nats a bit": functools.partial(WeightCompressor.at, price=price) for price in PRICES}
    rows: dict[str, list[tuple[int, np.ndarray, float]]] = {}
    for fold, calibrates in enumerate(data.calibrates):
        compressor = functools.cache(functools.partial(compressor_of, graph, data, fold))
        for name, compress in ways.items():

            def make(
                compress: Callable[[WeightCompressor], CompressedWeights] = compress,
                compressor: Callable[[], WeightCompressor] = compressor,
                tested: np.ndarray = data.images[~calibrates],
            ) -> tuple[int, np.ndarray, float]:
                ready = compressor()
                start = time.perf_counter()
                done = compress(ready)
                seconds = time.perf_counter() - start
                packed = graph_bytes(done.graph, done.tensors)
                return len(packed), logits_of(content_graph(read_container(packed)), tested), seconds

            rows.setdefault(name, []).append(kept.get(f"{name.replace(' ', '_')}_fold{fold}", make))
    return [
        Candidate(name, max(r[0] for r in found), np.concatenate([r[1] for r in found]), max(r[2] for r in found))
        for name, found in rows.items()
    ]


def compressor_of(graph: Graph, data: Data, fold: int) -> WeightCompressor:
    """Float network and sensitivities on one half of the images and their mirror images."""
    start = time.perf_counter()
    chosen = mirrored([image[None] for image in data.images[data.calibrates[fold]]])
    made = WeightCompressor(graph, chosen, onnx_engine())
    print(f"reference of fold {fold}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return made


def plain_kmeans(graph: Graph, data: Data, kept: Kept) -> list[Candidate]:
    """Exact k-means of each layer's weights, zeros kept, Huffman codes: the paper's pipeline without fine-tuning."""

    def make(bits: int) -> tuple[int, np.ndarray, float]:
        start = time.perf_counter()
        kernels = [graph.tensor(node.inputs[1]) for node in weight_layers(graph)]
        shared = {tensor.name: share_weights(tensor.array, 1 << bits) for tensor in kernels}
        seconds = time.perf_counter() - start
        changed = graph.copy()
        for name, tensor in shared.items():
            changed.set_tensor(changed.tensor(name).with_data(tensor.values()))
        packed = graph_bytes(changed, shared, methods=("raw", "huffman"))
        return len(packed), logits_of(changed, data.images), seconds

    rows = []
    for bits in KMEANS_BITS:
        nbytes, logits, seconds = kept.get(f"kmeans{bits}", functools.partial(make, bits))
        in_order = np.concatenate([logits[~calibrates] for calibrates in data.calibrates])
        rows.append(Candidate(f"{bits}-bit k-means, Huffman", nbytes, in_order, seconds))
    return rows


def packed_sizes(data: bytes) -> tuple[int, int]:
    """zipped, and by zstd at its level 19."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("model.tflite", data)
    return len(buffer.getvalue()), len(zstandard.ZstdCompressor(level=19).compress(data))


def print_files(graph: Graph, data: Data) -> None:
    """Float and int8 TFLite files by what is usual, and in a container that gives the same bytes back."""
    print("| | file | zip | zstd -19 | .ekz, the same bytes |\n|---|---|---|---|---|")
    made = {"float TFLite": graph, "int8 TFLite": edgekit_int8(graph, data.images[data.calibrates[0]][:100])}
    for name, chosen in made.items():
        content = tflite_bytes(chosen)
        sizes = (len(content), *packed_sizes(content), len(lossless_bytes(content, "model.tflite")))
        print(f"| {name} | " + " | ".join(f"{size:,}" for size in sizes) + " |")


def print_curve(rows: list[Candidate], reference: np.ndarray, labels: np.ndarray) -> None:
    base = accuracy(reference, labels)
    print("| | bytes | AlexNet / bytes | top-1 % | top-5 % | top-1 | top-5 | agrees % | logits dB | drift | s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        top1, top5 = accuracy(row.logits, labels)
        agrees = 100 * np.mean(row.logits.argmax(1) == reference.argmax(1))
        power = np.square(row.logits - reference).sum()
        noise = f"{10 * np.log10(np.square(reference).sum() / power):.1f}" if power else ""
        loss1, loss5 = top1 - base[0], top5 - base[1]
        p, q = log_probabilities(reference), log_probabilities(row.logits)
        drift = float((np.exp(p) * (p - q)).sum(axis=1).mean())
        print(
            f"| {row.name} | {row.nbytes:,} | {ALEXNET_BYTES / row.nbytes:.0f} | {top1:.1f} | {top5:.1f} "
            f"| {loss1:+.1f} | {loss5:+.1f} | {agrees:.1f} | {noise} | {drift:.4f} | {row.seconds:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, default=FOLDS, choices=range(1, FOLDS + 1))
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    data, kept = read_data(arguments.folds), Kept(arguments.keep)
    folder = data_dir()
    graph, _ = apply_passes(squeezenet_graph(folder / "squeezenet_v1.0_imagenet.npz"))
    tested = [~calibrates for calibrates in data.calibrates]
    _, logits, _ = kept.get("float", lambda: (0, logits_of(graph, data.images), 0.0))
    reference, labels = (np.concatenate([values[t] for t in tested]) for values in (logits, data.labels))
    authors = (folder / "squeezenet_v1.0_songhan.net").stat().st_size
    rows = [Candidate("the authors' file", authors, reference)]
    rows += [*plain_kmeans(graph, data, kept), *compressed(graph, data, kept)]
    print(f"{machine_line()}\n{versions_line()}\n{len(labels)} images tested, in {arguments.folds} fold(s)\n")
    print_curve(rows, reference, labels)
    print()
    print_files(graph, data)


if __name__ == "__main__":
    main()

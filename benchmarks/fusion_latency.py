"""Latency of networks that shuffle channels: the usual way (a), edgekit without (b) and with fusion (c), the floor (d).

(a) int8 and fp32 TFLite: the network as a Keras model (channel shuffles as reshape, permute, reshape; index layers as
`keras.ops.take`) through TensorFlow's converter, with a fixed batch of 1. fp32 ONNX: pytorchcv's network of the same
structure through torch's exporter; int8 ONNX: that file through onnxruntime's pre-processing and quantize_static (QDQ,
per channel). pytorchcv has no IGCV2: there, the Keras model through tf2onnx. onnxruntime runs with all its
optimizations, TFLite files with XNNPACK. (b) `edgekit export --no-fuse`, (c) `edgekit export`, (d) `fusion_floor.py`.

Preparing files (slow, TensorFlow and torch) and timing (the machine must be quiet) are separate:

    python benchmarks/fusion_latency.py prepare --work DIR [--models A B] [--again]
    python benchmarks/fusion_latency.py time --work DIR [--models A B] [--formats "int8 tflite"] [--runs N] [--json F]

One thread, pinned; the four files of a format in interleaved blocks, there and back; medians.
Needs the [test] extra, torch, pytorchcv and onnxscript.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_files import WAYS, file_of, prepare
from fusion_models import COLUMNS, NETWORKS, Network, network
from machine import machine_line, versions_line

from edgekit.bench.host import Latency, bench_files

SECONDS = 1.0
"""Least time of each file's runs."""


def main() -> None:
    arguments = _parse()
    networks = [network(name) for name in arguments.models] or list(NETWORKS)
    if arguments.step == "prepare":
        for row in networks:
            print(f"preparing {row.name}", flush=True)
            prepare(row, arguments.work, again=arguments.again)
        return
    print(f"{machine_line()}\n{versions_line()}\none thread, at least {arguments.runs} runs and {SECONDS} s a file\n")
    print(HEAD)
    results = []
    for row in networks:
        for column in arguments.formats or COLUMNS:
            results.append(measure(row, column, arguments))
            print(line(row, results[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine_line(), "rows": results}, indent=2))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("prepare", "time"))
    parser.add_argument("--work", type=Path, required=True, help="folder of the prepared files")
    parser.add_argument("--models", nargs="+", default=[], help=", ".join(n.name for n in NETWORKS))
    parser.add_argument("--formats", nargs="+", choices=COLUMNS, default=[])
    parser.add_argument("--runs", type=int, default=64, help="least number of runs of each file")
    parser.add_argument("--again", action="store_true", help="prepare the other tools' files anew, too")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def measure(row: Network, column: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Medians in ms by way, with the raw ratio and its interval."""
    files = [file_of(arguments.work, row, column, way) for way in WAYS]
    missing = next((path for path in files if not path.exists()), None)
    if missing is not None:
        raise SystemExit(f"{missing} is missing: run `prepare --models {row.name}` first")
    # The fused file comes first, so that all ratios are to it.
    order = sorted(WAYS, key=lambda way: way != "fused")
    found = bench_files([files[WAYS.index(w)] for w in order], seconds=SECONDS, min_runs=arguments.runs)
    by_way = dict(zip(order, found, strict=True))
    return {
        "network": row.name,
        "format": column,
        "ms": {way: by_way[way].summary.median_ms for way in WAYS},
        "over_fused": {way: _ratio(by_way[way]) for way in WAYS if way != "fused"},
        "target": row.targets[COLUMNS.index(column)] if row.targets else None,
        "runs": {way: by_way[way].summary.runs for way in WAYS},
    }


def _ratio(latency: Latency) -> Sequence[float]:
    assert latency.ratio is not None
    return latency.ratio.value, latency.ratio.low, latency.ratio.high


HEAD = (
    "| network | format | (a) ms | (b) ms | (c) ms | (d) ms | (a)/(c) | target | (b)/(c) | recovered |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def line(row: Network, result: dict[str, Any]) -> str:
    """One line of the table. recovered: (a - c) / (a - d); empty where (a) is not above the floor."""
    usual, unfused, fused, floor = (result["ms"][way] for way in WAYS)
    share = f"{(usual - fused) / (usual - floor):.0%}" if usual > floor else ""
    ratio, target = result["over_fused"]["usual"][0], result["target"]
    mark = "" if target is None else f"{target:g} {'met' if ratio >= target else 'missed'}"
    cells = [row.name, result["format"], *(f"{ms:.2f}" for ms in (usual, unfused, fused, floor))]
    return "| " + " | ".join([*cells, f"{ratio:.2f}", mark, f"{result['over_fused']['unfused'][0]:.2f}", share]) + " |"


if __name__ == "__main__":
    main()

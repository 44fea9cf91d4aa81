"""Latency of networks that shuffle channels: the usual way (a), edgekit without (b) and with fusion (c), the floor (d).

(a) int8 and fp32 TFLite: the network as a Keras model (channel shuffles as reshape, permute, reshape; index layers as
`keras.ops.take`) through TensorFlow's converter, with a fixed batch of 1. fp32 ONNX: pytorchcv's network of the same
structure through torch's exporter; int8 ONNX: that file through onnxruntime's pre-processing and quantize_static (QDQ,
per channel). pytorchcv has no IGCV2, and tf2onnx cannot write Keras's grouped convolutions: it has no ONNX rows.
onnxruntime runs with all its optimizations, TFLite files with XNNPACK.

(b) `edgekit export --no-fuse`, (c) `edgekit export`, (d) `fusion_floor.py`.

Preparing files (slow, TensorFlow and torch) and timing (the machine must be quiet) are separate:

    python benchmarks/fusion_latency.py prepare --work DIR [--models A B] [--again]
    python benchmarks/fusion_latency.py time --work DIR [--models A B] [--formats "int8 tflite"] [--runs N] [--json F]
    python benchmarks/fusion_latency.py profile --work DIR [--models A B] [--formats "int8 tflite"] [--json F]

`--json` keeps results: rows that are measured again replace the older ones, so networks can be timed one after another.
`table --json F` prints what it holds. `profile` says what the time of (c) goes into, by the runtimes' own profilers
(`op_profile.py`); those are shares, and with `--json F` milliseconds of the latencies in it.

One thread, pinned; the four files of a format in interleaved blocks, there and back; medians.
Needs the [test] and [peers] extras.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import op_profile
from fusion_files import WAYS, file_of, prepare
from fusion_models import COLUMNS, NETWORKS, Network, network
from machine import machine_line, versions_line

from edgekit.bench import Latency, bench_files

SECONDS = 1.0
"""Least time of each file's runs."""
DISTURBED = 1.3
"""A median so far above the least time means that something else ran all the while: the row is marked."""
PROFILED_RUNS, TOP = 50, 7

Case = tuple[Network, str]
"""A network in one of COLUMNS."""


def main() -> None:
    arguments = _parse()
    networks = [network(name) for name in arguments.models] or list(NETWORKS)
    cases = [(row, column) for row in networks for column in arguments.formats or COLUMNS if column in row.columns]
    if arguments.step == "prepare":
        for row in networks:
            print(f"preparing {row.name}", flush=True)
            prepare(row, arguments.work, again=arguments.again)
    elif arguments.step == "time":
        _time(cases, arguments)
    elif arguments.step == "profile":
        _profile(cases, arguments)
    else:
        kept = _kept(arguments.json)
        print("\n".join([HEAD, *(line(kept[row.name, column]) for row, column in cases if (row.name, column) in kept)]))


def _time(cases: Sequence[Case], arguments: argparse.Namespace) -> None:
    print(f"{machine_line()}\n{versions_line()}\none thread, at least {arguments.runs} runs and {SECONDS} s a file\n")
    print(HEAD)
    kept = _kept(arguments.json)
    for row, column in cases:
        result = kept[row.name, column] = measure(row, column, arguments)
        print(line(result), flush=True)
        if arguments.json:
            document = {"machine": machine_line(), "versions": versions_line(), "rows": list(kept.values())}
            arguments.json.write_text(json.dumps(document, indent=2))


def _kept(path: Path | None) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows measured before, by network and format."""
    if path is None or not path.exists():
        return {}
    return {(row["network"], row["format"]): row for row in json.loads(path.read_text())["rows"]}


def _profile(cases: Sequence[Case], arguments: argparse.Namespace) -> None:
    kept = _kept(arguments.json)
    print("| network | format | (c) spends its time on |\n|---|---|---|")
    for row, column in cases:
        shares = op_profile.profile(_existing(arguments.work, row, column, "fused"), PROFILED_RUNS)
        ms = kept[row.name, column]["ms"]["fused"] if (row.name, column) in kept else None
        print(f"| {row.name} | {column} | {', '.join(op_profile.lines(shares, TOP, ms))} |", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("prepare", "time", "profile", "table"))
    parser.add_argument("--work", type=Path, default=Path(), help="folder of the prepared files")
    parser.add_argument("--models", nargs="+", default=[], help=", ".join(n.name for n in NETWORKS))
    parser.add_argument("--formats", nargs="+", choices=COLUMNS, default=[])
    parser.add_argument("--runs", type=int, default=64, help="least number of runs of each file")
    parser.add_argument("--again", action="store_true", help="prepare the other tools' files anew, too")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def measure(row: Network, column: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Medians in ms by way, with the raw ratio and its interval."""
    files = {way: _existing(arguments.work, row, column, way) for way in WAYS}
    # The fused file comes first, so that all ratios are to it.
    order = sorted(WAYS, key=lambda way: way != "fused")
    found = bench_files([files[way] for way in order], seconds=SECONDS, min_runs=arguments.runs).files
    by_way = dict(zip(order, found, strict=True))
    return {
        "network": row.name,
        "format": column,
        "ms": {way: by_way[way].summary.median_ms for way in WAYS},
        "over_fused": {way: _ratio(by_way[way]) for way in WAYS if way != "fused"},
        "target": row.targets[COLUMNS.index(column)] if row.targets else None,
        "least_ms": {way: by_way[way].summary.min_ms for way in WAYS},
        "runs": {way: by_way[way].summary.runs for way in WAYS},
    }


def _existing(work: Path, row: Network, column: str, way: str) -> Path:
    path = file_of(work, row, column, way)
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `prepare --models {row.name}` first")
    return path


def _ratio(latency: Latency) -> Sequence[float]:
    assert latency.ratio is not None
    return latency.ratio.value, latency.ratio.low, latency.ratio.high


HEAD = (
    "| network | format | (a) ms | (b) ms | (c) ms | (d) ms | (a)/(c) | target | (b)/(c) | recovered |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def line(result: dict[str, Any]) -> str:
    """One line of the table. recovered: (a - c) / (a - d); empty where (a) is not above the floor."""
    usual, unfused, fused, floor = (result["ms"][way] for way in WAYS)
    share = f"{(usual - fused) / (usual - floor):.0%}" if usual > floor else ""
    ratio, target = result["over_fused"]["usual"][0], result["target"]
    mark = "" if target is None else f"{target:g} {'met' if ratio >= target else 'missed'}"
    disturbed = any(result["ms"][way] > DISTURBED * result["least_ms"][way] for way in WAYS)
    cells = [
        result["network"] + (" (disturbed)" if disturbed else ""),
        result["format"],
        *(f"{ms:.2f}" for ms in (usual, unfused, fused, floor)),
    ]
    return "| " + " | ".join([*cells, f"{ratio:.2f}", mark, f"{result['over_fused']['unfused'][0]:.2f}", share]) + " |"


if __name__ == "__main__":
    main()

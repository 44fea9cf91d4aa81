"""Wall time and peak memory of `edgekit export mobilenet_v2 --alpha 0.75 --int8` beside the usual way.

Both are whole processes that start cold, calibrate on 100 images and write an int8 TFLite and an int8 ONNX file.
Run: python benchmarks/export_speed.py [--runs 3] [--json FILE]. Needs the [test] extra (TensorFlow, tf2onnx).
"""

from __future__ import annotations

import argparse
import compileall
import json
import sys
import tempfile
from pathlib import Path

from machine import machine_line, versions_line
from processes import interleave, medians

import edgekit

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    # As pip does with all that it installs; an editable checkout would compile its modules anew in each process.
    compileall.compile_dir(str(Path(edgekit.__file__).parent), quiet=2)
    with tempfile.TemporaryDirectory() as scratch:
        export = [
            str(Path(sys.executable).with_name("edgekit")),
            "export",
            "mobilenet_v2",
            "--alpha",
            "0.75",
            "--int8",
        ]
        commands = {
            "edgekit export": [*export, "--weights", "none", "--out", scratch],
            "usual way": [sys.executable, str(HERE / "peers" / "usual_export.py"), scratch],
        }
        results = interleave(commands, arguments.runs)
    ours, usual = (medians(runs) for runs in results.values())
    print(f"{machine_line()}\n{versions_line()}\n{arguments.runs} runs each, interleaved; medians\n")
    print("| | wall s | peak memory MB |\n|---|---|---|")
    for name, runs in results.items():
        median = medians(runs)
        spread = f"{min(r.seconds for r in runs):.1f} .. {max(r.seconds for r in runs):.1f}"
        print(f"| {name} | {median.seconds:.2f} ({spread}) | {median.peak_mb:.0f} |")
    print(f"| ratio | {usual.seconds / ours.seconds:.1f}x faster | {ours.peak_mb / usual.peak_mb:.2f} of the memory |")
    if arguments.json:
        raw = {name: [[r.seconds, r.peak_mb] for r in runs] for name, runs in results.items()}
        arguments.json.write_text(json.dumps({"machine": machine_line(), "runs": raw}, indent=2))


if __name__ == "__main__":
    main()

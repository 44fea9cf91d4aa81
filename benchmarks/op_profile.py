"""What the time of a TFLite or ONNX file goes into, by type of op, from the runtimes' own profilers, one thread.

    python benchmarks/op_profile.py FILE... [--runs 50] [--top 8]

ONNX: onnxruntime's profile of every node. TFLite: LiteRT's profiler, with the ops inside XNNPACK by XNNPACK's names
(Copy is a concat or a transpose that became one). Shares, since profiling itself takes time; where latencies are given
by `fusion_latency.py profile`, milliseconds are those times the shares.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from edgekit.bench.affinity import pinned
from edgekit.bench.check import make_feeds
from edgekit.runtime.onnx_backend import load_onnxruntime
from edgekit.runtime.session import Session


def profile(path: Path, runs: int) -> dict[str, float]:
    """Share of the time by type of op, greatest first."""
    with pinned(1):
        if path.suffix == ".tflite":
            import litert_profiler

            return litert_profiler.profile(path, runs)
        return _profile_onnx(path, runs)


def _profile_onnx(path: Path, runs: int, warmup: int = 10) -> dict[str, float]:
    with Session.open(path) as session:
        feeds = {spec.name: value for spec, value in zip(session.inputs, make_feeds(session), strict=True)}
    ort = load_onnxruntime()
    with TemporaryDirectory() as scratch:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling, options.profile_file_prefix = True, str(Path(scratch) / "profile")
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for _ in range(warmup + runs):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    nodes = nodes[len(nodes) * warmup // (warmup + runs) :]
    total: Counter[str] = Counter()
    for event in nodes:
        total[event["args"]["op_name"]] += event["dur"]
    return {op: time / sum(total.values()) for op, time in total.most_common()}


def lines(shares: dict[str, float], top: int, ms: float | None = None) -> list[str]:
    """The greatest shares, with milliseconds where the file's latency is known."""
    shown = list(shares.items())[:top]
    return [f"{op} {share:.0%}" + (f" ({share * ms:.2f} ms)" if ms else "") for op, share in shown]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--top", type=int, default=8)
    arguments = parser.parse_args()
    for path in arguments.files:
        print(f"{path}: " + ", ".join(lines(profile(path, arguments.runs), arguments.top)), flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs model files on a board for `edgekit bench`: this one file is copied there, and removes itself when it ends.

It needs Python 3.7, numpy and one runtime: ai-edge-litert, tflite-runtime, tensorflow or onnxruntime. It reads
requests, one JSON object a line, from standard input, and answers with lines `EDGEKIT {...}` on standard output; what
runtimes print goes to standard error. When standard input ends, because the work is done or the connection is gone, it
leaves. An exception that nobody expects ends it, too: its last line on standard error says why.
"""

from __future__ import annotations

import base64
import gc
import importlib
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "EDGEKIT "
TFLITE_MODULES = (
    ("litert", "ai_edge_litert.interpreter", "ai_edge_litert"),
    ("tflite-runtime", "tflite_runtime.interpreter", "tflite_runtime"),
    ("tensorflow", "tensorflow.lite", "tensorflow"),
)
CPUS = "/sys/devices/system/cpu"


class AgentError(Exception):
    """Something that the user should read; `kind` tells the other side which remedy fits."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def timed_runs(
    run: Callable[[], object], runs: int, seconds: float, lead: int, clock: Callable[[], int] = time.perf_counter_ns
) -> list[int]:
    """Nanoseconds of at least so many runs that last at least so long together, after `lead` untimed ones."""
    for _ in range(lead):
        run()
    samples: list[int] = []
    start = clock()
    while len(samples) < runs or clock() - start < seconds * 1e9:
        before = clock()
        run()
        samples.append(clock() - before)
    return samples


def read_text(path: str) -> str | None:
    """A small file's content; None where it cannot be read: /proc and /sys may be missing."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return file.read(65536).strip("\0\n ")
    except OSError:
        return None


def read_number(path: str) -> int | None:
    """A whole number in a file, None where there is none."""
    text = read_text(path)
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,18}", text) else None


def cpu_numbers() -> list[int]:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cpu_files(name: str) -> dict[str, str]:
    """What the file `name` of each processor's frequency folder says."""
    found = {str(cpu): read_text(f"{CPUS}/cpu{cpu}/cpufreq/{name}") for cpu in cpu_numbers()}
    return {cpu: text for cpu, text in found.items() if text is not None}


def clock_khz(cpus: list[int]) -> int | None:
    """The slowest clock among these processors now."""
    told = [read_number(f"{CPUS}/cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in cpus]
    known = [khz for khz in told if khz is not None]
    return min(known) if known else None


def throttled() -> int | None:
    """The Raspberry Pi firmware's bits: 0 to 3 hold now, 16 to 19 held since the start; None elsewhere."""
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        told = subprocess.run(
            [program, "get_throttled"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5, check=False
        ).stdout.decode("ascii", "replace")
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"throttled=0x([0-9a-fA-F]{1,8})", told)
    return int(match.group(1), 16) if match else None


def read_state() -> dict[str, Any]:
    """Heat, clocks and governors now; what the system does not tell is left empty."""
    temperatures = {}
    for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*")):
        milli = read_number(f"{zone}/temp")
        if milli is not None:
            temperatures[f"{zone.name}/{read_text(f'{zone}/type') or 'zone'}"] = milli / 1000
    clocks = cpu_files("scaling_cur_freq")
    return {
        "throttled": throttled(),
        "temperatures_c": temperatures,
        "governors": cpu_files("scaling_governor"),
        "clocks_khz": {cpu: int(khz) for cpu, khz in clocks.items() if khz.isdigit()},
    }


def read_facts() -> dict[str, Any]:
    """What the machine is, and which runtimes it has."""
    top = cpu_files("cpuinfo_max_freq")
    cpuinfo = read_text("/proc/cpuinfo") or ""
    features = re.search(r"^(?:Features|flags)\s*:(.*)$", cpuinfo, re.MULTILINE)
    name = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    return {
        "model": read_text("/proc/device-tree/model") or (name.group(1) if name else None),
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "pid": os.getpid(),
        "cpus": cpu_numbers(),
        "top_khz": {cpu: int(khz) for cpu, khz in top.items() if khz.isdigit()},
        "features": features.group(1).split() if features else [],
        "memory_bytes": memory_bytes(),
    }


def memory_bytes() -> int | None:
    """The machine's memory."""
    match = re.search(r"^MemTotal:\s*([0-9]+) kB", read_text("/proc/meminfo") or "", re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def peak_memory_bytes() -> int:
    """The most memory that this process has ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def encode(array: Any) -> dict[str, Any]:
    """An array as JSON takes it."""
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data}


def decode(told: dict[str, Any]) -> Any:
    """The array that `encode` made this of."""
    try:
        import numpy as np
    except ImportError as problem:
        raise AgentError("no-runtime", "numpy is not installed there") from problem
    return np.frombuffer(base64.b64decode(told["data"]), told["dtype"]).reshape(told["shape"])


class TfliteFile:
    """A .tflite file in whichever TFLite runtime there is."""

    def __init__(self, path: str, threads: int) -> None:
        self.runtime, interpreter_class = self._find()
        try:
            self._interpreter = interpreter_class(model_path=path, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as problem:
            kind = "too-old" if "opcode" in str(problem) or "egistration failed" in str(problem) else "refused"
            raise AgentError(kind, f"{self.runtime} refuses the file: {first_lines(problem)}") from problem
        self._inputs = [d["index"] for d in self._interpreter.get_input_details()]
        self._outputs = [d["index"] for d in self._interpreter.get_output_details()]

    @staticmethod
    def _find() -> Any:
        problems = []
        for name, module, package in TFLITE_MODULES:
            try:
                found = importlib.import_module(module)
            except ImportError as problem:
                if getattr(problem, "name", None) != module.split(".")[0]:
                    problems.append(f"{name}: {first_lines(problem)}")
                continue
            version = getattr(importlib.import_module(package), "__version__", None) or package_version(name)
            return f"{name} {version}", found.Interpreter
        detail = f" ({'; '.join(problems)})" if problems else ""
        raise AgentError("no-runtime", f"there is no runtime for .tflite files{detail}")

    def feed(self, values: list[Any]) -> None:
        """Set the inputs; they stay for any number of runs."""
        for position, index in enumerate(self._inputs):
            self._interpreter.set_tensor(index, values[position])

    def run(self) -> None:
        """One inference."""
        self._interpreter.invoke()

    def outputs(self) -> list[Any]:
        """Copies of the last run's outputs."""
        return [self._interpreter.get_tensor(index) for index in self._outputs]


class OnnxFile:
    """An .onnx file in onnxruntime."""

    def __init__(self, path: str, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as problem:
            text = f"there is no runtime for .onnx files ({first_lines(problem)})"
            raise AgentError("no-runtime", text) from problem
        self.runtime = "onnxruntime " + onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        failures = onnxruntime.capi.onnxruntime_pybind11_state
        caught = tuple(
            kind for kind in vars(failures).values() if isinstance(kind, type) and issubclass(kind, Exception)
        )
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except caught as problem:
            text = str(problem)
            kind = "too-old" if "opset" in text or "IR version" in text or "NOT_IMPLEMENTED" in text else "refused"
            raise AgentError(kind, f"{self.runtime} refuses the file: {first_lines(problem)}") from problem
        self._binding = self._session.io_binding()
        for output in self._session.get_outputs():
            self._binding.bind_output(output.name)

    def feed(self, values: list[Any]) -> None:
        """Set the inputs; they stay for any number of runs."""
        for position, node in enumerate(self._session.get_inputs()):
            self._binding.bind_cpu_input(node.name, values[position])

    def run(self) -> None:
        """One inference."""
        self._session.run_with_iobinding(self._binding)

    def outputs(self) -> list[Any]:
        """Copies of the last run's outputs."""
        return list(self._binding.copy_outputs_to_cpu())


def package_version(name: str) -> str:
    """Of the runtime's package, where it says so."""
    try:
        from importlib.metadata import PackageNotFoundError, version
    except ImportError:  # Python 3.7
        return "of unknown version"
    try:
        return version("ai-edge-litert" if name == "litert" else name)
    except PackageNotFoundError:
        return "of unknown version"


def first_lines(problem: BaseException) -> str:
    """An exception's message in at most 400 characters of one line."""
    return " ".join(str(problem).split())[:400] or type(problem).__name__


class Agent:
    """Answers requests; files are known by the order in which they were opened."""

    def __init__(self) -> None:
        self._files: list[Any] = []
        self._cpus: list[int] = []

    def answer(self, request: dict[str, Any]) -> Any:
        """What one request asks for. Raises AgentError, and KeyError for a request that there is not."""
        operations: dict[str, Callable[[dict[str, Any]], Any]] = {
            "facts": lambda request: read_facts(),
            "state": lambda request: read_state(),
            "pin": self._pin,
            "open": self._open,
            "outputs": self._outputs_of,
            "block": self._block,
            "peak": lambda request: peak_memory_bytes(),
        }
        return operations[request["op"]](request)

    def _pin(self, request: dict[str, Any]) -> list[int]:
        """Keep this process, and the threads that it starts from now on, to these processors."""
        try:
            os.sched_setaffinity(0, request["cpus"])
        except (OSError, AttributeError):
            return []
        self._cpus = list(request["cpus"])
        return self._cpus

    def _open(self, request: dict[str, Any]) -> dict[str, Any]:
        kind = OnnxFile if request["format"] == "onnx" else TfliteFile
        feeds = [decode(told) for told in request["feeds"]]
        start = time.perf_counter_ns()
        opened = kind(request["path"], request["threads"])
        load_ns = time.perf_counter_ns() - start
        opened.feed(feeds)
        start = time.perf_counter_ns()
        opened.run()
        first_ns = time.perf_counter_ns() - start
        self._files.append((opened, feeds))
        return {"runtime": opened.runtime, "load_ms": load_ns / 1e6, "first_ms": first_ns / 1e6}

    def _outputs_of(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        opened, feeds = self._files[request["index"]]
        opened.feed([decode(told) for told in request["feeds"]])
        opened.run()
        found = [encode(array) for array in opened.outputs()]
        opened.feed(feeds)
        return found

    def _block(self, request: dict[str, Any]) -> dict[str, Any]:
        opened, _ = self._files[request["index"]]
        gc.collect()
        gc.disable()
        try:
            samples = timed_runs(opened.run, request["runs"], request["seconds"], request["lead"])
        finally:
            gc.enable()
        return {"samples_ns": samples, "clock_khz": clock_khz(self._cpus)}


def serve(lines: Any, write: Callable[[str], object]) -> None:
    """Answer requests until they end."""
    agent = Agent()
    for line in lines:
        request = json.loads(line)
        try:
            told = {"id": request["id"], "ok": agent.answer(request)}
        except AgentError as problem:
            told = {"id": request["id"], "error": {"kind": problem.kind, "text": str(problem)}}
        except (MemoryError, OSError, RuntimeError, ValueError) as problem:
            text = f"{type(problem).__name__}: {first_lines(problem)}"
            told = {"id": request["id"], "error": {"kind": "failed", "text": text}}
        write(MARK + json.dumps(told) + "\n")


def main() -> None:
    """Serve standard input; the folder named as the only argument is removed at the end, whatever happens."""
    private = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what runtimes print must not mix with the answers

    def write(line: str) -> None:
        private.write(line)
        private.flush()

    try:
        serve(sys.stdin, write)
    except (BrokenPipeError, KeyboardInterrupt):
        pass
    finally:
        if len(sys.argv) > 1:
            shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()

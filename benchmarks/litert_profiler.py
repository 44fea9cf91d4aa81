"""Time by op of a TFLite file, from LiteRT's own profiler, the ops inside the XNNPACK delegate included.

The Python package has no call for it; its library has (LiteRT's C API, `litert/c/litert_profiler.h`), and ctypes calls
that.
"""

from __future__ import annotations

import ctypes
import re
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path

import ai_edge_litert

_CPU = 1
_OPTIONS = b"runtime_options_string"
_PROFILING = b"enable_profiling = true\n"
_RANKED_TYPE_BYTES = 1024
"""More than a tensor's type takes; it is only handed on."""

_ROW = re.compile(r"\s*(?P<op>\S.*?)\s+\d+\s+[\d.]+\s+(?P<percent>[\d.]+)%\s+[\d.]+%\s+[\d.]+\s+\d+\s*")
_TABLE = "Summary by node type"


def profile(path: Path, runs: int, warmup: int = 20) -> dict[str, float]:
    """Share of the time by type of op, greatest first; they add up to 1. Runs on the threads that LiteRT chooses.

    Raises SystemExit where a call of the library fails.
    """
    session = _Session(path)
    for _ in range(warmup):
        session.run()
    session.call("LiteRtStartProfiler", session.profiler)
    for _ in range(runs):
        session.run()
    session.call("LiteRtStopProfiler", session.profiler)
    summary = c_char_p()
    session.call("LiteRtGetProfileSummary", session.profiler, session.compiled, byref(summary))
    return _shares((summary.value or b"").decode())


def _shares(summary: str) -> dict[str, float]:
    """The table of types, as the library prints it."""
    lines = summary.partition(_TABLE)[2].splitlines()[2:]
    shares: dict[str, float] = {}
    for line in lines:
        match = _ROW.fullmatch(line)
        if match is None:
            break
        shares[match["op"].removeprefix("Delegate/")] = float(match["percent"]) / 100
    if not shares:
        raise SystemExit("LiteRT's profiler gave no summary by op; another version may print it in another way")
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


class _Session:
    """A compiled model with profiling on, and its buffers."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(Path(ai_edge_litert.__file__).with_name("libLiteRt.so")))
        self._environment, self._model, self.compiled, self.profiler = (c_void_p() for _ in range(4))
        self.call("LiteRtCreateEnvironment", c_int(0), None, byref(self._environment))
        self.call("LiteRtCreateModelFromFile", self._environment, str(path).encode(), byref(self._model))
        options = self._options()
        self.call("LiteRtCreateCompiledModel", self._environment, self._model, options, byref(self.compiled))
        self.call("LiteRtCompiledModelGetProfiler", self.compiled, byref(self.profiler))
        self._inputs, self._outputs = self._buffers("Input"), self._buffers("Output")

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of the library that returns a status."""
        function = getattr(self._library, name)
        function.restype = c_int
        if status := function(*arguments):
            raise SystemExit(f"{name} of LiteRT returned {status}")

    def run(self) -> None:
        """One inference."""
        inputs, outputs = self._inputs, self._outputs
        counts = c_size_t(len(inputs)), c_size_t(len(outputs))
        self.call("LiteRtRunCompiledModel", self.compiled, c_size_t(0), counts[0], inputs, counts[1], outputs)

    def _options(self) -> c_void_p:
        options, profiling = c_void_p(), c_void_p()
        self.call("LiteRtCreateOptions", byref(options))
        self.call("LiteRtSetOptionsHardwareAccelerators", options, c_int(_CPU))
        # Kept with the session: the library reads it later.
        self._payload = ctypes.create_string_buffer(_PROFILING)
        self._release = ctypes.CFUNCTYPE(None, c_void_p)(lambda _: None)
        payload = ctypes.cast(self._payload, c_void_p)
        self.call("LiteRtCreateOpaqueOptions", _OPTIONS, payload, self._release, byref(profiling))
        self.call("LiteRtAddOpaqueOptions", options, profiling)
        return options

    def _buffers(self, kind: str) -> ctypes.Array[c_void_p]:
        """Memory for all tensors of a kind (Input or Output), filled with whatever is there."""
        signature, count = c_void_p(), c_size_t()
        self.call("LiteRtGetModelSignature", self._model, c_size_t(0), byref(signature))
        self.call(f"LiteRtGetNumSignature{kind}s", signature, byref(count))
        buffers = (c_void_p * count.value)()
        for i in range(count.value):
            tensor, needs, buffer = c_void_p(), c_void_p(), c_void_p()
            kept_type = ctypes.create_string_buffer(_RANKED_TYPE_BYTES)
            self.call(f"LiteRtGetSignature{kind}TensorByIndex", signature, c_size_t(i), byref(tensor))
            self.call("LiteRtGetRankedTensorType", tensor, kept_type)
            place = self.compiled, c_size_t(0), c_size_t(i)
            self.call(f"LiteRtGetCompiledModel{kind}BufferRequirements", *place, byref(needs))
            wanted = self._environment, kept_type, needs
            self.call("LiteRtCreateManagedTensorBufferFromRequirements", *wanted, byref(buffer))
            buffers[i] = buffer.value
        return buffers

"""HDF5 files, read in a second process that may hang or break down over a damaged one.

Keras keeps lists of names in HDF5's heap of strings, and a single altered byte there can make the HDF5 library loop for
ever or crash. The process ends at a limit of time and memory, and the error is one line. It is no sandbox: a file that
takes over the library has the user's rights.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import WeightsError
from edgekit.graph.ir import Array

CPU_SECONDS = 30
"""For all that is read of a file; the largest network of the zoo takes a tenth of a second."""
WALL_SECONDS = 120
"""For one answer, for systems that do not limit processor time."""
WATCH_SECONDS = 0.1
BASE_MEMORY_BYTES = 512 * 2**20
MAX_REPLY_BYTES = 256 * 2**20
START = "import sys; sys.path[:] = {!a}; from edgekit.importers.hdf5_child import main; main({}, {})"
"""Modules are searched for where this process finds them, and so never in the working folder."""


@dataclass(frozen=True, slots=True)
class Hdf5Array:
    """A data set, not yet read. dtype: None where the file describes it badly, and `problem` says how."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    outside: bool
    problem: str = ""


class Hdf5Reader:
    """A running reader; open one file after another with it. Use it as a context manager, or call `close`.

    limit_bytes: the most that the reader may need for a file and an array of it, beside BASE_MEMORY_BYTES.
    """

    def __init__(self, limit_bytes: int) -> None:
        paths = [str(entry) for entry in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START.format(paths, CPU_SECONDS, BASE_MEMORY_BYTES + 2 * limit_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Threads of numpy's own would only cost time and address space.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        self._late, self._deadline, self._closed = False, math.inf, threading.Event()
        # One thread for all answers: to start a timer for each would cost as much as the answers.
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> Hdf5Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it does."""
        self._closed.set()
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]  # both are pipes
        self._process.wait()

    def open(self, path: Path, data: bytes | None = None) -> Hdf5File:
        """List what a file holds. data: its bytes where it is a part of `path`. Raises WeightsError."""
        request: dict[str, Any] = {"do": "open"} | ({"path": str(path)} if data is None else {"bytes": len(data)})
        reply, _ = self.ask(str(path), request, data or b"")
        if reply["objects"] is None:
            raise WeightsError(f"{path} is no weights file; give .h5 or .keras of Keras, or .npz of edgekit")
        return Hdf5File(self, str(path), {name: _described(item) for name, item in reply["objects"].items()})

    def ask(self, where: str, request: Mapping[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """One request and its answer. Raises WeightsError where the file is damaged; the reader may then be dead."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        self._deadline = time.monotonic() + WALL_SECONDS
        try:
            stdin.write(json.dumps(request).encode() + b"\n" + data)
            stdin.flush()
            reply = json.loads(stdout.readline(MAX_REPLY_BYTES))
            payload = stdout.read(reply.get("bytes", 0))
        except (OSError, ValueError) as problem:
            raise WeightsError(f"{where} is damaged: {self._verdict()}; fetch or write it anew") from problem
        finally:
            self._deadline = math.inf
        if "problem" in reply:
            raise WeightsError(f"{where} is damaged or cut short ({reply['problem']}); fetch or write it anew")
        return reply, payload

    def _watch(self) -> None:
        while not self._closed.wait(WATCH_SECONDS):
            if time.monotonic() > self._deadline:
                self._late = True
                self._process.kill()
                return

    def _verdict(self) -> str:
        self._process.kill()
        code = self._process.wait()
        if self._late or code == -getattr(signal, "SIGXCPU", 0):
            return f"the HDF5 library found no end in it within {WALL_SECONDS if self._late else CPU_SECONDS} s"
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"the HDF5 library broke down over it ({name})"


class Hdf5File:
    """What a file holds; readable until the reader is closed or opens another file.

    objects: in the file's order, name -> data set, or None for a group.
    """

    def __init__(self, reader: Hdf5Reader, where: str, objects: Mapping[str, Hdf5Array | None]) -> None:
        self._reader, self.where, self.objects = reader, where, objects

    def strings(self, of: str, key: str) -> list[str] | None:
        """An attribute that lists texts, of the object named ("" is the whole file); None where there is none."""
        found: list[str] | None = self._reader.ask(self.where, {"do": "strings", "of": of, "key": key})[0]["value"]
        return found

    def text(self, of: str, key: str) -> str | None:
        """An attribute that is one text; None where there is none."""
        found: str | None = self._reader.ask(self.where, {"do": "text", "of": of, "key": key})[0]["value"]
        return found

    def read(self, name: str) -> Array:
        """The numbers of a data set. Raises WeightsError where they are not as many as its shape says."""
        described = self.objects[name]
        assert described is not None
        where = f"{self.where}: {name!r}"
        reply, payload = self._reader.ask(where, {"do": "array", "of": name})
        dtype = np.dtype(reply["dtype"])
        if dtype != described.dtype or len(payload) != dtype.itemsize * math.prod(described.shape):
            raise WeightsError(f"{where} is damaged or cut short (not as many numbers as said); fetch or write it anew")
        return np.frombuffer(payload, dtype).reshape(described.shape)


def _described(item: Mapping[str, Any]) -> Hdf5Array | None:
    if "problem" in item:
        return Hdf5Array((), None, outside=False, problem=item["problem"])
    if "shape" not in item:
        return None
    return Hdf5Array(tuple(item["shape"]), np.dtype(item["dtype"]), item["outside"])


@contextmanager
def open_hdf5(path: Path, limit_bytes: int, data: bytes | None = None) -> Iterator[Hdf5File]:
    """One file in a reader of its own. Raises WeightsError."""
    with Hdf5Reader(limit_bytes) as reader:
        yield reader.open(path, data)

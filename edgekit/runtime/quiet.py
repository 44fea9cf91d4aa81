"""Keep the runtimes' greetings off standard error.

TFLite prints `INFO: Created TensorFlow Lite XNNPACK delegate for CPU.` from C++, and its Python packages have no switch
for it (no environment variable, no logger). So file descriptor 2 is pointed at a scratch file while a session opens,
and all lines but the greetings are passed on afterwards.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_GREETINGS = (b"INFO: ", b"VERBOSE: ")
_ORT_WARNING = b"[W:onnxruntime"
_LOCK = threading.Lock()


@contextmanager
def quiet_native_stderr() -> Iterator[None]:
    """Drop informational lines that native code writes to standard error; pass on everything else, at the end."""
    saved = _duplicate_stderr()
    if saved is None:
        yield
        return
    with _LOCK, tempfile.TemporaryFile() as sink:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            _pass_on(sink)


def is_greeting(line: bytes) -> bool:
    """Whether a line is one of the runtimes' informational messages or onnxruntime's device discovery warning."""
    return line.startswith(_GREETINGS) or (_ORT_WARNING in line and b"device_discovery" in line)


def _duplicate_stderr() -> int | None:
    try:
        return os.dup(2)
    except OSError:  # a process without standard error has nothing to keep clean
        return None


def _pass_on(sink: IO[bytes]) -> None:
    sink.seek(0)
    kept = b"".join(line for line in sink if not is_greeting(line))
    if kept:
        os.write(2, kept)

"""Talks to the agent on a board: one request, one answer, and no waiting for ever."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Callable
from queue import Empty, Queue
from typing import IO, Any

from edgekit.bench.agent import MARK
from edgekit.bench.process import TimedOutError, clean, stop_program
from edgekit.errors import DeviceError

MAX_LINE_BYTES = 256 * 2**20
_LEAVING_S = 5.0


class AgentFailureError(DeviceError):
    """The agent could not do what it was asked. Attribute: kind (no-runtime, too-old, refused, failed)."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class AgentSession:
    """An agent that runs. `who` is how messages call its machine.

    start: starts it with the file given for its standard error. explain: makes an error of what that file holds when
    the connection or the agent has ended.
    """

    def __init__(
        self,
        who: str,
        start: Callable[[IO[bytes]], subprocess.Popen[bytes]],
        explain: Callable[[str], DeviceError],
        timeout_s: float = 300.0,
    ) -> None:
        self._who, self._explain, self._timeout_s = who, explain, timeout_s
        self._err = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = start(self._err)
        self._lines: Queue[bytes | None] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._count = 0

    def ask(self, op: str, **fields: Any) -> Any:
        """The answer to a request.

        Raises AgentFailureError where the agent says no, TimedOutError where it says nothing for long, DeviceError
        where it is gone or talks nonsense.
        """
        self._count += 1
        request = json.dumps({"id": self._count, "op": op, **fields}) + "\n"
        try:
            self._stdin.write(request.encode("ascii"))
            self._stdin.flush()
        except OSError:
            raise self._ended() from None
        try:
            line = self._lines.get(timeout=self._timeout_s)
        except Empty:
            stop_program(self._process)
            raise TimedOutError(f"{self._who} gave no answer within {self._timeout_s:g} s") from None
        if line is None:
            raise self._ended()
        return self._answer(line)

    def close(self) -> bool:
        """End the agent by ending its input; whether it surely has ended. What is left of it here is killed."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            return self._process.wait(_LEAVING_S) == 0  # not so where ssh was killed: the agent may still be busy
        except subprocess.TimeoutExpired:
            return False
        finally:
            stop_program(self._process)
            self._reader.join(_LEAVING_S)
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._err.close()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _read(self) -> None:
        """Put every answer into the queue; what login files print is passed over."""
        stdout = self._process.stdout
        assert stdout is not None
        mark = MARK.encode("ascii")
        while True:
            line = stdout.readline(MAX_LINE_BYTES)
            if not line or len(line) >= MAX_LINE_BYTES:
                self._lines.put(None)
                return
            if line.startswith(mark):
                self._lines.put(line[len(mark) :])

    def _answer(self, line: bytes) -> Any:
        try:
            told = json.loads(line, parse_constant=_refuse)
            if told["id"] != self._count:
                raise ValueError(told["id"])
            if "ok" in told:
                return told["ok"]
            kind, text = str(told["error"]["kind"]), clean(str(told["error"]["text"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DeviceError(
                f"{self._who} answers with nonsense ({clean(line[:200].decode('utf-8', 'replace'))})"
            ) from None
        raise AgentFailureError(kind, text)

    def _ended(self) -> DeviceError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LEAVING_S)
        self._err.seek(0)
        return self._explain(self._err.read(2**20).decode("utf-8", "replace"))


def _refuse(word: str) -> None:
    """NaN and infinities are no JSON, and no answer of ours."""
    raise ValueError(word)

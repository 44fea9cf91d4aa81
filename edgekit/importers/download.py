"""Fetches one file over HTTP: bounded waiting, a progress bar, and never half a file under its final name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgekit.errors import WeightsError
from edgekit.importers.published_row import FileHash

if TYPE_CHECKING:
    from requests import Response

ANSWER_PATIENCE_S = 3.0
"""How long a server may take to begin its answer: name look-up, connection and headers together."""

STALL_PATIENCE_S = 10.0
"""How long a download may pause."""

MAX_BYTES = 512 * 2**20
CHUNK_BYTES = 2**16
BEGINNINGS = {".h5": (b"\x89HDF\r\n\x1a\n",), ".pth": (b"PK\x03\x04", b"\x80")}
"""What files with these endings begin with: HDF5; an archive, or before PyTorch 1.6 a pickle."""
KINDS = {".h5": "HDF5", ".pth": "PyTorch"}

_unreachable: dict[str, str] = {}


def forget_unreachable() -> None:
    """Ask servers again that did not answer: for long-lived processes whose network came back."""
    _unreachable.clear()


def download_weights(url: str, path: Path, *, file_hash: FileHash | None = None, show_progress: bool = True) -> str:
    """Fetch an `.h5` or `.pth` file to `path`, by way of a temporary name in the same folder; returns its sha256.

    Raises WeightsError for a server that does not answer within `ANSWER_PATIENCE_S` (asked once a process), an HTTP
    error, a download that stalls or ends early, a hash other than `file_hash`, a file that does not begin as its kind
    does, and a folder that cannot be written.
    """
    origin = _origin(url)
    if origin in _unreachable:
        raise WeightsError(f"{url}: {_unreachable[origin]}")
    with contextlib.closing(_open(url, origin)) as response:
        if response.status_code != 200:
            raise WeightsError(f"{url}: the server answers {response.status_code} {response.reason}")
        try:
            with _temporary(path) as partial:
                digest = _save(response, url, origin, partial, show_progress)
                _check_content(url, partial, path.suffix, file_hash)
                partial.replace(path)
        except OSError as problem:
            raise WeightsError(
                f"cannot write {path} ({problem.strerror or problem}); set EDGEKIT_CACHE to a folder with room"
            ) from problem
    return digest


def _origin(url: str) -> str:
    """Scheme and host, which are reachable or not whatever the file."""
    try:
        return "{0.scheme}://{0.netloc}".format(urlsplit(url))
    except ValueError as problem:
        raise WeightsError(f"{url!r} is no address ({problem})") from problem


def _open(url: str, origin: str) -> Response:
    """The response, headers read. A thread waits, because no timeout bounds a name look-up."""
    answers: queue.Queue[Response | Exception] = queue.Queue()
    abandoned = threading.Event()
    threading.Thread(target=_ask, args=(url, answers, abandoned), daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_PATIENCE_S)
    except queue.Empty:
        abandoned.set()
        _close_answers(answers)
        answer = TimeoutError(f"no answer within {ANSWER_PATIENCE_S:g} s")
    if isinstance(answer, Exception):
        _unreachable[origin] = f"the server cannot be reached ({_reason(answer)})"
        raise WeightsError(f"{url}: {_unreachable[origin]}") from answer
    return answer


def _ask(url: str, answers: queue.Queue[Response | Exception], abandoned: threading.Event) -> None:
    import requests

    try:
        timeouts = (ANSWER_PATIENCE_S, STALL_PATIENCE_S)
        answers.put(requests.get(url, stream=True, timeout=timeouts, headers={"Accept-Encoding": "identity"}))
    except (OSError, ValueError) as problem:
        answers.put(problem)
    if abandoned.is_set():
        _close_answers(answers)


def _close_answers(answers: queue.Queue[Response | Exception]) -> None:
    with contextlib.suppress(queue.Empty):
        answer = answers.get_nowait()
        if not isinstance(answer, Exception):
            answer.close()


def _reason(problem: BaseException) -> str:
    """The innermost cause in few words: requests wraps it several times."""
    while True:
        inner = getattr(problem, "reason", None) or (problem.args[0] if problem.args else None)
        if not isinstance(inner, BaseException):
            break
        problem = inner
    text = getattr(problem, "strerror", None) or str(problem).rpartition(": ")[2] or type(problem).__name__
    return str(text).splitlines()[0][:120]


def _save(response: Response, url: str, origin: str, partial: Path, show_progress: bool) -> str:
    """Write the body; returns its sha256."""
    import requests

    declared = response.headers.get("Content-Length", "")
    total = int(declared) if declared.isdigit() else None
    digest, count = hashlib.sha256(), 0
    with partial.open("wb") as file, _progress(url, total, show_progress) as advance:
        chunks = response.iter_content(CHUNK_BYTES)
        while True:
            try:
                chunk = next(chunks, None)
            except requests.RequestException as problem:
                _unreachable[origin] = "the server stopped in the middle of a file"
                raise WeightsError(f"{url}: the download broke off after {count} bytes; try again") from problem
            if chunk is None:
                break
            count += len(chunk)
            if count > MAX_BYTES:
                raise WeightsError(f"{url}: more than {MAX_BYTES} bytes; this is no weights file")
            digest.update(chunk)
            file.write(chunk)
            advance(len(chunk))
    if total is not None and count != total:
        raise WeightsError(f"{url}: the download ended after {count} of {total} bytes; try again")
    return digest.hexdigest()


def _check_content(url: str, partial: Path, suffix: str, file_hash: FileHash | None) -> None:
    with partial.open("rb") as file:
        if not file.read(8).startswith(BEGINNINGS[suffix]):
            raise WeightsError(f"{url}: the server sent no {KINDS[suffix]} file; is there a log-in page in between?")
    if file_hash is not None and file_hash.of(partial) != file_hash.digits:
        raise WeightsError(
            f"{url}: {file_hash.algorithm} is {file_hash.of(partial)[:16]}..., should be {file_hash.digits[:16]}...; "
            "the file is not the published one"
        )


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A new file beside `path`, gone afterwards if it still bears its temporary name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _progress(url: str, total: int | None, show: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, where that is a terminal; yields what advances it by some bytes."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not (show and console.is_terminal)) as bars:
        task = bars.add_task(url.rpartition("/")[2], total=total)
        yield lambda count: bars.advance(task, count)

"""A web server on this machine that hands out files, or fails in a chosen way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class WeightServer:
    """mode: ok, no_length, missing, truncated, page, silent (never answers) or stalled (stops in the body)."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    mode: str = "ok"
    asked: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve() -> Iterator[WeightServer]:
    """The server, until the context ends."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = False
    state = WeightServer(f"http://127.0.0.1:{httpd.server_address[1]}")
    httpd.weights = state
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.release.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the name that the base class calls
        state = self.server.weights
        name = self.path.lstrip("/")
        state.asked.append(name)
        if state.mode == "silent":
            state.release.wait()
            return
        if state.mode == "missing" or name not in state.files:
            self.send_error(404)
            return
        body = b"<html>Please log in</html>" if state.mode == "page" else state.files[name]
        self.send_response(200)
        if state.mode != "no_length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = state.mode in ("truncated", "stalled")
        self.wfile.write(body[: len(body) // 2] if half else body)
        self.wfile.flush()
        if state.mode == "stalled":
            state.release.wait()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""

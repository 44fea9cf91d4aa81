"""benchmark_model is fetched once, from a server of our own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgekit.bench.benchmark_tool import URL_VARIABLE, ensure_benchmark_tool
from edgekit.errors import DeviceError

PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 40


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the server hands out."""
    folder = tmp_path / "served"
    folder.mkdir()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv(URL_VARIABLE, f"http://127.0.0.1:{httpd.server_address[1]}/")
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    yield folder
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_fetched_once(server: Path) -> None:
    published = server / "android_aarch64_benchmark_model"
    published.write_bytes(PROGRAM)
    path = ensure_benchmark_tool(None, "arm64-v8a")
    assert path.read_bytes() == PROGRAM
    published.unlink()
    assert ensure_benchmark_tool(None, "arm64-v8a") == path


def test_one_s_own(tmp_path: Path) -> None:
    own = tmp_path / "mine"
    own.write_bytes(PROGRAM)
    assert ensure_benchmark_tool(own, None) == own
    with pytest.raises(
        DeviceError, match=r"there is no benchmark_model at .*other: give its path with --benchmark-model"
    ):
        ensure_benchmark_tool(tmp_path / "other", None)


def test_a_page_instead_of_a_program_is_not_kept(server: Path, tmp_path: Path) -> None:
    (server / "android_arm_benchmark_model").write_bytes(b"<html>Please log in</html>")
    with pytest.raises(DeviceError, match="the server sent no program; is there a log-in page in between"):
        ensure_benchmark_tool(None, "armeabi-v7a")
    assert list((tmp_path / "cache" / "benchmark_model").iterdir()) == []


def test_nothing_published(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        DeviceError, match=r"cannot be fetched from http.*404.*fetch or build it, and give --benchmark-mo"
    ):
        ensure_benchmark_tool(None, "arm64-v8a")
    monkeypatch.setenv(URL_VARIABLE, "http://127.0.0.1:1")
    with pytest.raises(
        DeviceError, match=r"benchmark_model cannot be fetched from http://127\.0\.0\.1:1/android_aarch64"
    ):
        ensure_benchmark_tool(None, "arm64-v8a")


@pytest.mark.parametrize("abi", ["mips", None])
def test_other_processors(abi: str | None) -> None:
    with pytest.raises(DeviceError, match=r"no benchmark_model is published for (mips|an unknown ABI): build one"):
        ensure_benchmark_tool(None, abi)

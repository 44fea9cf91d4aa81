"""Where `benchmark_model` comes from: the user's own file, or the published one, fetched once."""

from __future__ import annotations

import os
from pathlib import Path

from edgekit.errors import DeviceError
from edgekit.importers.weight_cache import cache_folder

URL_VARIABLE = "EDGEKIT_BENCHMARK_URL"
PUBLISHED = "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/nightly/latest"
"""Where TensorFlow publishes its tools."""

PLATFORMS = {"arm64-v8a": "android_aarch64", "armeabi-v7a": "android_arm"}
TIMEOUT_S = 10.0
_ELF = b"\x7fELF"


def ensure_benchmark_tool(given: Path | None, abi: str | None) -> Path:
    """The given file, or the cached or published one for that ABI.

    Raises DeviceError where the given file is missing, none is published for the ABI, or it cannot be fetched.
    """
    if given is not None:
        if not given.is_file():
            raise DeviceError(f"there is no benchmark_model at {given}: give its path with --benchmark-model")
        return given
    platform = PLATFORMS.get(abi or "")
    if platform is None:
        raise DeviceError(
            f"no benchmark_model is published for {abi or 'an unknown ABI'}: build one, and give --benchmark-model"
        )
    return _fetched(f"{platform}_benchmark_model")


def _fetched(name: str) -> Path:
    folder = cache_folder() / "benchmark_model"
    path = folder / name
    if path.is_file() and _is_program(path):
        return path
    url = f"{os.environ.get(URL_VARIABLE, PUBLISHED).rstrip('/')}/{name}"
    import pooch

    pooch.get_logger().setLevel("WARNING")
    try:
        path.unlink(missing_ok=True)
        pooch.retrieve(
            url, known_hash=None, fname=name, path=folder, downloader=pooch.HTTPDownloader(timeout=TIMEOUT_S)
        )
    except (OSError, ValueError) as problem:
        told = str(problem).splitlines()[0][:200]
        raise DeviceError(
            f"benchmark_model cannot be fetched from {url} ({told}): fetch or build it, and give --benchmark-model PATH"
        ) from problem
    if not _is_program(path):
        path.unlink()
        raise DeviceError(f"{url}: the server sent no program; is there a log-in page in between?")
    return path


def _is_program(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _ELF

"""What a results page must say about where its numbers come from."""

from __future__ import annotations

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ("numpy", "onnx", "onnxruntime", "ai-edge-litert", "tensorflow", "keras", "tf2onnx")


def machine_line() -> str:
    """Processor, cores, Python and date."""
    cpu = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, {datetime.date.today().isoformat()}"


def versions_line() -> str:
    """Versions of the packages that take part, where they are installed."""
    return ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name)))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []

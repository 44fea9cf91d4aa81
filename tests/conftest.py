"""Fixtures that every test may use."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run; HYPOTHESIS_PROFILE=default looks for new ones.
settings.register_profile("fixed", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


SLOW_SHARE = 4
"""One in this many of the slow tests runs by default, chosen by name: always the same ones."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help=f"run all slow tests, not one in {SLOW_SHARE} of them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out most slow tests, unless asked for them by --all, by -m, or by name."""
    if config.getoption("--all") or config.option.markexpr or any("::" in word for word in config.args):
        return
    left_out = [item for item in items if item.get_closest_marker("slow") and _share_of(item.nodeid)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _share_of(node_id: str) -> int:
    return zlib.crc32(node_id.encode()) % SLOW_SHARE


def find_data_dir() -> Path | None:
    """Folder of real images and weights: `EDGEKIT_DATA`, then `../shared/data` beside the checkout."""
    named = os.environ.get("EDGEKIT_DATA")
    candidates = [Path(named)] if named else []
    candidates.append(Path(__file__).resolve().parents[2] / "shared" / "data")
    return next((c for c in candidates if c.is_dir()), None)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real data's folder; skips where there is none."""
    found = find_data_dir()
    if found is None:
        pytest.skip("real data not found: set EDGEKIT_DATA to the folder that holds imagenet500/")
    return found


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of exports of a small mobilenet_v2 with labels: mobilenet_v2_0.35_96_{int8,fp32}.{tflite,onnx}."""
    from edgekit.pipeline.export_model import ExportRequest, export_model
    from edgekit.pipeline.model import ModelRequest
    from edgekit.pipeline.quantize_model import Int8Settings

    folder = tmp_path_factory.mktemp("labelled")
    labels = folder / "names.txt"
    labels.write_text("".join(f"class {i}\n" for i in range(1000)), encoding="utf-8")
    model = ModelRequest("mobilenet_v2", {"alpha": 0.35, "resolution": 96}, weights="none", labels=labels)
    for precision in ("int8", "float32"):
        export_model(ExportRequest(model, precision, int8=Int8Settings(calibration_images=8), out=folder))
    return folder

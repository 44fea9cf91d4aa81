"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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

"""Text form of whole graphs: any change to a builder shows as a diff.

`python tests/golden/test_golden_text.py` writes the files anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.graph.text import graph_text
from edgekit.zoo import build_model

FOLDER = Path(__file__).resolve().parent
CASES = {
    "mobilenet_v1_0.25_33": ("mobilenet_v1", {"alpha": 0.25, "resolution": 33, "classes": 10}),
    "mobilenet_v2_0.35_96": ("mobilenet_v2", {"alpha": 0.35, "resolution": 96, "classes": 10}),
}


def text_of(case: str) -> str:
    # Without hashes: the last bit of a random weight may differ between processors.
    model, options = CASES[case]
    return graph_text(build_model(model, **options), weights=False)


@pytest.mark.parametrize("case", CASES)
def test_graph_is_as_it_was(case):
    assert text_of(case) == (FOLDER / f"{case}.txt").read_text(encoding="utf-8")


if __name__ == "__main__":
    for name in CASES:
        (FOLDER / f"{name}.txt").write_text(text_of(name), encoding="utf-8")

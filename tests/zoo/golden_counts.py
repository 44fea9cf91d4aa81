"""Parameters and MACs that reference implementations and the authors' files give, by model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgekit.graph.cost import graph_cost
from edgekit.zoo import build_model

FILE = Path(__file__).resolve().parents[1] / "golden" / "interleaved_counts.json"


def golden_rows(*models: str) -> list[tuple[str, dict[str, Any], int, int]]:
    """(model, options, trained parameters, MACs) of every row of these models."""
    rows = json.loads(FILE.read_text(encoding="utf-8"))
    return [(r["model"], r["options"], r["parameters"], r["macs"]) for r in rows if r["model"] in models]


def counts(model: str, **options: Any) -> tuple[int, int]:
    """(parameters, MACs) of our graph."""
    cost = graph_cost(build_model(model, **options))
    return cost.parameters, cost.macs

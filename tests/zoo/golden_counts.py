"""Parameters and MACs that reference implementations and the authors' files give: one row for each that was counted."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

from edgekit.graph.cost import graph_cost
from edgekit.graph.ir import Graph
from edgekit.zoo import build_model

FILE = Path(__file__).resolve().parents[1] / "golden" / "zoo_counts.json"


def golden_rows(kind: str = "built") -> list[dict[str, Any]]:
    """`built`: rows with our model and options. `left_out`: rows that the zoo does not build, with the reason."""
    rows: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))[kind]
    return rows


def baseline_rows(*models: str) -> list[tuple[str, dict[str, Any], int, int]]:
    """(model, options, trained parameters, MACs) of every row of these baselines."""
    files = sorted(path for path in FILE.parent.glob("*_counts.json") if path != FILE)
    rows = [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]
    return [(r["model"], r["options"], r["parameters"], r["macs"]) for r in rows if r["model"] in models]


def counts(model: str, **options: Any) -> tuple[int, int]:
    """(parameters, MACs) of our graph."""
    return _counts(model, json.dumps(options, sort_keys=True))


@functools.cache
def _counts(model: str, options: str) -> tuple[int, int]:
    cost = graph_cost(build_model(model, **json.loads(options)))
    return cost.parameters, cost.macs


def authors_operations(graph: Graph) -> int:
    """What the authors of CondenseNet count: MACs, one for each element of a ReLU and of the classifier's bias, and one
    for each element that an average pool reads.
    """
    operations = graph_cost(graph).macs + graph.shape("logits")[-1]
    for node in graph.nodes:
        if node.op == "relu":
            operations += math.prod(graph.shape(node.output))
        elif node.op in ("avg_pool", "global_avg_pool"):
            operations += math.prod(graph.shape(node.inputs[0]))
    return operations

"""Counts parameters and MACs of every published variant into counts.json: `python -m edgekit.zoo.counts`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgekit.graph.cost import graph_cost
from edgekit.zoo import build_model, model_names, model_spec
from edgekit.zoo.rows import COUNTS_FILE, variant_key


def count_variants() -> dict[str, dict[str, int]]:
    """Build every published variant; `{variant: {"parameters": n, "macs": n}}`."""
    counts = {}
    for name in model_names():
        for published in model_spec(name).published:
            cost = graph_cost(build_model(name, **published.options))
            counts[variant_key(name, published.options)] = {"parameters": cost.parameters, "macs": cost.macs}
    return counts


def counts_text(counts: dict[str, dict[str, int]]) -> str:
    """The file's text: one variant a line, so that a change shows as one line of a diff."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in counts.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    """Rewrite the file beside this module."""
    path = Path(__file__).with_name(COUNTS_FILE)
    path.write_text(counts_text(count_variants()), encoding="utf-8")
    sys.stdout.write(f"{path.name}: {len(model_names())} models\n")


if __name__ == "__main__":
    main()

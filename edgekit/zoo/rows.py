"""The zoo as a table: every published variant with our counts beside the paper's numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

from edgekit.errors import ModelError
from edgekit.zoo.options import Value
from edgekit.zoo.registry import Published, model_names, model_spec

COUNTS_FILE = "counts.json"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One variant. parameters (trained) and macs are counted on our graph; `published` is what the source prints."""

    model: str
    paper: str
    parameters: int
    macs: int
    published: Published

    def to_json(self) -> dict[str, Any]:
        """The row as JSON can hold it."""
        printed = {f.name: getattr(self.published, f.name) for f in fields(Published)}
        return {
            "model": self.model,
            "paper": self.paper,
            "options": dict(printed.pop("options")),
            "parameters": self.parameters,
            "macs": self.macs,
            "published": printed,
        }


def variant_key(model: str, options: Mapping[str, Value]) -> str:
    """How the counts file calls a variant: `mobilenet_v1 alpha=0.5 resolution=224`."""
    return " ".join(
        [
            model,
            *(
                f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
                for name, value in sorted(options.items())
            ),
        ]
    )


def model_rows() -> tuple[ModelRow, ...]:
    """A row for every published variant of every model; the counts are read, not computed, so this takes no time.

    Raises ModelError where the counts file lacks a variant (`python -m edgekit.zoo.counts` writes it anew).
    """
    counts = json.loads(resources.files("edgekit.zoo").joinpath(COUNTS_FILE).read_text(encoding="utf-8"))
    rows = []
    for name in model_names():
        spec = model_spec(name)
        for published in spec.published:
            key = variant_key(name, published.options)
            if key not in counts:
                raise ModelError(f"{COUNTS_FILE} lacks {key!r}; run python -m edgekit.zoo.counts")
            rows.append(ModelRow(name, spec.paper, counts[key]["parameters"], counts[key]["macs"], published))
    return tuple(rows)

"""Networks by name: seeded builders whose options and published numbers are data."""

from __future__ import annotations

from edgekit.zoo import mobilenet as _mobilenet  # registers its models
from edgekit.zoo.options import Option
from edgekit.zoo.registry import (
    ModelSpec,
    Published,
    build_model,
    model_names,
    model_spec,
    resolution_from_rho,
)
from edgekit.zoo.rows import ModelRow, model_rows

FAMILIES = (_mobilenet,)

__all__ = [
    "FAMILIES",
    "ModelRow",
    "ModelSpec",
    "Option",
    "Published",
    "build_model",
    "model_names",
    "model_rows",
    "model_spec",
    "resolution_from_rho",
]

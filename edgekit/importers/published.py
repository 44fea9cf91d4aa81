"""Where published ImageNet weights live, and which of them fit a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from edgekit.errors import WeightsError
from edgekit.importers.published_baselines import baseline_rows
from edgekit.importers.published_keras import keras_rows
from edgekit.importers.published_row import PublishedWeights, Value
from edgekit.importers.published_torch import torch_rows

CLASSES = 1000
"""Outputs of every published classifier."""

PUBLISHED_WEIGHTS: tuple[PublishedWeights, ...] = (*keras_rows(), *torch_rows(), *baseline_rows())


def choose_weights(
    model: str, options: Mapping[str, Any], resolution: int, *, classifier: bool, file_name: str | None = None
) -> PublishedWeights:
    """The file for those options trained at the resolution nearest to `resolution` (the larger of two equally near).

    A file without classifier is preferred where none is wanted. Of two recipes the better. Options that a row names and
    `options` lack are taken to hold. file_name: choose among the files of that name alone. Raises WeightsError where
    nothing is published for the model, or not with these options; it names the nearest that is.
    """
    of_model = [row for row in PUBLISHED_WEIGHTS if row.model == model and file_name in (None, row.file_name)]
    if not of_model:
        what = f"{model or 'this model'}" if file_name is None else f"{model or 'this model'} as {file_name}"
        raise WeightsError(f"no ImageNet weights are published for {what}; use --weights PATH or none")
    fitting = [row for row in of_model if not _differences(row, options)]
    if not fitting:
        raise _no_such_variant(model, of_model, options)
    wanted = [row for row in fitting if row.classifier == classifier] or [row for row in fitting if row.classifier]
    return min(wanted, key=lambda row: (abs(row.resolution - resolution), -row.resolution))


def published_file(name: str) -> bool:
    """Whether a published file is called that."""
    return any(row.file_name == name for row in PUBLISHED_WEIGHTS)


def _differences(row: PublishedWeights, options: Mapping[str, Any]) -> dict[str, Value]:
    """What the row asks for and `options` say otherwise."""
    return {name: value for name, value in row.options.items() if not _equal(options.get(name, value), value)}


def _equal(given: Any, wanted: Value) -> bool:
    if isinstance(given, int | float) and isinstance(wanted, int | float):
        return math.isclose(given, wanted, rel_tol=1e-6)
    return bool(given == wanted)


def _distance(changes: Mapping[str, Value], options: Mapping[str, Any]) -> tuple[int, float]:
    """How far a variant is: options to change, then by how much the numbers among them."""
    steps = (abs(value - options[name]) for name, value in changes.items() if not isinstance(value, str))
    return len(changes), sum(steps)


def _no_such_variant(model: str, rows: Iterable[PublishedWeights], options: Mapping[str, Any]) -> WeightsError:
    changes = [_differences(row, options) for row in rows]
    nearest = min(changes, key=lambda change: _distance(change, options))
    held = " and ".join(f"{name} {_text(options[name])}" for name in nearest)
    there_are = " and ".join(
        f"{name} {', '.join(dict.fromkeys(_text(c[name]) for c in changes if c.keys() == nearest.keys()))}"
        for name in nearest
    )
    flags = " ".join(f"--{name.replace('_', '-')} {_text(value)}" for name, value in nearest.items())
    return WeightsError(
        f"no ImageNet weights are published for {model} with {held}; there are some with {there_are}; "
        f"use {flags}, --weights PATH or none"
    )


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)

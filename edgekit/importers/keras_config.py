"""Names of layers from the configuration in a `.keras` archive."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any


def layer_paths(config: bytes) -> dict[str, str]:
    """Path of each layer inside the archive's weights file -> its own name.

    Keras 3 calls the groups after classes, numbered in the order of the layers (`layers/conv2d_3`), and nests models.
    Raises ValueError for text that is not JSON.
    """
    return {path: names[-1] for path, names in layer_addresses(json.loads(config)).items()}


def layer_addresses(model: Any) -> dict[str, tuple[str, ...]]:
    """As `layer_paths`, of parsed JSON, with the names of the models around a layer before its own."""
    found: dict[str, tuple[str, ...]] = {}
    _collect(model, "layers", (), found)
    return found


def _collect(model: Any, prefix: str, around: tuple[str, ...], found: dict[str, tuple[str, ...]]) -> None:
    settings = model.get("config") if isinstance(model, dict) else None
    layers = settings.get("layers") if isinstance(settings, dict) else None
    if not isinstance(layers, list) or len(around) > 20:
        return
    used: Counter[str] = Counter()
    for layer in layers:
        if not isinstance(layer, dict) or not isinstance(layer.get("class_name"), str):
            continue
        kind = _snake_case(layer["class_name"])
        path = f"{prefix}/{kind}_{used[kind]}" if used[kind] else f"{prefix}/{kind}"
        used[kind] += 1
        own = layer.get("config", {}).get("name") if isinstance(layer.get("config"), dict) else None
        address = (*around, own if isinstance(own, str) else "")
        if isinstance(own, str):
            found[path] = address
        _collect(layer, f"{path}/layers", address, found)


def _snake_case(name: str) -> str:
    """`DepthwiseConv2D` -> `depthwise_conv2d`, as Keras 3 names groups after classes."""
    spaced = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()

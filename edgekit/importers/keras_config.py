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
    found: dict[str, str] = {}
    _collect(json.loads(config), "layers", found, depth=0)
    return found


def _collect(model: Any, prefix: str, found: dict[str, str], depth: int) -> None:
    settings = model.get("config") if isinstance(model, dict) else None
    layers = settings.get("layers") if isinstance(settings, dict) else None
    if not isinstance(layers, list) or depth > 20:
        return
    used: Counter[str] = Counter()
    for layer in layers:
        if not isinstance(layer, dict) or not isinstance(layer.get("class_name"), str):
            continue
        kind = _snake_case(layer["class_name"])
        path = f"{prefix}/{kind}_{used[kind]}" if used[kind] else f"{prefix}/{kind}"
        used[kind] += 1
        own = layer.get("config", {}).get("name") if isinstance(layer.get("config"), dict) else None
        if isinstance(own, str):
            found[path] = own
        _collect(layer, f"{path}/layers", found, depth + 1)


def _snake_case(name: str) -> str:
    """`DepthwiseConv2D` -> `depthwise_conv2d`, as Keras 3 names groups after classes."""
    spaced = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()

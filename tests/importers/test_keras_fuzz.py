"""Configurations with a wrong value somewhere: a graph or one of edgekit's errors, never anything else."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from keras_oracle import FRAMEWORKS, framework

from edgekit.errors import EdgekitError
from edgekit.importers.keras import import_keras

STRANGE = (None, True, -1, 0, 3, 2**40, 1.5, float("nan"), "x", "same", [], [None], [-1, 0], [[1, 2], 3], {}, {"a": 1})
CASES = 250


class Described:
    """A model object that gives another configuration than its own."""

    def __init__(self, model: Any, config: Any) -> None:
        self.layers, self.weights, self._config = model.layers, model.weights, config

    def get_config(self) -> Any:
        return self._config


def small_model(name: str) -> Any:
    k = framework(name)
    la = k.layers
    entry = la.Input((8, 8, 4), name="image")
    inside = k.Sequential([la.Input((8, 8, 4)), la.SeparableConv2D(4, 3, padding="same")], name="inside")
    x = la.BatchNormalization()(la.Conv2D(8, 3, padding="same", activation="relu")(inside(la.Rescaling(0.1)(entry))))
    x = la.Reshape((8, 8, 8))(la.Permute((1, 2, 4, 3))(la.Reshape((8, 8, 2, 4))(x)))
    x = la.Concatenate()([la.AveragePooling2D(2)(x), la.MaxPooling2D(2)(la.ReLU(6.0)(x * 2.0))])
    x = la.Cropping2D(1)(la.ZeroPadding2D(1)(la.DepthwiseConv2D(3)(x)[:, :, ::1]))
    x = la.Add()([x, la.Normalization(mean=0.5, variance=2.0)(x)])
    return k.Model(entry, la.Softmax()(la.Dense(3)(la.Flatten()(la.Dropout(0.1)(x)))))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a configuration."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, item in items:
        found += [(*path, key), *places(item, (*path, key))]
    return found


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_strange_values(name: str) -> None:
    model = small_model(name)
    good = json.loads(json.dumps(model.get_config(), default=list))
    import_keras(Described(model, good))
    rng = np.random.default_rng(0)
    where = places(good)
    refused = list[str]()
    for _ in range(CASES):
        config = copy.deepcopy(good)
        *path, last = where[int(rng.integers(len(where)))]
        target = config
        for key in path:
            target = target[key]
        choice = int(rng.integers(len(STRANGE) + 1))
        if choice == len(STRANGE):
            del target[last]
        else:
            target[last] = copy.deepcopy(STRANGE[choice])
        try:
            import_keras(Described(model, config))
        except EdgekitError as problem:
            refused.append(str(problem))
        except Exception as problem:
            raise AssertionError(f"{[*path, last]} = {target}") from problem
    assert CASES / 10 < len(refused) < CASES
    assert not any("\n" in message or len(message) > 600 for message in refused)

"""Runs a Keras model and its import, and compares."""

from __future__ import annotations

import importlib
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edgekit.graph import Graph
from edgekit.graph.interpret import interpret
from edgekit.importers.keras import import_keras

FRAMEWORKS = ("keras", "tf_keras")
"""Keras 3, and Keras 2 as TensorFlow keeps it alive."""
FORMS = ("object", ".keras", ".h5")


def framework(name: str) -> Any:
    """keras or tf_keras; skips where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both warn about their own imports
        try:
            return importlib.import_module(name)
        except ImportError:
            return pytest.skip(f"{name} is not installed")


def randomised(model: Any, *, gamma: float = 1.0, spread: float = 1.0, seed: int = 0) -> Any:
    """The model with every weight random, batch norms and biases too; kernels keep their random initial values.

    Numbers are drawn from a range of that spread around `gamma` (scales), 1 (variances) or 0.
    """
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = []
        for weight in model.weights:
            value, name = np.asarray(weight), getattr(weight, "path", weight.name)
            if value.dtype.kind == "f" and "kernel" not in name:
                centre = gamma if "gamma" in name else 1.0 if "variance" in name else 0.0
                value = rng.uniform(centre - spread / 2, centre + spread / 2, value.shape).astype(value.dtype)
            values.append(value)
        model.set_weights(values)
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):  # Normalization computes with copies
            layer.finalize_state()
    return model


def saved(model: Any, path: Path) -> Path:
    """The file that `model.save` writes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # HDF5 is called legacy
        model.save(path)
    return path


def imported(model: Any, form: str, folder: Path, **options: Any) -> Graph:
    """The import of a model in one of FORMS."""
    return import_keras(model if form == "object" else saved(model, folder / f"model{form}"), **options)


def feeds_of(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(graph.shape(name), np.float32) * 2 for name in graph.inputs}


def outputs_of(model: Any, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What Keras computes, flattened."""
    values = list(feeds.values())
    found = model(values[0] if len(values) == 1 else values, training=False)
    found = found if isinstance(found, list | tuple) else [found]
    return [np.asarray(value) for value in found]


def check_graph(graph: Graph, model: Any) -> Graph:
    """Compare every output of the import with Keras."""
    feeds = feeds_of(graph)
    wanted, found = outputs_of(model, feeds), interpret(graph, feeds)
    assert len(wanted) == len(graph.outputs)
    for name, want in zip(graph.outputs, wanted, strict=True):
        assert found[name].shape == want.shape, name
        atol = 2e-6 * max(1.0, float(np.abs(want).max()))
        np.testing.assert_allclose(found[name], want, rtol=1e-5, atol=atol, err_msg=name)
    return graph


def check(model: Any, form: str, folder: Path, **options: Any) -> Graph:
    """Import a model in one of FORMS and compare; returns the graph."""
    return check_graph(imported(randomised(model), form, folder, **options), model)


def ops(graph: Graph) -> list[str]:
    """The graph's ops in order."""
    return [node.op for node in graph.nodes]


Edit = Callable[[Any], Any]
"""What happens to a parsed configuration: a new one, or the same one changed in place (None)."""


def with_config(path: Path, edit: Edit) -> Path:
    """A copy of a saved model, its configuration edited; a text or bytes replace it whole."""
    target = path.with_name(f"edited{path.suffix}")
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                new.writestr(name, _edited(data, edit) if name == "config.json" else data)
        return target
    target.write_bytes(path.read_bytes())
    with h5py.File(target, "r+") as file:
        text = file.attrs["model_config"]
        file.attrs["model_config"] = _edited(text.encode() if isinstance(text, str) else text, edit)
    return target


def _edited(data: bytes, edit: Edit) -> bytes:
    config = json.loads(data)
    changed = edit(config)
    if isinstance(changed, bytes):
        return changed
    return json.dumps(config if changed is None else changed).encode()

"""Runs a graph's Keras model and compares it with the numpy interpreter."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from edgekit.graph import Graph
from edgekit.graph.interpret import interpret

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Keras warns about its own imports
    keras = pytest.importorskip("keras")


def feeds_of(graph: Graph, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """A random array for each input."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-2, 2, graph.shape(name)).astype(np.float32) for name in graph.inputs}


def run_model(model: Any, feeds: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """The model's outputs, in inference."""
    values = list(feeds.values())
    found = model(values[0] if len(values) == 1 else values, training=False)
    return [keras.ops.convert_to_numpy(v) for v in (found if isinstance(found, list) else [found])]


def check_outputs(graph: Graph, model: Any, rtol: float = 1e-4) -> None:
    """Every output of the model is the interpreter's, to `rtol` of the greatest."""
    feeds = feeds_of(graph)
    expected = interpret(graph, feeds)
    found = run_model(model, feeds)
    assert len(found) == len(graph.outputs)
    for name, value in zip(graph.outputs, found, strict=True):
        greatest = float(np.abs(expected[name]).max())
        assert greatest > 0, name
        assert value.shape == expected[name].shape, name
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=rtol * greatest, err_msg=name)


def assert_same_weights(left: Graph, right: Graph) -> None:
    """All constants are equal to the bit, and the nodes too."""
    assert left.nodes == right.nodes
    assert left.tensors.keys() == right.tensors.keys()
    for name, tensor in left.tensors.items():
        other = right.tensor(name)
        assert (tensor.shape, tensor.dtype, tensor.is_constant) == (other.shape, other.dtype, other.is_constant)
        if tensor.is_constant:
            np.testing.assert_array_equal(tensor.array, other.array, err_msg=name)

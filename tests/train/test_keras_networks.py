"""Networks of the zoo as Keras models: equal to the interpreter, exact round trips, saved and loaded, trained."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from keras_support import assert_same_weights, check_outputs, feeds_of, keras, run_model

import edgekit.train
from edgekit.graph import Graph
from edgekit.passes.registry import apply_passes
from edgekit.train.keras_model import graph_with_weights, keras_model
from edgekit.train.layer_names import layer_name
from edgekit.zoo import build_model

SMALL = {"resolution": 64, "classes": 10}
NETWORKS = [
    ("mobilenet_v1", {**SMALL, "alpha": 0.25}),
    ("mobilenet_v3_small", SMALL),
    ("shufflenet_v1", {**SMALL, "groups": 3, "alpha": 0.5}),
    ("shufflenet_v2", {**SMALL, "alpha": 0.5}),
    ("squeezenext", {"resolution": 67, "classes": 10}),
    ("squeezenet", {"resolution": 67, "classes": 10}),
    ("igcv1_cifar", {"depth": 8}),
    ("igcv2_cifar", {"width": 48, "depth": 8}),
    ("igcv3", {**SMALL, "alpha": 0.5}),
    ("condensenet_cifar", {"depth": 20}),
    ("condensenet_cifar", {"depth": 20, "form": "trainable"}),
    ("resnet_cifar", {"depth": 20}),
    ("densenet_cifar", {"depth": 22}),
    ("inception_v1", SMALL),
    ("lenet5", {}),
]


def network(name: str, options: dict[str, object]) -> Graph:
    """The network with every weight random, batch norms too: a mistake in one of them would show."""
    graph, rng = build_model(name, **options), np.random.default_rng(0)
    ranges = {"gamma": (0.6, 1.4), "beta": (-0.3, 0.3), "mean": (-0.3, 0.3), "variance": (0.6, 1.4), "bias": (-1, 1)}
    for tensor in graph.constants():
        if (bounds := ranges.get(tensor.name.rpartition("/")[2])) is not None:
            graph.set_tensor(tensor.with_data(rng.uniform(*bounds, tensor.shape).astype(np.float32)))
    return graph


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_network_equals_the_reference_and_its_weights_come_back(name, options):
    graph = network(name, options)
    model = keras_model(graph)
    check_outputs(graph, model)
    assert {layer_name(node.name) for node in graph.nodes} <= {layer.name for layer in model.layers}
    assert_same_weights(graph, graph_with_weights(graph, model))


@pytest.mark.parametrize(("name", "options"), [NETWORKS[i] for i in (1, 3, 9)])
def test_network_after_the_passes(name, options):
    graph, _ = apply_passes(network(name, options))
    model = keras_model(graph)
    check_outputs(graph, model)
    assert_same_weights(graph, graph_with_weights(graph, model))


@pytest.mark.parametrize("index", [2, 3, 9])
def test_a_saved_model_is_loaded_with_its_layers(index, tmp_path):
    graph = network(*NETWORKS[index])
    model = keras_model(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras's own, about numpy
        model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    feeds = feeds_of(graph)
    np.testing.assert_array_equal(run_model(loaded, feeds)[0], run_model(model, feeds)[0])
    assert_same_weights(graph, graph_with_weights(graph, loaded))


def test_training_changes_the_weights_that_come_back():
    graph = network("shufflenet_v2", {"resolution": 32, "classes": 4, "alpha": 0.5})
    model = keras_model(graph, momentum=0.5)
    norms = [node for node in graph.nodes if node.op == "batch_norm"]
    assert all(isinstance(model.get_layer(layer_name(n.name)), keras.layers.BatchNormalization) for n in norms)
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((8, 32, 32, 3), np.float32), np.arange(8) % 4
    losses = model.fit(images, labels, batch_size=8, epochs=6, shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    trained = graph_with_weights(graph, model)
    same = [t.name for t in graph.constants() if np.array_equal(t.array, trained.tensor(t.name).array)]
    assert same == []
    check_outputs(trained, model)


BACKEND_SCRIPT = """
import sys
import numpy as np
from edgekit.train.keras_model import graph_with_weights, keras_model
from edgekit.graph.interpret import interpret
from edgekit.zoo import build_model
import keras
assert keras.backend.backend() == sys.argv[1]
for name, options in (("shufflenet_v1", {"groups": 3}), ("condensenet", {}), ("shufflenet_v2", {})):
    graph = build_model(name, resolution=64, classes=10, **options)
    model = keras_model(graph)
    x = np.random.default_rng(0).uniform(-2, 2, graph.shape("input")).astype(np.float32)
    found = keras.ops.convert_to_numpy(model(x, training=False))
    expected = interpret(graph, {"input": x})[graph.outputs[0]]
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), name
    back = graph_with_weights(graph, model)
    assert all(np.array_equal(t.array, back.tensor(t.name).array) for t in graph.constants()), name
assert "tensorflow" not in sys.modules
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_backends(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", BACKEND_SCRIPT, backend]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "equal\n", done.stderr


def test_the_training_path_makes_no_call_of_tensorflow():
    folder = Path(edgekit.train.__file__).parent
    sources = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
    assert len(sources) > 1
    for source in sources:
        imported = [name for _, name in modules_of(source)]
        assert not {"tensorflow", "jax", "torch"} & set(imported)


def modules_of(source: str) -> Iterator[tuple[int, str]]:
    """(line, package) of every import."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, (node.module or "").partition(".")[0]

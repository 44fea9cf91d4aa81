"""A float graph as a Keras 3 model, and trained weights back into the graph.

Written with `keras.layers` and `keras.ops` alone, so the model runs on each of Keras's backends.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from edgekit.errors import ModelError, WeightsError
from edgekit.graph.ir import Graph, Node
from edgekit.train.keras_rows import Site, make_layers
from edgekit.train.layer_names import layer_name


def keras_model(graph: Graph, *, momentum: float = 0.99, batch: int | None = None) -> Any:
    """A `keras.Model` that computes what the graph does, with its weights; layers are called like nodes (`layer_name`).

    Kernels have the same layout in both. A node's helpers (its padding, its fused activation) are called like its layer
    with `->` and a word behind. Nodes that have all weights in common are one layer, under the first one's name.
    momentum: of batch norms; a graph has them as long as no pass has folded them. batch: its size; None leaves it open,
    a number lets TensorFlow's converter write shapes as constants.
    Raises UnsupportedOpError for what no Keras layer can be, ModelError for nodes that share only some weights.
    """
    inputs = {name: keras.Input(graph.shape(name)[1:], batch, name=layer_name(name)) for name in graph.inputs}
    values: dict[str, Any] = dict(inputs)
    owners, made = weight_owners(graph), dict[str, tuple[Any, ...]]()
    for node in graph.nodes:
        site = Site(graph, node, momentum)
        owner = owners.get(site.constants, node)
        layers = made.get(owner.name) or made.setdefault(owner.name, make_layers(site))
        result: Any = [values[name] for name in site.activations]
        result = result[0] if len(result) == 1 else result
        for layer in layers:
            result = layer(result)
        values.update(zip(node.outputs, result if isinstance(result, list) else [result], strict=True))
    outputs = [values[name] for name in graph.outputs]
    ends = [ends[0] if len(ends) == 1 else ends for ends in (list(inputs.values()), outputs)]
    model = keras.Model(*ends, name=layer_name(graph.name))
    for constants, node in owners.items():
        layer = model.get_layer(layer_name(node.name))
        arrays = [graph.tensor(name).array for name in constants]
        layer.set_weights([a.reshape(w.shape) for a, w in zip(arrays, layer.weights, strict=True)])
    return model


def graph_with_weights(graph: Graph, model: Any) -> Graph:
    """A copy of the graph with the weights of a Keras model that `keras_model` made of it, under the same names.

    Raises WeightsError where the model has no such layer, or one with other weights.
    """
    result = graph.copy()
    for constants, node in weight_owners(graph).items():
        name = layer_name(node.name)
        try:
            weights = [np.asarray(w) for w in model.get_layer(name).weights]
        except ValueError:
            raise WeightsError(
                f"the Keras model {model.name!r} has no layer {name!r} for node {node.name!r}: "
                "give the model that was made of this graph"
            ) from None
        tensors = [graph.tensor(constant) for constant in constants]
        if [t.size for t in tensors] != [w.size for w in weights]:
            raise WeightsError(
                f"layer {name!r} of the Keras model holds weights {[w.shape for w in weights]}, node {node.name!r} "
                f"has {[t.shape for t in tensors]}: give the model that was made of this graph"
            )
        for tensor, weight in zip(tensors, weights, strict=True):
            result.set_tensor(tensor.with_data(weight.reshape(tensor.shape).astype(tensor.dtype)))
    return result


def weight_owners(graph: Graph) -> dict[tuple[str, ...], Node]:
    """By the names of weights, in the order of a layer's: the first node that has them.

    Raises ModelError where two nodes share weights, but are not one layer: training would set them apart.
    """
    owners: dict[tuple[str, ...], Node] = {}
    readers: dict[str, Site] = {}
    for node in graph.nodes:
        site = Site(graph, node)
        for name in site.constants:
            first = readers.setdefault(name, site)
            if (first.constants, first.kind) != (site.constants, site.kind):
                raise ModelError(
                    f"nodes {first.node.name!r} and {node.name!r} share the weights {name!r} but differ otherwise, so "
                    "they cannot be one Keras layer: give each its own copy"
                )
        if site.constants:
            owners.setdefault(site.constants, node)
    return owners

"""A graph's structure as canonical JSON: nodes, shapes, scales and metadata; the constants' values travel beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edgekit.compress.index import canonical_json
from edgekit.errors import ContainerError, EdgekitError
from edgekit.graph.ir import Array, Attr, Graph, Node, Tensor
from edgekit.graph.quant_params import QuantParams
from edgekit.graph.validate import validate


def graph_to_json(graph: Graph) -> str:
    """Everything but the values of constants."""
    return canonical_json(
        {
            "name": graph.name,
            "inputs": graph.inputs,
            "outputs": graph.outputs,
            "metadata": graph.metadata,
            "nodes": [[n.name, n.op, n.inputs, n.outputs, dict(n.attrs)] for n in graph.nodes],
            "tensors": [[t.name, t.shape, t.dtype, t.is_constant, _quant(t.quant)] for t in graph.tensors.values()],
        }
    )


def graph_from_json(text: str, constants: Mapping[str, Array]) -> Graph:
    """The graph, validated. Raises ContainerError where the text or a constant does not fit."""
    try:
        return _graph(json.loads(text), constants)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise ContainerError(f"the graph in the container is damaged ({error}): compress the model again") from error
    except ContainerError:
        raise
    except EdgekitError as error:
        raise ContainerError(f"the graph in the container does not hold: {error}") from error


def _quant(quant: QuantParams | None) -> list[Any] | None:
    return None if quant is None else [quant.scale, quant.zero_point, quant.dtype, quant.axis]


def _graph(document: Mapping[str, Any], constants: Mapping[str, Array]) -> Graph:
    graph = Graph(document["name"], document["inputs"], document["outputs"])
    graph.metadata = dict(document["metadata"])
    for name, shape, dtype, constant, quant in document["tensors"]:
        params = None if quant is None else QuantParams(tuple(quant[0]), tuple(quant[1]), quant[2], quant[3])
        if not constant:
            graph.add_tensor(Tensor(name, tuple(shape), dtype, None, params))
            continue
        if name not in constants:
            raise ContainerError(f"the container has no weights for tensor {name!r}: compress the model again")
        tensor = Tensor.constant(name, constants[name], params)
        if tensor.shape != tuple(shape) or tensor.dtype != dtype:
            raise ContainerError(f"tensor {name!r} is {tensor.dtype}{tensor.shape}, the graph wants {dtype}{shape}")
        graph.add_tensor(tensor)
    for name, op, inputs, outputs, attrs in document["nodes"]:
        graph.add_node(Node(name, op, tuple(inputs), tuple(outputs), {k: _attr(v) for k, v in attrs.items()}))
    validate(graph)
    return graph


def _attr(value: Attr) -> Attr:
    return tuple(_attr(part) for part in value) if isinstance(value, list) else value

"""Runs images through a network one layer with weights at a time, so that each can be changed when its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from edgekit.errors import GraphError
from edgekit.graph.interpret import interpret
from edgekit.graph.ir import Array, Graph, Node

Runner = Callable[[Mapping[str, Array]], Mapping[str, Array]]
Engine = Callable[[Graph], Runner]
"""Makes a function from a graph's inputs to its outputs; activations of rank 4 go in and come out as (1, C, H, W)."""
State = dict[str, list[Array]]
"""Activation -> its value for each image, as an `Engine` gives them."""


def numpy_engine(graph: Graph) -> Runner:
    """Runs the graph by the numpy reference: for small networks, and where no runtime is installed."""

    def run(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        values = interpret(graph, {name: _channels_last(value) for name, value in feeds.items()})
        return {name: _channels_first(value) for name, value in values.items()}

    return run


def subgraph(graph: Graph, inputs: Iterable[str], outputs: Sequence[str]) -> Graph:
    """The part of the graph that leads from the activations `inputs` to `outputs`; unused inputs are left out."""
    given = set(inputs)
    part = graph.copy()
    for node in graph.nodes:
        if given.issuperset(node.outputs):
            part.remove_node(node)
    part.outputs = tuple(outputs)
    part.inputs = ()
    part.drop_unused()
    read = {name for node in part.nodes for name in node.inputs}
    part.inputs = tuple(name for name in graph.tensors if name in given and name in read)
    return part


def walk(
    graph: Graph,
    images: Sequence[Array],
    engine: Engine,
    layers: Sequence[Node],
    visit: Callable[[Node, State], None],
    outputs: Sequence[str],
) -> list[tuple[Array, ...]]:
    """Run images (1, H, W, C) through the graph and return `outputs` of each, as the engine gives them.

    Before a layer is run, `visit(layer, state)` may give its constants other values in `graph`; state holds the
    activations that are still needed, the layer's input among them, as the layers before it made them.
    Raises GraphError for a graph of more than one input.
    """
    if len(graph.inputs) != 1:
        raise GraphError(f"graph {graph.name!r} has {len(graph.inputs)} inputs; images go into one")
    state: State = {graph.inputs[0]: [_channels_first(image) for image in images]}
    pending = list(graph.nodes)
    names = {layer.name for layer in layers}
    _advance(graph, engine, state, pending, names, outputs)
    for layer in layers:
        visit(layer, state)
        names.discard(layer.name)
        _advance(graph, engine, state, pending, names, outputs)
    return [tuple(state[name][i] for name in outputs) for i in range(len(images))]


def _advance(
    graph: Graph, engine: Engine, state: State, pending: list[Node], held: set[str], outputs: Sequence[str]
) -> None:
    """Run every pending node that waits for none of the layers in `held`, and drop what nobody reads any more."""
    known = {*state, *(t.name for t in graph.constants())}
    ready = []
    for node in pending:
        if node.name not in held and known.issuperset(node.inputs):
            known.update(node.outputs)
            ready.append(node)
    if not ready:
        return
    done = {node.name for node in ready}
    pending[:] = [node for node in pending if node.name not in done]
    needed = {name for node in pending for name in node.inputs} | set(outputs)
    made = [name for node in ready for name in node.outputs if name in needed]
    if made:
        _run(graph, engine, state, made)
    for name in [name for name in state if name not in needed]:
        del state[name]


def _run(graph: Graph, engine: Engine, state: State, made: Sequence[str]) -> None:
    part = subgraph(graph, state, made)
    run = engine(part)
    count = len(next(iter(state.values())))
    results = [run({name: state[name][i] for name in part.inputs}) for i in range(count)]
    state.update({name: [result[name] for result in results] for name in made})


def _channels_first(value: Array) -> Array:
    return np.ascontiguousarray(value.transpose(0, 3, 1, 2)) if value.ndim == 4 else value


def _channels_last(value: Array) -> Array:
    return np.ascontiguousarray(value.transpose(0, 2, 3, 1)) if value.ndim == 4 else value

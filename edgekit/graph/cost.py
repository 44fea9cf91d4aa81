"""What a graph costs: parameters, multiply-adds, memory traffic, peak activation memory, bytes."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.graph.ir import Graph, Node
from edgekit.graph.ops import op_spec
from edgekit.graph.text import form_text

FIXED = "fixed"
"""Metadata's key for the names of constants that are part of the structure: no training changes them."""


@dataclass(frozen=True, slots=True)
class NodeCost:
    """One node. macs: multiply-adds of its weights. read/written: bytes of activations and weights moved, each once.

    form: window, stride and groups in short. input_shape: of its first input.
    """

    name: str
    op: str
    form: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    read_bytes: int
    written_bytes: int

    @property
    def memory_access_bytes(self) -> int:
        """Memory-access cost of ShuffleNet V2 (arXiv:1807.11164, section 2), in bytes."""
        return self.read_bytes + self.written_bytes


@dataclass(frozen=True, slots=True)
class GraphCost:
    """Totals of a graph, and one row a node.

    parameters: trained weights, without batch norm statistics and what the metadata calls fixed. macs: multiply-adds
    of convolutions and dense layers. weight_bytes: constants in memory. peak_activation_bytes: the most that live
    activations take at once, in execution order, inputs and outputs of the running node included.
    """

    parameters: int
    macs: int
    weight_bytes: int
    memory_access_bytes: int
    peak_activation_bytes: int
    nodes: tuple[NodeCost, ...]


def graph_cost(graph: Graph) -> GraphCost:
    """Count everything once. A constant that several nodes share counts once in the totals."""
    rows = tuple(node_cost(graph, node) for node in graph.nodes)
    untrained = {name for node in graph.nodes for name in _untrained(graph, node)}
    return GraphCost(
        parameters=sum(t.size for t in graph.constants() if t.name not in untrained),
        macs=sum(row.macs for row in rows),
        weight_bytes=sum(t.nbytes for t in graph.constants()),
        memory_access_bytes=sum(row.memory_access_bytes for row in rows),
        peak_activation_bytes=peak_activation_bytes(graph),
        nodes=rows,
    )


def node_cost(graph: Graph, node: Node) -> NodeCost:
    """Cost of one node."""
    spec = op_spec(node.op)
    inputs, outputs = [graph.tensor(i) for i in node.inputs], [graph.tensor(o) for o in node.outputs]
    untrained = _untrained(graph, node)
    return NodeCost(
        name=node.name,
        op=node.op,
        form=form_text(graph, node),
        input_shape=inputs[0].shape,
        output_shape=outputs[0].shape,
        parameters=sum(t.size for t in inputs if t.is_constant and t.name not in untrained),
        macs=spec.macs([t.shape for t in inputs], [t.shape for t in outputs]) if spec.macs else 0,
        read_bytes=sum(t.nbytes for t in inputs),
        written_bytes=sum(t.nbytes for t in outputs),
    )


def peak_activation_bytes(graph: Graph) -> int:
    """The most bytes of activations that live at once when nodes run in order."""
    last_use = dict.fromkeys(graph.inputs, 0)
    for position, node in enumerate(graph.nodes):
        last_use.update((name, position) for name in node.inputs if name in last_use)  # constants are not in it
        last_use.update((name, position) for name in node.outputs)
    last_use.update((name, len(graph.nodes)) for name in graph.outputs)
    freed = [0] * (len(graph.nodes) + 1)
    for name, position in last_use.items():
        freed[position] += graph.tensor(name).nbytes
    live = peak = sum(graph.tensor(name).nbytes for name in graph.inputs)
    for node, dying in zip(graph.nodes, freed, strict=False):
        live += sum(graph.tensor(name).nbytes for name in node.outputs)
        peak = max(peak, live)
        live -= dying
    return peak


def _untrained(graph: Graph, node: Node) -> tuple[str, ...]:
    """Inputs of the node that training does not change: statistics, and what the graph's metadata calls fixed."""
    statistics = node.inputs[3:5] if node.op == "batch_norm" else ()
    return (*statistics, *(name for name in node.inputs if name in graph.metadata.get(FIXED, ())))

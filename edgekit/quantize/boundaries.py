"""Where int8 meets other types: the graph's inputs and outputs."""

from __future__ import annotations

from typing import Literal

from edgekit.errors import QuantizationError
from edgekit.graph.ir import Graph, Node, Tensor
from edgekit.graph.quant_params import QuantParams

IoType = Literal["int8", "uint8", "float32"]
IO_TYPES = ("int8", "uint8", "float32")


def set_io(graph: Graph, io: IoType) -> None:
    """Give the int8 graph's inputs and outputs the wished type; boundary nodes convert, the caller's names stay.

    Raises QuantizationError for an unknown type.
    """
    check_io(io)
    if io == "int8":
        return
    for name in graph.inputs:
        _convert_input(graph, name, io)
    for name in graph.outputs:
        _convert_output(graph, name, io)


def check_io(io: str) -> None:
    """Raise QuantizationError for an unknown type of inputs and outputs."""
    if io not in IO_TYPES:
        raise QuantizationError(f"io {io!r} is none of {', '.join(IO_TYPES)}")


def _convert_input(graph: Graph, name: str, io: IoType) -> None:
    inner = graph.unique_name(f"{name}_int8")
    graph.rename_tensor(name, inner)
    graph.inputs = tuple(name if i == inner else i for i in graph.inputs)
    graph.add_tensor(_outer(graph.tensor(inner), name, io))
    graph.add_node(Node(inner, "quantize", (name,), (inner,)), before=graph.nodes[0])


def _convert_output(graph: Graph, name: str, io: IoType) -> None:
    if io == "float32" and _hand_out_float(graph, name):
        return
    inner = graph.unique_name(f"{name}_int8")
    graph.rename_tensor(name, inner)
    graph.outputs = tuple(name if o == inner else o for o in graph.outputs)
    graph.add_tensor(_outer(graph.tensor(inner), name, io))
    op = "dequantize" if io == "float32" else "quantize"
    graph.add_node(Node(graph.unique_name(f"{name}_{op}"), op, (inner,), (name,)))


def _hand_out_float(graph: Graph, name: str) -> bool:
    """Where `name` was float just before it was quantized for output, hand that value out instead."""
    producer = graph.producer(name)
    if producer is None or producer.op != "quantize" or graph.consumers(name):
        return False
    (source,) = producer.inputs
    if graph.tensor(source).quant is not None:
        return False
    graph.remove_node(producer)
    graph.outputs = tuple(source if o == name else o for o in graph.outputs)
    graph.drop_unused()
    graph.rename_tensor(source, name)
    return True


def _outer(inner: Tensor, name: str, io: IoType) -> Tensor:
    if io == "float32" or inner.quant is None:
        return Tensor(name, inner.shape, "float32")
    params = QuantParams.per_tensor(inner.quant.scale[0], inner.quant.zero_point[0] + 128, "uint8")
    return Tensor(name, inner.shape, "uint8", quant=params)

"""Writes a graph as a TFLite file."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.errors import GraphError
from edgekit.export.tflite_metadata import EDGEKIT, STANDARD, append_labels, edgekit_buffer, standard_buffer
from edgekit.export.tflite_model import TfliteModel
from edgekit.export.tflite_ops import write_node
from edgekit.export.tflite_reading import builtin_names, opened
from edgekit.graph.ir import Graph


def tflite_bytes(graph: Graph, *, expose: Sequence[str] = ()) -> bytes:
    """The graph as a TFLite file: float, with float16 weights or int8, as its tensors are.

    expose: activations to add as outputs, for comparisons layer by layer. Batch and all shapes are static, the
    signature is `serving_default`, and the metadata that Android's tools read is included, with the class labels as an
    attached file. The same graph gives the same bytes.
    Raises UnsupportedOpError for an op that TFLite lacks (or that a pass must lower before), GraphError for an
    unknown tensor in `expose`.
    """
    outputs = (*graph.outputs, *_extra_outputs(graph, expose))
    model = TfliteModel(graph)
    for name in graph.inputs:
        model.tensor(name)
    for node in graph.nodes:
        write_node(model, node)
    model.add_metadata(STANDARD, standard_buffer(graph, outputs))
    model.add_metadata(EDGEKIT, edgekit_buffer(graph))
    return append_labels(model.finish(graph.inputs, outputs), graph)


def _extra_outputs(graph: Graph, expose: Sequence[str]) -> list[str]:
    """The tensors of `expose` that are no outputs yet. Raises GraphError for one that no node makes."""
    made = {name for node in graph.nodes for name in node.outputs}
    unknown = next((name for name in expose if name not in made), None)
    if unknown is not None:
        raise GraphError(f"cannot expose {unknown!r}: no node of graph {graph.name!r} makes it")
    return [name for name in dict.fromkeys(expose) if name not in graph.outputs]


def op_names(data: bytes) -> list[str]:
    """Names of a TFLite file's operators (CONV_2D, ...) in the order in which they run.

    Raises ImportFileError for bytes that are no TFLite file, or a damaged one.
    """
    names = builtin_names()
    with opened(data) as model:
        codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
        numbers = [max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) for code in codes]
        graph = model.Subgraphs(0)
        return [names.get(numbers[graph.Operators(i).OpcodeIndex()], "UNKNOWN") for i in range(graph.OperatorsLength())]

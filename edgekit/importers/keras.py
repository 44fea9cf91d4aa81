"""Imports Keras models: `.keras` archives and HDF5 files of Keras 2 and 3, without TensorFlow, and model objects.

`keras_source` reads, `keras_model` is the configuration as plain values, `keras_table` the table of layers and
operations. No code of a file is ever run.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edgekit import __version__
from edgekit.data.preprocess import Preprocessing
from edgekit.errors import GraphError, ImportFileError, UnsupportedOpError
from edgekit.graph.ir import Graph
from edgekit.graph.validate import check_finite, validate
from edgekit.importers.keras_calls import Call, Ref, is_int
from edgekit.importers.keras_context import MAX_ELEMENTS, KerasContext, Value, flat
from edgekit.importers.keras_model import KerasLayer, KerasModel
from edgekit.importers.keras_source import Address, open_source
from edgekit.importers.keras_table import converter
from edgekit.importers.onnx_names import clean
from edgekit.importers.onnx_patterns import recognise_patterns
from edgekit.importers.onnx_view import View

REMEDY = "input_shape= (--input-shape 1,224,224,3 or the like)"
SMALL_FACTOR, LARGE_OFFSET = 1 / 50, 2.0
"""A model whose first op multiplies by less, or adds more, takes its pixels as 0..255."""
Step = tuple[KerasLayer, int]
"""A layer and which of its calls."""


def import_keras(model: Any, *, name: str | None = None, input_shape: Sequence[int] | None = None) -> Graph:
    """A functional or sequential Keras model as a float graph: the path of a `.keras` or `.h5` file, or the object.

    The batch becomes 1. input_shape: (1, height, width, channels) of the only input, where the model leaves it open.
    name: the graph's (by default the file's or the model's). Layers keep their names; those of a model inside get its
    name in front, and further calls of a layer a number behind.
    Raises ImportFileError for what cannot be read or taken, UnsupportedOpError for a layer outside the tables,
    WeightsError for damaged files and weights that do not fit, GraphError for weights that hold NaN or infinity.
    """
    with open_source(model) as source:
        context = KerasContext(source)
        inputs = [_add_input(context, layer, input_shape) for layer in _input_layers(source.model, source.label)]
        if input_shape is not None and len(inputs) != 1:
            raise ImportFileError(f"{source.label}: input_shape= is for one input, this model has {len(inputs)}")
        outputs = _run_model(context, source.model, inputs, ())
    graph = context.graph
    for ref, value in zip(source.model.outputs, outputs, strict=True):
        graph.outputs = (*graph.outputs, _output(context, ref, value))
    graph.name = name or source.title
    recognise_patterns(graph)
    graph.metadata = {
        "model": {"name": graph.name},
        "weights": dict(source.origin),
        "edgekit": __version__,
        **_pixels(graph),
    }
    check_finite(graph, source.label)
    return validate(graph, f"importing {source.label}")


# -- inputs and outputs ------------------------------------------------------------------------------------------------


def _input_layers(model: KerasModel, label: str) -> list[KerasLayer]:
    by_name = {layer.name: layer for layer in model.layers}
    found = [by_name.get(ref.layer) for ref in model.inputs]
    layers = [layer for layer in found if layer is not None and layer.kind == "InputLayer"]
    if not layers or len(layers) != len(found) or len(set(model.inputs)) != len(found):
        raise ImportFileError(f"{label}: its inputs are not input layers of its own: build it from keras.Input")
    return layers


def _add_input(context: KerasContext, layer: KerasLayer, wanted: Sequence[int] | None) -> View:
    where = f"{context.source.label}: input {layer.name!r}"
    dims = next((layer.config[k] for k in ("batch_shape", "batch_input_shape") if layer.config.get(k)), None)
    if dims is None and wanted is None:
        raise ImportFileError(f"{where} has no shape: give {REMEDY}")
    dims = [None] * len(wanted or ()) if dims is None else dims
    if not isinstance(dims, list | tuple) or not all(d is None or (is_int(d) and 0 < d <= MAX_ELEMENTS) for d in dims):
        raise ImportFileError(f"{where} has a shape that makes no sense: {str(dims)[:60]}")
    if layer.config.get("dtype") == "string":
        raise ImportFileError(f"{where} takes texts: edgekit takes images and float vectors")
    text = f"({', '.join('?' if d is None else str(d) for d in dims)})"
    if wanted is not None:
        fits = len(wanted) == len(dims) and all(d in (None, w) for d, w in zip(dims[1:], wanted[1:], strict=True))
        if not fits or min(wanted, default=0) < 1 or wanted[0] != 1:
            raise ImportFileError(f"{where} has shape {text}: input_shape={tuple(wanted)} does not fit it")
        dims = wanted
    if None in dims[1:]:
        raise ImportFileError(f"{where} has the shape {text}, open in axis {dims.index(None, 1)}: give {REMEDY}")
    if not 2 <= len(dims) <= 4:
        raise ImportFileError(f"{where} has shape {text}: edgekit takes images (N, H, W, C) and vectors (N, F)")
    try:
        return context.add_input(layer.name, (1, *(int(d) for d in dims[1:])))
    except ImportFileError as problem:
        raise ImportFileError(f"{where} {problem}") from None


def _output(context: KerasContext, ref: Ref, value: Value) -> str:
    """The tensor of an output. Each output has a tensor of its own."""
    where = f"{context.source.label}: the output of layer {ref.layer!r}"
    if not isinstance(value, View):
        raise ImportFileError(f"{where} does not depend on the input")
    try:
        tensor = context.tensor(value)
    except (ImportFileError, GraphError) as problem:
        raise ImportFileError(f"{where} {problem}") from None
    taken = tensor in (*context.graph.inputs, *context.graph.outputs)
    return tensor if not taken else context.emit("identity", [tensor], name=context.unique(clean(ref.layer)))


def _pixels(graph: Graph) -> dict[str, Any]:
    """The metadata of a model that scales its pixels itself: it takes them as 0..255."""
    shape = graph.shape(graph.inputs[0])
    first = graph.only_consumer(graph.inputs[0])
    if len(graph.inputs) != 1 or len(shape) != 4 or shape[3] not in (1, 3) or first is None:
        return {}
    constants = [graph.tensor(i) for i in first.inputs if graph.tensor(i).is_constant]
    if first.op not in ("mul", "add") or not constants:
        return {}
    largest = float(np.abs(constants[0].array).max())
    if not (largest <= SMALL_FACTOR if first.op == "mul" else largest >= LARGE_OFFSET):
        return {}
    _, height, width, channels = shape
    return {"preprocessing": Preprocessing(height, width, (0.0,) * channels, (1.0,) * channels).to_metadata()}


# -- layers ------------------------------------------------------------------------------------------------------------


def _run_model(context: KerasContext, model: KerasModel, given: Sequence[Value], around: Address) -> list[Value]:
    """The outputs of a model that is called with `given`."""
    if len(given) != len(model.inputs):
        raise ImportFileError(f"takes {len(model.inputs)} inputs and is given {len(given)}")
    values: dict[tuple[str, int], list[Value]] = {
        (ref.layer, 0): [value] for ref, value in zip(model.inputs, given, strict=True)
    }

    def value_of(ref: Ref) -> Value:
        outputs = values.get((ref.layer, ref.call), [])
        if ref.output >= len(outputs):
            raise ImportFileError(f"{context.source.label}: reads {ref.layer!r}, which does not give that")
        return outputs[ref.output]

    for layer, number in _in_order(model, context.source.label):
        call = layer.calls[number].mapped(value_of)
        values[layer.name, number] = _run_layer(context, layer, call, (*around, layer.name))
    return [value_of(ref) for ref in model.outputs]


def _run_layer(context: KerasContext, layer: KerasLayer, call: Call, address: Address) -> list[Value]:
    context.count_call()
    if layer.model is not None:
        if layer.own:
            context.enter(address)
            converter(context, layer)  # refuses it
        return _run_model(context, layer.model, flat(call.args[0] if call.args else []), address)
    context.enter(address)
    try:
        with np.errstate(all="ignore"):  # what overflows becomes infinity, which `check_finite` names
            value = converter(context, layer)(context, layer, call)
    except UnsupportedOpError:
        raise
    except (ImportFileError, GraphError) as problem:
        raise ImportFileError(f"{context.source.label}: layer {context.layer!r} ({layer.kind}): {problem}") from None
    return value if isinstance(value, list) else [value]


def _in_order(model: KerasModel, label: str) -> Iterator[Step]:
    """All calls, each after those that it reads, otherwise in the file's order. Raises ImportFileError for a ring."""
    steps = [(layer, number) for layer in model.layers for number in range(len(layer.calls))]
    place = {(layer.name, number): i for i, (layer, number) in enumerate(steps)}
    reads = [{place[r.layer, r.call] for r in s[0].calls[s[1]].refs() if (r.layer, r.call) in place} for s in steps]
    readers: dict[int, list[int]] = {}
    for i, needed in enumerate(reads):
        for j in needed:
            readers.setdefault(j, []).append(i)
    ready = [i for i, needed in enumerate(reads) if not needed]
    done = 0
    while ready:
        i = heapq.heappop(ready)
        done += 1
        yield steps[i]
        for j in readers.get(i, ()):
            reads[j].discard(i)
            if not reads[j]:
                heapq.heappush(ready, j)
    if done < len(steps):
        stuck = next(steps[i][0].name for i, needed in enumerate(reads) if needed)
        raise ImportFileError(f"{label}: layer {stuck!r} waits for its own output")

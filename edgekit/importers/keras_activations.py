"""Keras's activations: as layers, as operations and as settings of other layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgekit.errors import ImportFileError
from edgekit.importers.keras_arguments import argument, view_argument
from edgekit.importers.keras_calls import Call, short
from edgekit.importers.keras_context import Convert, KerasContext, Value, only_view
from edgekit.importers.keras_model import KerasLayer
from edgekit.importers.onnx_view import View

ACTIVATIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "swish": "swish",
    "silu": "swish",
    "hard_sigmoid": "hard_sigmoid",
    "hard_swish": "hard_swish",
    "hard_silu": "hard_swish",
    "softmax": "softmax",
}
IDENTITIES = ("linear", None)
REMEDY = f"edgekit has {', '.join(ACTIVATIONS)}: train with one of these"
OLD_HARD_SIGMOID = {"slope": 0.2, "offset": 0.5}
"""Keras 2's clip(0.2 x + 0.5, 0, 1); Keras 3 has relu6(x + 3) / 6, the graph's default."""


def apply_activation(context: KerasContext, layer: KerasLayer, x: View, activation: Any, suffix: str = "") -> View:
    """The activation that a setting names: a text, or a description of a function or layer."""
    if isinstance(activation, dict):
        return _described(context, layer, x, activation, suffix)
    if activation in IDENTITIES:
        return x
    if not isinstance(activation, str):
        raise ImportFileError(f"its setting 'activation' is {short(activation)}: it must be a name")
    op = ACTIVATIONS.get(activation)
    if op is None:
        raise context.refuse(layer, REMEDY, activation)
    attrs = OLD_HARD_SIGMOID if op == "hard_sigmoid" and context.source.version < 3 else None
    return context.make(op, [context.tensor(x)], attrs, suffix and (suffix if suffix != "*" else activation))


def fused(context: KerasContext, layer: KerasLayer, x: View) -> View:
    """The setting `activation` of a layer with weights, as a node of its own."""
    return apply_activation(context, layer, x, layer.config.get("activation"), "*")


def _described(context: KerasContext, layer: KerasLayer, x: View, described: dict[str, Any], suffix: str) -> View:
    kind, config = described.get("class_name"), described.get("config")
    if kind in ("ReLU", "Softmax", "Activation") and isinstance(config, dict):
        inner = KerasLayer(layer.name, str(kind), "", own=False, config=config)
        if kind == "Activation":
            return apply_activation(context, inner, x, config.get("activation"), suffix)
        op = relu_op(context, inner) if kind == "ReLU" else softmax_op(context, inner, x)
        return context.make(op, [context.tensor(x)], suffix=suffix and op)
    name = str(config) if kind == "function" else str(kind)
    raise context.refuse(layer, f"it is a function of your own: {REMEDY}", name)


def relu_op(context: KerasContext, layer: KerasLayer) -> str:
    """relu or relu6, by the settings of a ReLU layer."""
    slope = layer.config.get("negative_slope")
    leaky = slope if isinstance(slope, list) else [slope or 0.0]  # TF wrapped the numbers in arrays for a while
    greatest = layer.config.get("max_value")
    if any(leaky) or layer.config.get("threshold"):
        raise context.refuse(layer, "it has a slope or a threshold: train with ReLU or ReLU(6.0)")
    if greatest is not None and greatest != 6:
        raise context.refuse(layer, f"its max_value is {short(greatest)}: train with ReLU(6.0) or without a maximum")
    return "relu" if greatest is None else "relu6"


def softmax_op(context: KerasContext, layer: KerasLayer, x: View) -> str:
    """softmax, if it is over the last axis."""
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, x.rank - 1):
        raise context.refuse(layer, f"its axis is {short(axis)}: only the last one can be taken")
    return "softmax"


def relu(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """ReLU, with or without the maximum 6."""
    return context.make(relu_op(context, layer), [context.tensor(only_view(call))])


def softmax(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Softmax over the last axis."""
    x = only_view(call)
    return context.make(softmax_op(context, layer, x), [context.tensor(x)])


def activation(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Activation."""
    return apply_activation(context, layer, only_view(call), layer.config.get("activation"))


def operation(name: str) -> Convert:
    """An operation of keras.ops, keras.activations or tf.nn."""

    def convert(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
        x = view_argument(layer, call)
        if name == "softmax":
            axis = argument(layer, call, 1, "axis", default=-1)
            softmax_op(context, replace(layer, config={"axis": axis}), x)
        for key in ("alpha", "negative_slope", "threshold", "max_value", "beta"):
            if argument(layer, call, 99, key, default=0.0) not in (0.0, 1.0 if key == "beta" else 0.0):
                raise context.refuse(layer, f"its {key} is set: {REMEDY}")
        return apply_activation(context, layer, x, name)

    return convert

"""The tables of the Keras importer: class of a layer, or name of an operation -> the function that takes it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgekit.errors import UnsupportedOpError
from edgekit.importers import keras_activations, keras_layers, keras_math, keras_moves
from edgekit.importers.keras_activations import ACTIVATIONS
from edgekit.importers.keras_calls import short
from edgekit.importers.keras_context import Convert, KerasContext
from edgekit.importers.keras_model import KerasLayer

LAYERS: Mapping[str, Convert] = {
    "Conv2D": keras_layers.conv2d,
    "DepthwiseConv2D": keras_layers.depthwise_conv2d,
    "SeparableConv2D": keras_layers.separable_conv2d,
    "Dense": keras_layers.dense,
    "BatchNormalization": keras_layers.batch_normalization,
    "Normalization": keras_layers.normalization,
    "Rescaling": keras_layers.rescaling,
    "MaxPooling2D": keras_layers.pool("max_pool"),
    "AveragePooling2D": keras_layers.pool("avg_pool"),
    "GlobalMaxPooling2D": keras_layers.global_pool("max_pool"),
    "GlobalAveragePooling2D": keras_layers.global_pool("global_avg_pool"),
    "ZeroPadding2D": keras_layers.zero_padding2d,
    "Cropping2D": keras_layers.cropping2d,
    "ReLU": keras_activations.relu,
    "Softmax": keras_activations.softmax,
    "Activation": keras_activations.activation,
    "Add": keras_math.merge("add"),
    "Multiply": keras_math.merge("multiply"),
    "Subtract": keras_math.merge("subtract"),
    "Average": keras_math.average,
    "CustomScaleLayer": keras_math.scaled_sum,
    "Concatenate": keras_moves.concatenate_layer,
    "Flatten": keras_moves.flatten,
    "Reshape": keras_moves.reshape_layer,
    "Permute": keras_moves.permute,
    **dict.fromkeys(("Dropout", "SpatialDropout2D", "GaussianDropout", "AlphaDropout"), keras_moves.dropout),
    **dict.fromkeys(("Identity", "GaussianNoise", "ActivityRegularization"), keras_moves.keep),
    # These change images in training only.
    **dict.fromkeys(("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation"), keras_moves.keep),
    **dict.fromkeys(("RandomContrast", "RandomBrightness"), keras_moves.keep),
}

OPERATIONS: Mapping[str, Convert] = {
    **{name: keras_activations.operation(name) for name in ACTIVATIONS},
    **dict.fromkeys(("add", "bias_add"), keras_math.arithmetic("add")),
    **dict.fromkeys(("subtract", "sub"), keras_math.arithmetic("subtract")),
    **dict.fromkeys(("multiply", "mul"), keras_math.arithmetic("multiply")),
    **dict.fromkeys(("divide", "true_divide", "truediv", "div"), keras_math.arithmetic("divide")),
    **dict.fromkeys(("floor_divide", "floordiv", "floor_div"), keras_math.arithmetic("floor_divide")),
    **dict.fromkeys(("negative", "neg"), keras_math.negative),
    **dict.fromkeys(("clip", "clip_by_value"), keras_math.clip),
    "maximum": keras_math.maximum,
    "minimum": keras_math.minimum,
    **dict.fromkeys(("identity", "stop_gradient", "cast", "copy"), keras_moves.identity),
    "shape": keras_moves.shape,
    "stack": keras_moves.stack,
    "reshape": keras_moves.reshape,
    "transpose": keras_moves.transpose,
    "squeeze": keras_moves.squeeze,
    "expand_dims": keras_moves.expand_dims,
    **dict.fromkeys(("concatenate", "concat"), keras_moves.concatenate),
    "split": keras_moves.split,
    **dict.fromkeys(("take", "gather"), keras_moves.gather),
    **dict.fromkeys(("get_item", "getitem"), keras_moves.get_item),
    "pad": keras_moves.pad,
    **dict.fromkeys(("mean", "reduce_mean"), keras_moves.reduce("global_avg_pool")),
    **dict.fromkeys(("max", "reduce_max"), keras_moves.reduce("max_pool")),
    **dict.fromkeys(("average_pool", "avg_pool", "avg_pool2d"), keras_moves.pool_operation("avg_pool")),
    **dict.fromkeys(("max_pool", "max_pool2d"), keras_moves.pool_operation("max_pool")),
}

TF_MODULES = ("", "math", "nn", "__operators__", "compat.v1", "compat.v1.math", "compat.v1.nn")
"""Where TensorFlow keeps functions that mean what their last name says."""
TF_LAYERS = ("TFOpLambda", "SlicingOpLambda")
IN_CODE = "it holds code, which is never run from a file"
REBUILD = "build it with Keras's own layers, or export the model to ONNX and give that file"
REMEDIES = {
    "Lambda": f"{IN_CODE}: {REBUILD}",
    "TensorFlowOpLayer": "it is of TensorFlow 2.0 to 2.3: load and save the model with a newer release",
    **dict.fromkeys(
        ("LeakyReLU", "PReLU", "ELU", "ThresholdedReLU"), "edgekit has ReLU and ReLU(6.0): train with one of these"
    ),
    **dict.fromkeys(
        ("UpSampling2D", "Conv2DTranspose", "Resizing"), "edgekit takes classifiers: cut the model before it"
    ),
}


def converter(context: KerasContext, layer: KerasLayer) -> Convert:
    """The row of a layer. Raises UnsupportedOpError where there is none."""
    if layer.own:
        raise context.refuse(layer, f"it is a class of your own, whose code is not in the file: {REBUILD}")
    if layer.config.get("data_format") == "channels_first":
        raise context.refuse(
            layer, "its images are channels first: build the model with data_format='channels_last' and set its weights"
        )
    if layer.kind in TF_LAYERS:
        return _tf_function(context, layer)
    name = _snake_case(layer.kind)
    if layer.is_operation or (layer.kind not in LAYERS and name in OPERATIONS and not layer.module):
        return _operation(context, layer, name, layer.kind)
    if layer.kind not in LAYERS:
        raise context.refuse(layer, REMEDIES.get(layer.kind, "edgekit has no such layer: replace it"))
    return LAYERS[layer.kind]


def _tf_function(context: KerasContext, layer: KerasLayer) -> Convert:
    """The function of a TFOpLambda: "math.multiply", "__operators__.add", ..."""
    function = layer.config.get("function")
    if not isinstance(function, str):
        raise context.refuse(layer, f"its function is {short(function)}, which is no name")
    module, _, last = function.rpartition(".")
    if module not in TF_MODULES:
        raise _unknown(context, layer, function)
    return _operation(context, layer, last, function)


def _operation(context: KerasContext, layer: KerasLayer, name: str, title: str) -> Convert:
    if name not in OPERATIONS:
        raise _unknown(context, layer, title)
    return OPERATIONS[name]


def _unknown(context: KerasContext, layer: KerasLayer, title: str) -> UnsupportedOpError:
    return context.refuse(layer, "edgekit has no such operation: replace it with layers", title)


def _snake_case(name: str) -> str:
    """`TrueDivide` -> `true_divide`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()

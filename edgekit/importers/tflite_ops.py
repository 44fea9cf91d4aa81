"""The table of TFLite operators that can be imported, and what to do instead of some that cannot."""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.importers import tflite_layers as layers
from edgekit.importers import tflite_math as arithmetic
from edgekit.importers import tflite_moves as moves
from edgekit.importers.tflite_math import Convert
from edgekit.importers.tflite_model import TfliteOp

CONVERTERS: Mapping[str, Convert] = {
    "ADD": arithmetic.add,
    "AVERAGE_POOL_2D": layers.average_pool,
    "BATCH_MATMUL": layers.batch_matmul,
    "BATCH_TO_SPACE_ND": layers.batch_to_space,
    "BROADCAST_TO": moves.broadcast_to,
    "CAST": moves.cast,
    "CONCATENATION": moves.concatenation,
    "CONV_2D": layers.conv_2d,
    "DEPTHWISE_CONV_2D": layers.depthwise_conv_2d,
    "DIV": arithmetic.div,
    "EXPAND_DIMS": moves.expand_dims,
    "FULLY_CONNECTED": layers.fully_connected,
    "GATHER": moves.gather,
    "HARD_SWISH": arithmetic.elementwise("hard_swish"),
    "LOGISTIC": arithmetic.elementwise("sigmoid"),
    "MAXIMUM": arithmetic.maximum,
    "MAX_POOL_2D": layers.max_pool,
    "MEAN": layers.mean,
    "MINIMUM": arithmetic.minimum,
    "MUL": arithmetic.mul,
    "NEG": arithmetic.neg,
    "PACK": moves.pack,
    "PAD": moves.pad,
    "PADV2": moves.pad,
    "REDUCE_MAX": layers.reduce_max,
    "RELU": arithmetic.elementwise("relu"),
    "RELU6": arithmetic.elementwise("relu6"),
    "RELU_0_TO_1": arithmetic.elementwise("hard_sigmoid", slope=1.0, offset=0.0),
    "RESHAPE": moves.reshape,
    "SHAPE": moves.shape,
    "SLICE": moves.slice_,
    "SOFTMAX": arithmetic.softmax,
    "SPACE_TO_BATCH_ND": layers.space_to_batch,
    "SPLIT": moves.split,
    "SPLIT_V": moves.split_v,
    "SQUEEZE": moves.squeeze,
    "STRIDED_SLICE": moves.strided_slice,
    "SUB": arithmetic.sub,
    "SUM": layers.total,
    "TRANSPOSE": moves.transpose,
    "UNPACK": moves.unpack,
}

_ACTIVATION = "train with ReLU, ReLU6, hard-swish or swish instead"
_STATIC = "convert the model with constant control flow"
_QUANTIZED = "the file is quantized: export the float model, edgekit quantizes it itself"
REMEDIES: Mapping[str, str] = {
    **dict.fromkeys(("ELU", "GELU", "LEAKY_RELU", "PRELU", "RELU_N1_TO_1", "TANH"), _ACTIVATION),
    **dict.fromkeys(("IF", "WHILE", "CALL", "CALL_ONCE"), _STATIC),
    **dict.fromkeys(("QUANTIZE", "DEQUANTIZE", "FAKE_QUANT"), _QUANTIZED),
    "ARG_MAX": "end the network at its scores: `edgekit evaluate` finds the best class itself",
    "LOG_SOFTMAX": "end the network at its logits or with SOFTMAX",
    "MIRROR_PAD": "pad with zeros instead",
}


def remedy(op: TfliteOp) -> str:
    """What to do about an operator that is not in the table."""
    if op.is_custom and op.op.startswith("Flex"):
        return "it is TensorFlow's: convert without SELECT_TF_OPS, or cut the network before it"
    if op.is_custom:
        return "it is a custom op, whose meaning the file does not tell: cut the network before it"
    return REMEDIES.get(op.op, f"replace it or cut the network before it; the importer takes {', '.join(CONVERTERS)}")

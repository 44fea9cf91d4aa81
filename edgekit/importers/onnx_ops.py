"""The table of ONNX ops that can be imported, and what to do instead of some that cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgekit.importers import onnx_activations as activations
from edgekit.importers import onnx_layers as layers
from edgekit.importers import onnx_math as arithmetic
from edgekit.importers import onnx_moves as moves
from edgekit.importers import onnx_pieces as pieces
from edgekit.importers import onnx_reduce as reductions
from edgekit.importers.onnx_context import ImportContext, Value
from edgekit.importers.onnx_model import OnnxNode

Convert = Callable[[ImportContext, OnnxNode], list[Value]]
"""Emits what an ONNX node does; returns the values of its outputs. Raises ImportFileError, without place."""

CONVERTERS: Mapping[str, Convert] = {
    "Add": arithmetic.add,
    "AveragePool": layers.average_pool,
    "BatchNormalization": layers.batch_normalization,
    "Cast": arithmetic.cast,
    "Clip": activations.clip,
    "Concat": moves.concat,
    "Conv": layers.conv,
    "Div": arithmetic.div,
    "Dropout": moves.keep,
    "Expand": moves.expand,
    "Flatten": moves.flatten,
    "Gather": pieces.gather,
    "Gemm": layers.gemm,
    "GlobalAveragePool": layers.global_average_pool,
    "GlobalMaxPool": layers.global_max_pool,
    "HardSigmoid": activations.hard_sigmoid,
    "HardSwish": activations.elementwise("hard_swish"),
    "Identity": moves.keep,
    "MatMul": layers.mat_mul,
    "Max": activations.maximum,
    "MaxPool": layers.max_pool,
    "Mean": arithmetic.mean,
    "Min": activations.minimum,
    "Mul": arithmetic.mul,
    "Neg": arithmetic.neg,
    "Pad": moves.pad,
    "Pow": arithmetic.power,
    "ReduceMax": reductions.reduce_max,
    "ReduceMean": reductions.reduce_mean,
    "ReduceSum": reductions.reduce_sum,
    "Relu": activations.elementwise("relu"),
    "Reshape": moves.reshape,
    "Shape": moves.shape,
    "Sigmoid": activations.elementwise("sigmoid"),
    "Slice": pieces.slice_,
    "Softmax": activations.softmax,
    "Split": pieces.split,
    "Squeeze": moves.squeeze,
    "Sub": arithmetic.sub,
    "Sum": arithmetic.total,
    "Swish": activations.swish,
    "Tile": moves.tile,
    "Transpose": moves.transpose,
    "Unsqueeze": moves.unsqueeze,
}

_STATIC = "export with constant control flow (torch.onnx.export of model.eval() with static shapes)"
_ACTIVATION = "use ReLU, ReLU6, hard-swish, swish or a sigmoid instead and train again"
_GELU = "edgekit has no GELU, use hard-swish or swish instead and train again"
_RESAMPLING = "edgekit takes classifiers, which do not enlarge or rearrange images; cut the network before it"
_CALL = "tf2onnx left a compiled function of TensorFlow; Keras compiles its grouped convolutions: write one per slice"
_SEQUENCE = "edgekit takes convolutional networks only"
_NORM = "use BatchNormalization instead, which folds into the convolutions"
_LOGITS = "end the network at its logits or with Softmax"

REMEDIES: Mapping[str, str] = {
    **dict.fromkeys(("ArgMax", "Hardmax", "LogSoftmax", "TopK"), _LOGITS),
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall"), _CALL),
    **dict.fromkeys(("If", "Loop", "Scan"), _STATIC),
    **dict.fromkeys(
        ("Celu", "Elu", "LeakyRelu", "Mish", "PRelu", "Selu", "Softplus", "Softsign", "Tanh", "ThresholdedRelu"),
        _ACTIVATION,
    ),
    **dict.fromkeys(("Erf", "Gelu", "com.microsoft::FastGelu", "com.microsoft::Gelu"), _GELU),
    **dict.fromkeys(
        ("ConvTranspose", "DepthToSpace", "GridSample", "MaxUnpool", "Resize", "SpaceToDepth", "Upsample"), _RESAMPLING
    ),
    **dict.fromkeys(("Attention", "Einsum", "GRU", "LSTM", "RNN"), _SEQUENCE),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization", "LayerNormalization", "LRN"), _NORM),
}
RUNTIME_DOMAINS = ("com.microsoft", "com.microsoft.nchwc")
"""Where onnxruntime puts the ops that it makes when it optimises a file."""


def remedy(op: str) -> str:
    """What to do about an op that is not in the table; `op` has its domain before it, with "::", unless ONNX's own."""
    if op.rpartition("::")[0] in RUNTIME_DOMAINS and op not in REMEDIES:
        return "onnxruntime has optimised this file: give the one that the exporter wrote"
    known = ", ".join(sorted(CONVERTERS))
    return REMEDIES.get(op, f"replace it or cut the network before it; the importer takes {known}")

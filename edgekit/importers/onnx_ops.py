"""The table of ONNX ops that can be imported, and what to do instead of some that cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgekit.importers import onnx_layers as layers
from edgekit.importers import onnx_math as arithmetic
from edgekit.importers import onnx_moves as moves
from edgekit.importers.onnx_context import ImportContext, Value
from edgekit.importers.onnx_model import OnnxNode

Convert = Callable[[ImportContext, OnnxNode], list[Value]]
"""Emits what an ONNX node does; returns the values of its outputs. Raises ImportFileError, without place."""

CONVERTERS: Mapping[str, Convert] = {
    "Add": arithmetic.add,
    "AveragePool": layers.average_pool,
    "BatchNormalization": layers.batch_normalization,
    "Cast": arithmetic.cast,
    "Clip": arithmetic.clip,
    "Concat": moves.concat,
    "Conv": layers.conv,
    "Div": arithmetic.div,
    "Dropout": moves.keep,
    "Flatten": moves.flatten,
    "Gather": moves.gather,
    "Gemm": layers.gemm,
    "GlobalAveragePool": layers.global_average_pool,
    "GlobalMaxPool": layers.global_max_pool,
    "HardSigmoid": arithmetic.hard_sigmoid,
    "HardSwish": arithmetic.elementwise("hard_swish"),
    "Identity": moves.keep,
    "MatMul": layers.mat_mul,
    "MaxPool": layers.max_pool,
    "Mul": arithmetic.mul,
    "Pad": moves.pad,
    "ReduceMax": layers.reduce_max,
    "ReduceMean": layers.reduce_mean,
    "Relu": arithmetic.elementwise("relu"),
    "Reshape": moves.reshape,
    "Shape": moves.shape,
    "Sigmoid": arithmetic.elementwise("sigmoid"),
    "Slice": moves.slice_,
    "Softmax": arithmetic.softmax,
    "Split": moves.split,
    "Squeeze": moves.squeeze,
    "Sub": arithmetic.sub,
    "Swish": arithmetic.swish,
    "Transpose": moves.transpose,
    "Unsqueeze": moves.unsqueeze,
}

REMEDIES: Mapping[str, str] = {
    "LogSoftmax": "end the network at its logits or with Softmax",
    "If": "export with constant control flow (torch.onnx.export of model.eval() with static shapes)",
    "Loop": "export with constant control flow (torch.onnx.export of model.eval() with static shapes)",
}


def remedy(op: str) -> str:
    """What to do about an op that is not in the table."""
    known = ", ".join(sorted(CONVERTERS))
    return REMEDIES.get(op, f"replace it or cut the network before it; the importer takes {known}")

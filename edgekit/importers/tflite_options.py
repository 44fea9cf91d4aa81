"""Which of an operator's options matter: one row an op. Ops without a row have none that do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgekit.errors import ImportFileError

ACTIVATION = "FusedActivationFunction"
_WINDOW = ("Padding", "StrideH", "StrideW", ACTIVATION)
_DILATED = (*_WINDOW, "DilationHFactor", "DilationWFactor")
_POOL = ("Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth"))
_REDUCER = ("ReducerOptions", ("KeepDims",))
_MASKS = ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset")

OPTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ADD": ("AddOptions", (ACTIVATION,)),
    "AVERAGE_POOL_2D": _POOL,
    "BATCH_MATMUL": ("BatchMatMulOptions", ("AdjX", "AdjY")),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", ACTIVATION)),
    "CONV_2D": ("Conv2DOptions", _DILATED),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", _DILATED),
    "DIV": ("DivOptions", (ACTIVATION,)),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("KeepNumDims", "WeightsFormat", ACTIVATION)),
    "GATHER": ("GatherOptions", ("Axis", "BatchDims")),
    "MAX_POOL_2D": _POOL,
    "MEAN": _REDUCER,
    "MUL": ("MulOptions", (ACTIVATION,)),
    "PACK": ("PackOptions", ("Axis",)),
    "REDUCE_MAX": _REDUCER,
    "REDUCE_PROD": _REDUCER,
    "RESHAPE": ("ReshapeOptions", ("NewShape",)),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
    "SQUEEZE": ("SqueezeOptions", ("SqueezeDims",)),
    "STRIDED_SLICE": ("StridedSliceOptions", _MASKS),
    "SUB": ("SubOptions", (ACTIVATION,)),
    "SUM": _REDUCER,
    "UNPACK": ("UnpackOptions", ("Axis",)),
}
LISTS = ("NewShape", "SqueezeDims")


def read_options(
    schema: Any, op: str, operator: Any, integers: Callable[[Any, str], tuple[int, ...]]
) -> dict[str, Any]:
    """The options of an operator of the schema, by name. integers: reads a list of a table.

    Raises ImportFileError where its table is one of another op.
    """
    kind = operator.BuiltinOptionsType()
    union = operator.BuiltinOptions()
    if op not in OPTIONS or not kind or union is None:
        return {}
    table, names = OPTIONS[op]
    if kind != getattr(schema.BuiltinOptions, table):
        raise ImportFileError(f"a {op} has options of another op (kind {kind}): the file is damaged")
    options = getattr(schema, table)()
    options.Init(union.Bytes, union.Pos)
    return {name: integers(options, name) if name in LISTS else getattr(options, name)() for name in names}

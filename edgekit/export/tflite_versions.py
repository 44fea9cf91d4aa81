"""Which version of each TFLite op a file asks for, and the oldest runtime that has it.

The numbers are those that TensorFlow's converter writes (tensorflow/lite/tools/versioning, op_version.cc and
runtime_version.cc).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

VERSIONS: Mapping[str, tuple[int, int]] = {
    "ADD": (1, 2),
    "AVERAGE_POOL_2D": (1, 2),
    "CONCATENATION": (1, 2),
    "CONV_2D": (1, 3),
    "DEPTHWISE_CONV_2D": (1, 3),
    "DEQUANTIZE": (3, 2),
    "FULLY_CONNECTED": (1, 4),
    "GATHER": (1, 2),
    "HARD_SWISH": (1, 1),
    "LOGISTIC": (1, 2),
    "MAX_POOL_2D": (1, 2),
    "MEAN": (1, 2),
    "MUL": (1, 2),
    "PAD": (1, 2),
    "PADV2": (1, 2),
    "QUANTIZE": (1, 1),
    "RELU": (1, 2),
    "RELU6": (1, 2),
    "RESHAPE": (1, 1),
    "SLICE": (1, 2),
    "SOFTMAX": (1, 2),
    "SPLIT": (1, 2),
    "STRIDED_SLICE": (1, 2),
    "TRANSPOSE": (1, 2),
}
"""(version for float data, version for int8 data). DEQUANTIZE of floats is that of float16."""

LARGE_RANK = {"PAD": 4, "PADV2": 4, "SLICE": 5, "STRIDED_SLICE": 4, "TRANSPOSE": 4}
"""Version from five dimensions on."""

GROUPED_CONV, DILATED_DEPTHWISE, RESCALING_MUL = 6, 2, 3
"""Versions of CONV_2D in groups, float DEPTHWISE_CONV_2D with dilation, and int8 MUL whose rescaling factor is >= 1."""

_OLDEST: Mapping[str, Mapping[int, str]] = {
    "ADD": {1: "1.5.0", 2: "1.14.0"},
    "AVERAGE_POOL_2D": {1: "1.5.0", 2: "1.14.0"},
    "CONCATENATION": {1: "1.5.0", 2: "1.14.0"},
    "CONV_2D": {1: "1.5.0", 3: "1.14.0", 6: "2.9.0"},
    "DEPTHWISE_CONV_2D": {1: "1.5.0", 2: "1.12.0", 3: "1.14.0"},
    "DEQUANTIZE": {1: "1.13.1", 2: "1.14.0", 3: "1.15.0"},
    "FULLY_CONNECTED": {1: "1.5.0", 4: "1.14.0"},
    "GATHER": {1: "1.6.0", 2: "1.14.0"},
    "HARD_SWISH": {1: "1.15.0"},
    "LOGISTIC": {1: "1.14.0", 2: "1.14.0"},
    "MAX_POOL_2D": {1: "1.5.0", 2: "1.14.0"},
    "MEAN": {1: "1.6.0", 2: "1.14.0"},
    "MUL": {1: "1.5.0", 2: "1.14.0", 3: "1.15.0"},
    "PAD": {1: "1.5.0", 2: "1.14.0", 4: "2.6.0"},
    "PADV2": {1: "1.9.0", 2: "1.14.0", 4: "2.6.0"},
    "QUANTIZE": {1: "1.14.0"},
    "RELU": {1: "1.5.0", 2: "2.1.0"},
    "RELU6": {1: "1.5.0", 2: "1.14.0"},
    "RESHAPE": {1: "1.5.0"},
    "SLICE": {1: "1.14.0", 2: "1.14.0", 5: "2.5.0"},
    "SOFTMAX": {1: "1.5.0", 2: "1.14.0"},
    "SPLIT": {1: "1.5.0", 2: "1.14.0"},
    "STRIDED_SLICE": {1: "1.6.0", 2: "1.14.0", 4: "2.2.0"},
    "TRANSPOSE": {1: "1.6.0", 2: "1.14.0", 4: "2.3.0", 6: "2.13.0"},
}


def op_version(op: str, dtype: str, rank: int) -> int:
    """Version of `op` over data of that dtype (float32, float16, int8 or uint8) and rank."""
    if rank > 4 and op in LARGE_RANK:
        return 6 if op == "TRANSPOSE" and rank > 5 else LARGE_RANK[op]
    if op == "DEQUANTIZE" and dtype == "uint8":
        return 1
    return VERSIONS[op][dtype == "int8"]


def min_runtime_version(codes: Iterable[tuple[str, int]]) -> str:
    """The oldest TensorFlow Lite that runs all of these (op, version) pairs."""
    versions = [_OLDEST[op][version] for op, version in codes]
    return max(versions, key=lambda text: tuple(int(part) for part in text.split(".")), default="1.5.0")

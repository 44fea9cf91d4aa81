"""Damaged files: an error of ours or a graph, never anything else."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.helper import make_node
from onnx_oracle import node_model

from edgekit.errors import GraphError, ImportFileError
from edgekit.graph.validate import validate
from edgekit.importers.onnx import import_onnx

RNG = np.random.default_rng(0)
POOL = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
MODEL = node_model(
    [
        make_node("Conv", ["x", "k", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2], group=1),
        make_node("Clip", ["c", "lo", "hi"], ["r"]),
        make_node("Reshape", ["r", "split"], ["s"]),
        make_node("Transpose", ["s"], ["t"], perm=[0, 2, 1, 3, 4]),
        make_node("Reshape", ["t", "join"], ["u"]),
        make_node("AveragePool", ["u"], ["p"], ceil_mode=1, count_include_pad=1, **POOL),
        make_node("Split", ["p", "sizes"], ["left", "right"], axis=1),
        make_node("Concat", ["right", "left"], ["m"], axis=1),
        make_node("Shape", ["m"], ["shape"]),
        make_node("Slice", ["shape", "zero", "one"], ["batch"]),
        make_node("Concat", ["batch", "rest"], ["target"], axis=0),
        make_node("Reshape", ["m", "target"], ["f"]),
        make_node("Gemm", ["f", "w"], ["g"], alpha=0.5),
        make_node("Softmax", ["g"], ["y"], axis=-1),
    ],
    ("n", 3, 6, 6),
    {
        "k": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "b": np.ones(4, np.float32),
        "lo": np.float32(0),
        "hi": np.float32(6),
        "split": np.asarray([1, 2, 2, 3, 3]),
        "join": np.asarray([1, 4, 3, 3]),
        "sizes": np.asarray([1, 3]),
        "zero": np.asarray([0]),
        "one": np.asarray([1]),
        "rest": np.asarray([-1]),
        "w": RNG.standard_normal((36, 5)).astype(np.float32),
    },
)
PIECES = node_model(
    [
        make_node("Reshape", ["x", "pairs"], ["p"]),
        make_node("Transpose", ["p"], ["t"], perm=[1, 0, 2]),
        make_node("Reshape", ["t", "halves"], ["h"]),
        make_node("Gather", ["h", "i0"], ["a"], axis=0),
        make_node("Gather", ["h", "i1"], ["b"], axis=0),
        make_node("GlobalAveragePool", ["a"], ["g"]),
        make_node("Expand", ["g", "wide"], ["e"]),
        make_node("Mul", ["b", "e"], ["m"]),
        make_node("Tile", ["m", "repeats"], ["tiled"]),
        make_node("Slice", ["tiled", "five", "end", "i1s", "back"], ["s"]),
        make_node("Max", ["s", "lo"], ["n"]),
        make_node("Min", ["n", "hi"], ["o"]),
        make_node("ReduceMean", ["o"], ["r"], axes=[3], keepdims=1),
        make_node("Pow", ["r", "two"], ["q"]),
        make_node("Sum", ["q", "r", "lo"], ["u"]),
        make_node("Transpose", ["u"], ["v"], perm=[0, 2, 3, 1]),
        make_node("MatMul", ["v", "k"], ["y"]),
    ],
    ("n", 6, 4, 4),
    {
        "pairs": np.asarray([3, 2, 16]),
        "halves": np.asarray([2, -1, 3, 4, 4]),
        "i0": np.asarray(0),
        "i1": np.asarray(1),
        "wide": np.asarray([1, 3, 4, 4]),
        "repeats": np.asarray([1, 2, 1, 1]),
        "five": np.asarray([5]),
        "end": np.asarray([-99]),
        "i1s": np.asarray([1]),
        "back": np.asarray([-1]),
        "lo": np.float32(0),
        "hi": np.float32(6),
        "two": np.float32(2),
        "k": RNG.standard_normal((6, 5)).astype(np.float32),
    },
)
DATA = MODEL.SerializeToString()
MORE = PIECES.SerializeToString()


def survive(data: bytes) -> None:
    """Import it, or get one of our errors in one line."""
    try:
        graph = import_onnx(data)
    except (ImportFileError, GraphError) as problem:
        text = str(problem)
    else:
        text = "valid" if validate(graph).outputs else ""
    assert len(text.splitlines()) == 1


def test_the_file_itself_is_good() -> None:
    graph = import_onnx(DATA)
    assert "channel_shuffle" in [n.op for n in graph.nodes]
    assert {"channel_shuffle", "split"} <= {n.op for n in import_onnx(MORE).nodes}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, len(DATA) - 1))
def test_truncated(length: int) -> None:
    survive(DATA[:length])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, len(DATA) - 1), st.integers(0, 7)), min_size=1, max_size=3))
def test_flipped_bits(flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(DATA)
    for position, bit in flips:
        damaged[position] ^= 1 << bit
    survive(bytes(damaged))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, len(MORE) - 1), st.integers(0, 7)), min_size=1, max_size=3))
def test_flipped_bits_in_moves(flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(MORE)
    for position, bit in flips:
        damaged[position] ^= 1 << bit
    survive(bytes(damaged))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_noise(data: bytes) -> None:
    survive(data)

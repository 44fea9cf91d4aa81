"""Splits, slices and gathers, also of half a shuffle, and ops that repeat or reduce: against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import make_node
from onnx_oracle import check_import, node_model, ops

from edgekit.importers.onnx import import_onnx

IMAGE = (1, 6, 4, 5)


def run(nodes: list[onnx.NodeProto], shape: tuple[int, ...] = IMAGE, *, opset: int = 17, **constants: Any) -> list[str]:
    """Import, compare with onnxruntime, return the graph's ops; outputs are "y" and, where a node makes it, "z"."""
    made = {name for node in nodes for name in node.output}
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    outputs = [name for name in ("y", "z") if name in made]
    return ops(check_import(node_model(nodes, shape, arrays, opset=opset, outputs=outputs)))


# -- halves of shuffles ------------------------------------------------------------------------------------------------


def megvii(take: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """What ShuffleNet V2's authors write, (C / 2, 2, H W) -> (2, C / 2, H W) -> (2, 1, C / 2, H, W), and its halves."""
    return [
        make_node("Reshape", ["x", "pairs"], ["p"]),
        make_node("Transpose", ["p"], ["t"], perm=[1, 0, 2]),
        make_node("Reshape", ["t", "halves"], ["h"]),
        *take,
    ]


HALVES = {"pairs": np.asarray([3, 2, 20]), "halves": np.asarray([2, -1, 3, 4, 5])}


def test_halves_by_gather() -> None:
    take = [make_node("Gather", ["h", "i0"], ["y"], axis=0), make_node("Gather", ["h", "i1"], ["z"], axis=0)]
    assert run(megvii(take), i0=0, i1=1, **HALVES) == ["channel_shuffle", "split"]


def test_halves_by_slice() -> None:
    take = [
        make_node("Slice", ["h", "0", "1", "0"], ["a"]),
        make_node("Squeeze", ["a", "0"], ["y"]),
        make_node("Slice", ["h", "1", "2", "0"], ["b"]),
        make_node("Squeeze", ["b", "0"], ["z"]),
    ]
    numbers = {str(i): np.asarray([i]) for i in range(3)}
    assert run(megvii(take), **numbers, **HALVES) == ["channel_shuffle", "split"]


def test_halves_by_split() -> None:
    take = [
        make_node("Split", ["h"], ["a", "b"], axis=0),
        make_node("Squeeze", ["a", "0"], ["y"]),
        make_node("Squeeze", ["b", "0"], ["z"]),
    ]
    assert run(megvii(take), **{"0": np.asarray([0])}, **HALVES) == ["channel_shuffle", "split"]


def test_groups_in_another_order() -> None:
    nodes = [
        make_node("Reshape", ["x", "five"], ["r"]),
        make_node("Gather", ["r", "order"], ["g"], axis=1),
        make_node("Reshape", ["g", "four"], ["y"]),
    ]
    assert run(nodes, five=[1, 3, 2, 4, 5], four=IMAGE, order=[2, 0, 1]) == ["gather"]


# -- slices that make up a whole ---------------------------------------------------------------------------------------


def slices(*bounds: tuple[int, int], axis: int = 1) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Slices of one axis, added up if they are more than two."""
    names = [str(i) for i in range(len(bounds))]
    nodes = [make_node("Slice", ["x", f"s{n}", f"e{n}", "axis"], [f"p{n}"]) for n in names]
    constants = {"axis": np.asarray([axis])}
    for n, (start, end) in zip(names, bounds, strict=True):
        constants |= {f"s{n}": np.asarray([start]), f"e{n}": np.asarray([end])}
    return [*nodes, make_node("Concat", [f"p{n}" for n in names[::-1]], ["y"], axis=axis)], constants


@pytest.mark.parametrize("bounds", [[(0, 2), (2, 6)], [(3, 6), (0, 3)], [(0, 1), (4, 99), (1, 4)]])
def test_whole(bounds: list[tuple[int, int]]) -> None:
    nodes, constants = slices(*bounds)
    assert run(nodes, **constants) == ["split", "concat"]


@pytest.mark.parametrize("bounds", [[(0, 2), (3, 6)], [(0, 4), (3, 6)], [(0, 3), (0, 3), (3, 6)]])
def test_not_the_whole(bounds: list[tuple[int, int]]) -> None:
    nodes, constants = slices(*bounds)
    assert run(nodes, **constants) == ["slice"] * len(bounds) + ["concat"]


def test_slices_of_rows() -> None:
    nodes, constants = slices((0, 1), (1, 4), axis=2)
    assert run(nodes, **constants) == ["split", "concat"]


# -- repeated values ---------------------------------------------------------------------------------------------------


def test_expand_before_arithmetic_vanishes() -> None:
    nodes = [
        make_node("GlobalAveragePool", ["x"], ["g"]),
        make_node("Shape", ["x"], ["shape"]),
        make_node("Expand", ["g", "shape"], ["e"]),
        make_node("Mul", ["x", "e"], ["y"]),
    ]
    assert run(nodes) == ["global_avg_pool", "mul"]


def test_expand_that_is_needed() -> None:
    nodes = [make_node("GlobalAveragePool", ["x"], ["g"]), make_node("Expand", ["g", "s"], ["y"])]
    assert run(nodes, s=[1, 1, 3, 2]) == ["global_avg_pool", "mul"]
    assert run([make_node("Expand", ["x", "s"], ["e"]), make_node("Relu", ["e"], ["y"])], s=[1, 1, 1]) == ["relu"]


def test_tile() -> None:
    assert run([make_node("Tile", ["x", "r"], ["y"])], r=[1, 3, 1, 2]) == ["concat", "concat"]
    pool = [make_node("GlobalAveragePool", ["x"], ["g"]), make_node("Tile", ["g", "r"], ["y"])]
    assert run(pool, r=[1, 1, 3, 2]) == ["global_avg_pool", "mul"]


# -- reductions, arithmetic and bounds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize(("reduce", "found"), [("ReduceMean", ["avg_pool"]), ("ReduceMax", ["max_pool"])])
def test_one_axis(reduce: str, found: list[str], axis: int, keepdims: int) -> None:
    nodes = [make_node(reduce, ["x"], ["r"], axes=[axis], keepdims=keepdims)]
    nodes += [make_node("ReduceMean", ["r"], ["y"], axes=[2], keepdims=0 if keepdims == 0 else 1)]
    assert run(nodes)[: len(found)] == found


def test_sum_of_pixels() -> None:
    node = make_node("ReduceSum", ["x", "a"], ["y"], keepdims=1)
    assert run([node], a=[2, 3]) == ["global_avg_pool", "mul"]


def test_reductions_of_one_entry_are_nothing() -> None:
    nodes = [make_node("ReduceSum", ["x", "a"], ["s"], keepdims=1), make_node("Relu", ["s"], ["y"])]
    assert run(nodes, a=[0]) == ["relu"]
    noop = [make_node("ReduceMean", ["x"], ["s"], noop_with_empty_axes=1), make_node("Relu", ["s"], ["y"])]
    assert run(noop, opset=18) == ["relu"]


def test_matrix_over_channels_that_come_last_is_a_convolution() -> None:
    nodes = [
        make_node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        make_node("MatMul", ["t", "k"], ["m"]),
        make_node("Transpose", ["m"], ["y"], perm=[0, 3, 1, 2]),
    ]
    assert run(nodes, k=np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)) == ["conv2d"]


def test_sums_means_powers_and_signs() -> None:
    one = np.ones((6, 1, 1), np.float32)
    assert run([make_node("Sum", ["x", "c", "x"], ["y"])], c=one) == ["add", "add"]
    assert run([make_node("Mean", ["x", "x", "c"], ["y"])], c=one) == ["add", "add", "mul"]
    assert run([make_node("Sum", ["x"], ["s"]), make_node("Neg", ["s"], ["y"])]) == ["mul"]
    assert run([make_node("Pow", ["x", "e"], ["y"])], e=np.float32(2)) == ["mul"]
    assert run([make_node("Pow", ["x", "e"], ["p"]), make_node("Neg", ["p"], ["y"])], e=np.float32(1)) == ["mul"]


@pytest.mark.parametrize(("low", "high", "count"), [(0, 1, 1), (0, 4, 2), (-1, 1, 3), (-0.5, 7, 3)])
def test_clips_between_other_numbers(low: float, high: float, count: int) -> None:
    found = run([make_node("Clip", ["x", "lo", "hi"], ["y"])], lo=np.float32(low), hi=np.float32(high))
    assert found == ["hard_sigmoid", "mul", "add"][:count]


def test_max_and_min() -> None:
    zero, six = np.float32(0), np.float32(6)
    assert run([make_node("Max", ["zero", "x"], ["y"])], zero=zero) == ["relu"]
    both = [make_node("Max", ["x", "zero"], ["m"]), make_node("Min", ["six", "m"], ["y"])]
    assert run(both, zero=zero, six=six) == ["relu6"]
    clipped = [make_node("Clip", ["x", "zero", "six"], ["m"]), make_node("Relu", ["m"], ["y"])]
    assert run(clipped, zero=zero, six=six) == ["relu6"]


@pytest.mark.parametrize("alpha", [None, 1.0])
def test_swish_op(alpha: float | None) -> None:
    node = make_node("Swish", ["x"], ["y"], **({} if alpha is None else {"alpha": alpha}))
    model = node_model([node], IMAGE, opset=24)
    if onnx.defs.onnx_opset_version() < 24:
        pytest.skip("the installed onnx does not know opset 24")
    assert ops(import_onnx(model.SerializeToString())) == ["swish"]

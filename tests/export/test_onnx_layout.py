from __future__ import annotations

import numpy as np
import pytest

from edgekit.export.onnx_layout import (
    TO_NCHW,
    onnx_axis,
    onnx_order,
    onnx_perm,
    reshape_keeps_layout,
    same_order,
    with_leading_ones,
)


def in_file(x: np.ndarray) -> np.ndarray:
    return x.transpose(TO_NCHW) if x.ndim == 4 else x


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 4), (2, 3), (2, 3, 4, 5, 6)])
def test_order_and_axis_follow_the_array(shape: tuple[int, ...]) -> None:
    found = in_file(np.zeros(shape)).shape
    assert onnx_order(shape) == found
    assert [found[onnx_axis(axis, len(shape))] for axis in range(len(shape))] == list(shape)


@pytest.mark.parametrize("perm", [(0, 1, 2, 3), (3, 0, 2, 1), (1, 2, 3, 0), (2, 0, 1), (1, 0)])
def test_perm_equals_numpy(perm: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((2, 3, 4, 5)[: len(perm)])
    np.testing.assert_array_equal(in_file(x).transpose(onnx_perm(perm)), in_file(x.transpose(perm)))


SHAPES = {
    120: [(2, 3, 4, 5), (2, 4, 3, 5), (2, 12, 5), (2, 60), (2, 3, 5, 4), (2, 6, 2, 5), (2, 1, 1, 60)],
    24: [(2, 3, 4, 1), (2, 12), (2, 1, 1, 12), (2, 4, 3, 1), (2, 2, 2, 3)],
}
PAIRS = [(source, target) for shapes in SHAPES.values() for source in shapes for target in shapes]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_reshape_keeps_layout_only_where_it_may(source: tuple[int, ...], target: tuple[int, ...]) -> None:
    x = np.arange(np.prod(source)).reshape(source)
    plain = in_file(x).reshape(onnx_order(target))
    assert reshape_keeps_layout(source, target) == np.array_equal(plain, in_file(x.reshape(target)))


def test_same_order() -> None:
    for shape in [(2, 3, 4, 5), (1, 1, 1, 7), (2, 3, 4, 1), (1, 1, 2, 2), (3, 4)]:
        x = np.arange(np.prod(shape)).reshape(shape)
        assert same_order(shape) == np.array_equal(in_file(x).ravel(), x.ravel())


def test_with_leading_ones() -> None:
    assert with_leading_ones((3,), 4) == (1, 1, 1, 3)
    assert with_leading_ones((2, 3), 2) == (2, 3)

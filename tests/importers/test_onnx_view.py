"""Views against numpy: whatever reshapes and transposes ONNX strings together, the placed tensor holds the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.importers.onnx_view import View, last_axis_permutation, plan_move, shuffle_groups, split_factors

NHWC = (0, 2, 3, 1)
SHAPES = st.tuples(st.just(1), st.sampled_from([1, 2, 4, 6, 12]), st.integers(1, 4), st.integers(1, 4))


def split_shape(draw: st.DrawFn, size: int) -> list[int]:
    """Some shape of that size."""
    shape = []
    while size > 1:
        part = draw(st.sampled_from([d for d in range(2, size + 1) if size % d == 0]))
        shape.append(part)
        size //= part
        if draw(st.booleans()):
            shape.append(1)
    return shape or [1]


@st.composite
def chains(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[str, list[int]]]]:
    """An NCHW shape and a chain of reshapes and transposes."""
    start = draw(SHAPES)
    shape, steps = list(start), []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            shape = split_shape(draw, math.prod(shape))
            steps.append(("reshape", shape))
        else:
            perm = draw(st.permutations(range(len(shape))))
            shape = [shape[p] for p in perm]
            steps.append(("transpose", list(perm)))
    return start, steps


@settings(max_examples=300, deadline=None, derandomize=True)
@given(chains())
def test_views_follow_numpy(chain: tuple[tuple[int, ...], list[tuple[str, list[int]]]]) -> None:
    start, steps = chain
    value = np.arange(math.prod(start)).reshape(start)
    memory = value.transpose(NHWC)
    view = View.of("t", memory.shape, NHWC)
    for kind, numbers in steps:
        changed = view.reshape(numbers) if kind == "reshape" else view.transpose(numbers)
        if changed is None:
            return  # the memory cannot be cut that way: the importer moves it first
        view, value = changed, value.reshape(numbers) if kind == "reshape" else value.transpose(numbers)
    assert view.shape == value.shape
    assert sorted(view.factors(range(view.rank))) == list(range(len(view.sizes)))
    assert 1 not in view.sizes
    order = tuple(range(view.rank))
    move = plan_move(view, memory.shape, order)
    placed = memory.reshape(move.before).transpose(move.perm).reshape(value.shape)
    np.testing.assert_array_equal(placed, value)
    if view.is_free(order):
        np.testing.assert_array_equal(memory.reshape(value.shape), value)


def test_cut_that_does_not_exist() -> None:
    view = View.of("t", (1, 2, 2, 6), NHWC)
    assert view.reshape((1, 4, 6)) is None
    assert view.reshape((3, 2, 4)) is not None


def test_channel_shuffle_moves_only_channels() -> None:
    view = View.of("t", (1, 4, 4, 6), NHWC).reshape((1, 2, 3, 4, 4))
    assert view is not None
    shuffled = view.transpose((0, 2, 1, 3, 4)).reshape((1, 6, 4, 4))
    assert shuffled is not None
    assert last_axis_permutation(shuffled, (1, 4, 4, 6), NHWC) == (1, 0)
    assert last_axis_permutation(shuffled.transpose((0, 1, 3, 2)), (1, 4, 4, 6), NHWC) is None


@pytest.mark.parametrize(
    ("sizes", "shape", "expected"),
    [
        ((4, 6), (1, 4, 6), [(), (0,), (1,)]),
        ((2, 2, 6), (1, 4, 6), [(), (0, 1), (2,)]),
        ((24,), (4, 6), None),
        ((2, 3, 4), (1, 4, 6), None),
    ],
)
def test_split_factors(sizes: tuple[int, ...], shape: tuple[int, ...], expected: list[tuple[int, ...]] | None) -> None:
    assert split_factors(sizes, shape) == expected


@pytest.mark.parametrize("channels", [2, 4, 6, 12, 30])
def test_shuffles_are_told_by_their_indices(channels: int) -> None:
    found = {}
    for groups in range(1, channels + 1):
        if channels % groups == 0:
            indices = np.arange(channels).reshape(groups, -1).T.reshape(-1).tolist()
            found[groups] = shuffle_groups(indices, channels)
    assert found == {g: g if 1 < g < channels else None for g in found}


@pytest.mark.parametrize("indices", [(), (0,), (0, 2, 1), (0, 3, 1, 2, 4, 5), (0, 2, 4, 1, 3), (1, 3, 5, 0, 2, 4)])
def test_other_orders_are_no_shuffles(indices: tuple[int, ...]) -> None:
    assert shuffle_groups(indices, 6) is None

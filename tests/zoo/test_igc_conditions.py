"""Complementary and balance conditions, checked through dense products of block-sparse kernels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import ModelError
from edgekit.zoo.igc_conditions import (
    balanced_size,
    best_layers,
    block_weights,
    check_complementary,
    check_loose,
    complete_sizes,
    group_sizes,
    grouped_support,
    layers_at_most,
    path_counts,
)
from edgekit.zoo.legal import divisors


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=5).filter(lambda sizes: 2 <= math.prod(sizes) <= 200))
def test_a_product_of_c_gives_exactly_one_path_from_each_input_to_each_output(sizes):
    channels = math.prod(sizes)
    check_complementary(channels, sizes)
    assert (path_counts(channels, sizes) == 1).all()


@pytest.mark.parametrize(
    ("channels", "sizes", "least", "most"),
    [
        (128, (1, 8, 8), 0, 1),
        (64, (1, 4, 8), 0, 1),
        (48, (1, 8, 8), 1, 2),
        (32, (1, 8, 8), 2, 2),
        (12, (3, 3, 4), 3, 3),
    ],
)
def test_another_product_leaves_zeros_or_several_paths(channels, sizes, least, most):
    paths = path_counts(channels, sizes)
    assert (paths.min(), paths.max()) == (least, most)
    with pytest.raises(ModelError, match="break the complementary condition"):
        check_complementary(channels, sizes)


def test_the_support_is_where_a_grouped_kernel_is_not_zero():
    expected = [[1, 1, 0, 0], [0, 0, 1, 1]]
    np.testing.assert_array_equal(grouped_support(2, 4, 2), expected)


@pytest.mark.parametrize(
    ("channels", "layers", "expected"),
    [(64, 3, (1, 8, 8)), (128, 3, (1, 8, 16)), (64, 4, (1, 4, 4, 4)), (416, 4, (1, 4, 8, 13)), (13, 2, (1, 13))],
)
def test_group_sizes_are_whole_and_as_balanced_as_can_be(channels, layers, expected):
    assert group_sizes(channels, layers) == expected


@pytest.mark.parametrize(
    ("channels", "layers", "kernel"), [(576, 3, 3), (64, 3, 3), (144, 3, 3), (36, 2, 3), (60, 3, 5)]
)
def test_a_free_first_layer_minimizes_the_weights(channels, layers, kernel):
    found = group_sizes(channels, layers, kernel, first=None)
    assert math.prod(found) == channels
    least = channels * layers * balanced_size(channels, layers, kernel)  # Jensen's bound
    assert least <= block_weights(channels, found, kernel) + 1e-6
    every = [
        sizes
        for sizes in itertools.product(divisors(channels), repeat=layers)
        if math.prod(sizes) == channels and min(sizes[1:]) >= 2
    ]
    assert block_weights(channels, found, kernel) == min(block_weights(channels, sizes, kernel) for sizes in every)


def test_balance_where_everything_is_whole():
    """16 K_1 = K_2 = K_3 = (16 * 256)^(1/3) = 16 for a 4x4 kernel over 256 channels."""
    assert balanced_size(256, 3, 4) == pytest.approx(16)
    assert group_sizes(256, 3, 4, first=None) == (1, 16, 16)
    assert block_weights(256, (1, 16, 16), 4) == pytest.approx(256 * 3 * 16)


def test_the_best_number_of_layers_is_the_logarithm():
    assert best_layers(64) == pytest.approx(math.log(576))
    weights = {layers: layers * balanced_size(64, layers) for layers in range(2, 12)}
    assert abs(min(weights, key=weights.get) - best_layers(64)) < 1


def test_complete_sizes_keep_k_and_leave_the_rest_to_the_last_layer():
    assert complete_sizes(64, 3, 4) == (1, 4, 16)
    assert complete_sizes(64, 4, 4) == (1, 4, 4, 4)
    assert complete_sizes(64, 2, 64) == (1, 64)


@pytest.mark.parametrize(("channels", "most"), [(64, 7), (13, 2), (30, 4), (2, 2), (1, 1)])
def test_layers_at_most(channels, most):
    assert layers_at_most(channels) == most


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: group_sizes(13, 3),
            r"13 channels are no product of 2 group sizes; give 2 layers at most, or 12 or 14",
        ),
        (lambda: group_sizes(64, 9), r"64 channels are no product of 8 group sizes; give 7 layers at most, or 256 ch"),
        (lambda: group_sizes(64, 1), r"at least 2 layers, not 1"),
        (lambda: complete_sizes(64, 3, 7), r"group size 7 breaks the complementary condition: 64 .* work: 4 or 8"),
        (lambda: complete_sizes(64, 4, 8), r"group size 8 breaks the complementary condition: 64 .* work: 4$"),
        (lambda: complete_sizes(64, 3, 1), r"group size 1 breaks the complementary condition.* work: 2$"),
        (lambda: complete_sizes(64, 2, 8), r"\(1, 8\) break .* product is 8, not 64; give \(1, 64\)$"),
        (lambda: check_complementary(64, (1, 8, 7)), r"product is 56, not 64; give \(1, 8, 8\)$"),
        (lambda: check_complementary(7, (1, 2, 3)), r"product is 6, not 7; give other than 3 layers"),
        (lambda: check_loose(24, (2, 5), "layer x"), r"layer x: 24 channels .* 5 groups; nearest that work: 4 or 6"),
        (lambda: path_counts(24, (1, 7)), r"interleaved block: 24 channels do not divide into 7 groups"),
    ],
)
def test_impossible_conditions_are_refused_with_the_nearest_legal_numbers(call, message):
    with pytest.raises(ModelError, match=message):
        call()

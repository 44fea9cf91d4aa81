from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from tensors import DTYPES, bits_of, special, tensors

from edgekit.compress.coded import CodedTensor, sortable, unsortable
from edgekit.errors import WeightsError


@given(tensors())
def test_few_values_become_indices_and_come_back_to_the_bit(array):
    coded = CodedTensor.of_values(array, limit=1 << 16)
    if array.size == 0:
        assert coded is None
        return
    assert coded is not None
    assert bits_of(coded.values()) == bits_of(array)
    assert len(coded.codebook) == len({value.tobytes() for value in array.ravel()})


@pytest.mark.parametrize("dtype", DTYPES)
def test_sortable_keys_order_numbers_and_are_reversible(dtype):
    values = special(dtype)
    assert bits_of(unsortable(sortable(values), values.dtype)) == bits_of(values)
    numbers = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    assert (numbers[np.argsort(sortable(numbers), kind="stable")] == np.sort(numbers)).all()


def test_too_many_values_are_told():
    assert CodedTensor.of_values(np.arange(300)) is None
    assert CodedTensor.of_values(np.arange(300), limit=300).indices.dtype == np.uint16


@pytest.mark.parametrize(
    ("indices", "codebook", "message"),
    [
        (np.array([2], np.uint8), np.zeros(2), "index 2 points outside a codebook of 2"),
        (np.array([0], np.int32), np.zeros(2), "uint8 or uint16, not int32"),
        (np.array([0], np.uint8), np.zeros((2, 2)), "in one row"),
        (np.array([0], np.uint8), np.zeros(0), "1 to 65536 values"),
    ],
)
def test_what_is_no_coded_tensor_is_refused(indices, codebook, message):
    with pytest.raises(WeightsError, match=message):
        CodedTensor(indices, codebook)

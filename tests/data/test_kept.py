"""A small set is decoded once; a large one is never held."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.data import kept
from edgekit.data.kept import KeptSource
from edgekit.data.preprocess import KERAS_TF
from edgekit.data.synthetic import SyntheticSource
from edgekit.errors import DataError

SMALL = KERAS_TF.with_size(32, 32)


class Counting(SyntheticSource):
    """Counts its passes."""

    passes = 0

    def samples(self, preprocessing, limit=None):
        self.passes += 1
        return super().samples(preprocessing, limit)


def arrays(source, limit=5, preprocessing=SMALL):
    return np.concatenate([sample.array for sample in source.samples(preprocessing, limit)])


def test_a_second_pass_replays_the_first():
    inner = Counting(3)
    source = KeptSource(inner)
    first = arrays(source)
    np.testing.assert_array_equal(arrays(source), first)
    np.testing.assert_array_equal(first, arrays(SyntheticSource(3)))
    assert inner.passes == 1
    assert source.describe() == inner.describe()
    assert (source.name, len(source), source.skipped) == (inner.name, len(inner), [])


@pytest.mark.parametrize("other", [{"limit": 4}, {"preprocessing": KERAS_TF.with_size(16, 16)}])
def test_other_settings_read_again(other):
    inner = Counting(3)
    source = KeptSource(inner)
    arrays(source)
    np.testing.assert_array_equal(arrays(source, **other), arrays(SyntheticSource(3), **other))
    assert inner.passes == 2


def test_a_set_that_does_not_fit_is_read_again(monkeypatch):
    monkeypatch.setattr(kept, "KEPT_BYTES", 3 * 32 * 32 * 3 * 4)
    inner = Counting(3)
    source = KeptSource(inner)
    np.testing.assert_array_equal(arrays(source), arrays(source))
    assert inner.passes == 2


def test_a_pass_that_was_broken_off_is_not_kept():
    inner = Counting(3)
    source = KeptSource(inner)
    next(source.samples(SMALL, 5))
    assert arrays(source).shape == (5, 32, 32, 3)
    assert inner.passes == 2


def test_errors_come_through():
    with pytest.raises(DataError, match="limit"):
        KeptSource(SyntheticSource(0)).samples(SMALL, 0)

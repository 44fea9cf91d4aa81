"""The choice of samples and the record of a pass."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.data.samples import PassLog, check_limit, select_evenly
from edgekit.errors import DataError


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_selection_is_even(count: int, limit: int) -> None:
    chosen = select_evenly(count, limit)
    gaps = {after - before for before, after in itertools.pairwise(chosen)}
    assert len(chosen) == min(count, limit)
    assert chosen[0] == 0
    assert min(gaps, default=1) >= 1
    assert max(gaps, default=1) - min(gaps, default=1) <= 1
    if limit > 1:
        assert chosen[-1] == count - 1


def test_selection_by_hand() -> None:
    assert select_evenly(5, None) == [0, 1, 2, 3, 4]
    assert select_evenly(10, 4) == [0, 3, 6, 9]
    assert select_evenly(0, None) == []


@pytest.mark.parametrize("limit", [0, -4])
def test_limit_below_one(limit: int) -> None:
    with pytest.raises(DataError, match=f"a limit of {limit} samples leaves nothing to read"):
        check_limit(limit)


def test_hash_is_of_names_and_bytes() -> None:
    log = PassLog()
    assert log.describe()["sha256"] is None
    log.use("a.jpg", b"xyz")
    log.skip("b.jpg", "damaged")
    expected = hashlib.sha256(b"\5" + bytes(7) + b"a.jpg" + b"\3" + bytes(7) + b"xyz").hexdigest()
    assert log.describe() == {"used": 1, "skipped": 1, "skipped_first": ["b.jpg: damaged"], "sha256": expected}


def test_hash_tells_names_from_bytes() -> None:
    first, second = PassLog(), PassLog()
    first.use("ab", b"c")
    second.use("a", b"bc")
    assert first.describe()["sha256"] != second.describe()["sha256"]


def test_all_skipped_are_counted_and_the_first_named() -> None:
    log = PassLog()
    for index in range(30):
        log.skip(f"{index}.jpg", "damaged")
    assert log.describe()["skipped"] == 30
    assert log.describe()["skipped_first"] == [f"{index}.jpg: damaged" for index in range(20)]
    with pytest.raises(DataError, match=r"here: none of 30 images can be read; the first: 0\.jpg: damaged"):
        log.require_some("here")

"""Divisors, and the nearest legal numbers of error messages."""

from __future__ import annotations

import pytest

from edgekit.zoo.legal import divisors, nearest


@pytest.mark.parametrize("number", [1, 2, 12, 36, 97, 360, 1024])
def test_divisors(number):
    assert divisors(number) == tuple(d for d in range(1, number + 1) if number % d == 0)


@pytest.mark.parametrize(
    ("wanted", "legal", "expected"),
    [(7, (2, 4, 8, 16), "4 or 8"), (1, (8, 2), "2"), (99, (2, 4), "4"), (4, (2, 4, 8), "2 or 8"), (3, (), "none")],
)
def test_nearest_names_the_neighbours(wanted, legal, expected):
    assert nearest(wanted, legal) == expected

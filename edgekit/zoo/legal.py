"""Which numbers an architecture allows, and the nearest of them to one that it forbids."""

from __future__ import annotations

from collections.abc import Iterable


def divisors(number: int) -> tuple[int, ...]:
    """All divisors of a positive number, ascending."""
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return tuple(sorted({*small, *(number // d for d in small)}))


def nearest(wanted: int, legal: Iterable[int]) -> str:
    """The greatest legal number below `wanted` and the least above it, for an error message: `4 or 8`."""
    numbers = sorted(legal)
    below, above = [n for n in numbers if n < wanted], [n for n in numbers if n > wanted]
    return " or ".join(str(n) for n in (*below[-1:], *above[:1])) or "none"

"""Reading ahead keeps order, errors and laziness, and leaves no thread behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from edgekit.data.prefetch import AHEAD, Prefetch


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "edgekit-prefetch"]


@pytest.mark.parametrize("count", [0, 1, AHEAD, AHEAD + 1, 50])
def test_all_items_come_in_order(count: int) -> None:
    assert list(Prefetch(iter(range(count)))) == list(range(count))
    assert threads() == []


def test_items_that_are_none_or_exceptions_are_items() -> None:
    odd = [None, ValueError("an item"), StopIteration, ()]
    assert list(Prefetch(odd)) == odd


def test_reading_begins_before_the_first_item_is_asked_for() -> None:
    begun = threading.Event()

    def source() -> Iterator[int]:
        begun.set()
        yield 1

    with Prefetch(source()):
        assert begun.wait(5)
    assert threads() == []


def test_after_the_end_it_stays_at_its_end() -> None:
    items = Prefetch(iter([1]))
    assert list(items) == [1]
    assert list(items) == []


def test_only_so_many_items_are_made_ahead() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    items = Prefetch(source(), ahead=3)
    assert next(items) == 0
    time.sleep(0.3)
    assert len(made) <= 1 + 3 + 1  # handed out, waiting, and in the reader's hand
    items.close()


def test_the_next_item_is_made_while_the_consumer_works() -> None:
    second = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        second.set()
        yield 1

    items = Prefetch(source())
    next(items)
    assert second.wait(5)
    items.close()


def test_an_error_comes_where_the_item_would_have_come() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third is broken")

    items = Prefetch(source())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="the third is broken"):
        next(items)
    assert threads() == []


def test_an_interrupt_in_the_source_reaches_the_consumer() -> None:
    def source() -> Iterator[int]:
        raise KeyboardInterrupt
        yield 0

    with pytest.raises(KeyboardInterrupt):
        next(Prefetch(source()))


def test_closing_early_stops_the_thread_and_finishes_the_source() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    items = Prefetch(source(), ahead=2)
    next(items)
    items.close()
    assert threads() == []
    assert closed.wait(1)

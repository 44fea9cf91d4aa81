"""Reads ahead in a thread, so that images are decoded while the network runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")

AHEAD = 4
_END = object()


def prefetch(items: Iterable[T], ahead: int = AHEAD) -> Generator[T, None, None]:
    """The items in order, up to `ahead` of them made before they are asked for.

    What the source raises is raised here, where the item would have come. Closing the iterator stops the thread.
    """
    ready: queue.Queue[object] = queue.Queue(ahead)
    stop = threading.Event()

    def put(item: object) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as problem:  # noqa: BLE001  # handed to the consumer, who raises it
            put(_Failure(problem))
        else:
            put(_END)

    thread = threading.Thread(target=read, name="edgekit-prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.problem
            yield item  # type: ignore[misc]  # the queue also carries the two marks
    finally:
        stop.set()
        thread.join()


class _Failure:
    """Carries what the source raised over to the consumer's thread."""

    def __init__(self, problem: BaseException) -> None:
        self.problem = problem

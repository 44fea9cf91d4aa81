"""Reads ahead in a thread, so that images are decoded while the network runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

AHEAD = 4
_END = object()


class Prefetch(Iterator[T], Generic[T]):
    """The items in order, up to `ahead` of them made before they are asked for; reading begins at once.

    What the source raises is raised here, where the item would have come. `close` stops the thread: use it as a
    context, or `contextlib.closing`.
    """

    def __init__(self, items: Iterable[T], ahead: int = AHEAD) -> None:
        self._ready: queue.Queue[object] = queue.Queue(ahead)
        self._stop = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._read, args=(items,), name="edgekit-prefetch", daemon=True)
        self._thread.start()

    def __enter__(self) -> Prefetch[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        item = self._ready.get()
        if item is _END:
            self.close()
            raise StopIteration
        if isinstance(item, _Failure):
            self.close()
            raise item.problem
        return item  # type: ignore[return-value]  # the queue also carries the two marks

    def close(self) -> None:
        """Stop reading and wait for the thread; items not yet asked for are dropped."""
        self._ended = True
        self._stop.set()
        self._thread.join()

    def _read(self, items: Iterable[T]) -> None:
        try:
            for item in items:
                if not self._put(item):
                    return
        except BaseException as problem:  # noqa: BLE001  # handed to the consumer, who raises it
            self._put(_Failure(problem))
        else:
            self._put(_END)

    def _put(self, item: object) -> bool:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


class _Failure:
    """Carries what the source raised over to the consumer's thread."""

    def __init__(self, problem: BaseException) -> None:
        self.problem = problem

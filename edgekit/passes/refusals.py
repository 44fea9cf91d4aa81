"""Where a pass says that it cannot act, and why: a debug log line, and a list for `--explain`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from edgekit.graph import Node

logger = logging.getLogger("edgekit.passes")

_collected: ContextVar[dict[str, str] | None] = ContextVar("refusals", default=None)


def refuse(node: Node, reason: str) -> None:
    """Record that `node` is left alone, and why."""
    line = f"{node.name} ({node.op}): {reason}"
    logger.debug("left alone: %s", line)
    found = _collected.get()
    if found is not None:
        found[node.name] = line


@contextmanager
def collect_refusals() -> Iterator[dict[str, str]]:
    """What `refuse` records while the block runs: node name -> one line, the last reason of that node."""
    found: dict[str, str] = {}
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)

"""Nodes whose results nobody reads."""

from __future__ import annotations

from edgekit.graph import Graph


def remove_dead_nodes(graph: Graph) -> int:
    """Remove nodes that no graph output depends on, and tensors that nobody names; return how many nodes went."""
    return graph.drop_unused()

"""Parallel branches of a graph, and the convolutions and pools that they are cut into."""

from __future__ import annotations

import heapq

from edgekit.graph.ir import Graph, Node

FRAGMENTS = frozenset({"conv2d", "max_pool", "avg_pool"})
"""What arXiv:1807.11164, section 2, G3, counts: individual convolutions and pools of a building block."""


class Fragments:
    """Answers for any node of one graph, which must not change meanwhile."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = graph.nodes
        self._makers = dict.fromkeys(graph.inputs, -1)
        for position, node in enumerate(self._nodes):
            self._makers.update((name, position) for name in node.outputs)

    def joined_by(self, node: Node) -> tuple[int, int]:
        """(branches, fragments in them) that the node joins.

        A branch is one of its inputs, back to where the branches part, if it has a fragment of its own: a shortcut
        has none, and what all inputs have in common is no branch.
        """
        inputs = self._makers_of(node)
        if len(inputs) < 2:
            return 0, 0
        everywhere = 2 ** len(inputs) - 1
        reached: dict[int, int] = {}
        for branch, position in enumerate(inputs):
            reached[position] = reached.get(position, 0) | 1 << branch
        queue = [-position for position in reached]
        heapq.heapify(queue)
        branches = fragments = 0
        # Backwards, so that all readers of a node have been seen before it, until only common nodes are left.
        while any(reached[-key] != everywhere for key in queue):
            position = -heapq.heappop(queue)
            mask = reached[position]
            if position < 0:
                continue
            maker = self._nodes[position]
            if mask != everywhere and maker.op in FRAGMENTS:
                branches, fragments = branches | mask, fragments + 1
            for before in self._makers_of(maker):
                if before not in reached:
                    heapq.heappush(queue, -before)
                reached[before] = reached.get(before, 0) | mask
        return branches.bit_count(), fragments

    def _makers_of(self, node: Node) -> list[int]:
        """Positions of the nodes that make its inputs, -1 for inputs of the graph; constants have none."""
        return [self._makers[name] for name in node.inputs if name in self._makers]

"""Channel shuffles, splits, slices, concats and gathers worked out once, so that as little as can be is moved.

Works on float graphs on which the other passes have run, and on quantized ones: every value stays the same, to the bit
in integers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.graph import Graph, Node, validate
from edgekit.passes.channel_program import Program
from edgekit.passes.channel_search import Candidate, densifying_ns, fusion_candidates, widening_ns
from edgekit.passes.channel_writer import Written
from edgekit.passes.target import Target

__all__ = ["Candidate", "FusionReport", "chosen_form", "fuse_channels", "fusion_candidates"]

MOVES = ("channel_shuffle", "split", "slice", "gather", "concat", "transpose")
"""Ops whose numbers are reported."""


@dataclass(frozen=True, slots=True)
class FusionReport:
    """before, after: how many nodes of each moving op. left: for each that is left, why and what it costs.

    notes: steps left alone. layers: those that are computed in fewer groups, in pieces or with more channels, because
    that costs less. price_us: by the target's prices, of the graph that was given and the one that was chosen.
    """

    target: str
    before: dict[str, int]
    after: dict[str, int]
    left: tuple[str, ...]
    notes: tuple[str, ...]
    layers: tuple[str, ...]
    changed: bool
    price_us: tuple[float, float]


def fuse_channels(graph: Graph, target: Target) -> tuple[Graph, FusionReport]:
    """A graph that computes the same and moves less, by the target's prices; the graph itself where none is cheaper.

    Constructions that cannot be renamed through are left alone, and a graph with a damaged mapping is left alone as a
    whole; the report says why.
    """
    candidates = fusion_candidates(graph, target)
    return chosen_form(candidates, min(candidates, key=lambda c: c.price_ns), target)


def chosen_form(candidates: Sequence[Candidate], chosen: Candidate, target: Target) -> tuple[Graph, FusionReport]:
    """One of the candidates as a finished graph, and the report on it."""
    source = candidates[0]
    notes = tuple(f"{name}: {reason}" for name, reason in source.program.notes.items())
    prices = (source.price_ns / 1e3, chosen.price_ns / 1e3)
    before = _count(source.graph)
    if chosen.written is None:
        others = [c.price_ns for c in candidates[1:]]
        left = tuple(
            _kept(n, source.graph, target, min(others) - source.price_ns if others else None)
            for n in moves(source.graph)
        )
        return source.graph.copy(), FusionReport(target.name, before, before, left, notes, (), False, prices)
    fused = validate(chosen.graph, "fuse_channels")
    left = tuple(reason_for(n, chosen.program, chosen.written, target) for n in moves(fused))
    fused.metadata.setdefault("steps", []).append({"step": "fuse_channels", "target": target.name})
    return fused, FusionReport(target.name, before, _count(fused), left, notes, chosen.layers, True, prices)


def moves(graph: Graph) -> list[Node]:
    """The nodes that move channels."""
    return [node for node in graph.nodes if node.op in MOVES]


def _count(graph: Graph) -> dict[str, int]:
    counts = Counter(n.op for n in graph.nodes)
    return {op: counts[op] for op in MOVES if counts[op]}


def _kept(node: Node, graph: Graph, target: Target, dearer_ns: float | None) -> str:
    """Why a node of the graph that was given is left."""
    line = f"{node.name} ({node.op}), {_us(target.node_ns(graph, node))}: "
    if dearer_ns is None:
        return line + "nothing around it can take other channels"
    return line + f"no cheaper form is known; the nearest form of the whole graph costs {_us(dearer_ns)} more"


def reason_for(node: Node, program: Program, written: Written, target: Target) -> str:
    """Why a node is in the written graph: who wants it, what it costs, what the nearest other ways would cost."""
    reader = written.wanted_by.get(node.name)
    line = f"{node.name} ({node.op}), {_us(target.node_ns(written.graph, node))}: "
    line += f"{reader} reads these channels together" if reader else "no cheaper form is known"
    ways = []
    if node.name in written.otherwise:
        op, dearer = written.otherwise[node.name]
        ways.append(f"by {op} {_us(dearer)} more")
    step = next((s for s in program.steps if s.node.name == reader), None)
    if step is not None and step.kind == "grouped":
        ways.append(f"with {reader} dense {_us(densifying_ns(program, step, target))} more for it")
    if step is not None and step.kind == "mix" and node.op == "slice":
        whole = written.graph.shape(node.inputs[0])[-1]
        ways.append(
            f"with {reader} over all {whole} channels {_us(widening_ns(program, step, whole, target))} more for it"
        )
    return "; ".join([line, *ways])


def _us(ns: float) -> str:
    return f"{ns / 1e3:.1f} us"

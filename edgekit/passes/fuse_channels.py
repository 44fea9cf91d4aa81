"""Channel shuffles, splits, slices, concats and gathers worked out once, so that as little as can be is moved.

Works on float graphs on which the other passes have run, and on quantized ones: every value stays the same, to the bit
in integers.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from edgekit.graph import Graph, validate
from edgekit.passes.channel_completion import completed
from edgekit.passes.channel_orders import choose_orders
from edgekit.passes.channel_program import Program, Step, dense_kernel, read_program
from edgekit.passes.channel_writer import Written, write_program
from edgekit.passes.target import Target

MOVES = ("channel_shuffle", "split", "slice", "gather", "concat", "transpose")
"""Ops whose numbers are reported."""

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class FusionReport:
    """before, after: how many nodes of each moving op. left: for each that is left, why. notes: steps left alone."""

    target: str
    before: dict[str, int]
    after: dict[str, int]
    left: tuple[str, ...]
    notes: tuple[str, ...]
    changed: bool


def fuse_channels(graph: Graph, target: Target) -> tuple[Graph, FusionReport]:
    """A graph that computes the same and moves less, by the target's prices; the graph itself where none is cheaper.

    Raises GraphError where a mapping is damaged; constructions that cannot be renamed through are left alone, and the
    report says why.
    """
    before = _count(graph)
    program = read_program(graph)
    notes = tuple(f"{name}: {reason}" for name, reason in program.notes.items())
    if not program.renaming:
        return graph.copy(), FusionReport(target.name, before, before, (), notes, changed=False)
    best: Written | None = None
    price = target.graph_ns(graph)
    for written in _variants(program, target):
        cost = target.graph_ns(written.graph)
        if cost < price:
            best, price = written, cost
    if best is None:
        left = tuple(f"{n.name} ({n.op}): no cheaper form is known" for n in graph.nodes if n.op in MOVES)
        return graph.copy(), FusionReport(target.name, before, before, left, notes, changed=False)
    fused = validate(best.graph, "fuse_channels")
    left = tuple(_reason(best, n.name, n.op) for n in fused.nodes if n.op in MOVES)
    fused.metadata.setdefault("steps", []).append({"step": "fuse_channels", "target": target.name})
    return fused, FusionReport(target.name, before, _count(fused), left, notes, changed=True)


def _count(graph: Graph) -> dict[str, int]:
    counts = Counter(n.op for n in graph.nodes)
    return {op: counts[op] for op in MOVES if counts[op]}


def _reason(written: Written, name: str, op: str) -> str:
    reader = written.wanted_by.get(name)
    return f"{name} ({op}): " + (f"{reader} reads these channels together" if reader else "moves more than channels")


def _variants(program: Program, target: Target) -> list[Written]:
    """The program in chosen orders; then again with groups made dense and gaps filled where that promises less."""
    found = []
    for _ in range(ROUNDS):
        orders = choose_orders(program)
        written = write_program(program, orders, target)
        found.append(written)
        dense = _densified(program, written, target)
        changed = completed(dense or program, orders, target) or dense
        if changed is None:
            break
        program = changed
    return found


def _densified(program: Program, written: Written, target: Target) -> Program | None:
    """The program with those grouped steps dense whose zeros cost less than the move that they save."""
    makers = {step.root: step for step in program.steps}
    chosen: set[str] = set()
    for step in program.steps:
        move = written.price_of.get((step.node.name, 0), 0.0)
        if step.kind != "grouped" or not move:
            continue
        feeding = _grouped_before(program, step, makers)
        options: list[tuple[tuple[Step, ...], float]] = [((step,), _extra_ns(program, step, target))]
        if feeding:
            options.append((feeding, math.fsum(_extra_ns(program, s, target) for s in feeding)))
        steps, extra = min(options, key=lambda option: option[1])
        if extra < move:
            chosen.update(s.node.name for s in steps)
    if not chosen:
        return None
    return replace(program, steps=[_dense(s) if s.node.name in chosen else s for s in program.steps])


def _grouped_before(program: Program, step: Step, makers: dict[str, Step]) -> tuple[Step, ...]:
    """The grouped step whose order of channels a step's input follows through channelwise steps of one input."""
    edges = step.edges
    while len(edges) == 1 and edges[0].map.is_injective:
        owners = program.space.owners(edges[0].map)
        maker = makers.get(owners[0]) if len(owners) == 1 else None
        if maker is None or maker.kind == "grouped":
            return (maker,) if maker else ()
        if maker.kind != "channelwise":
            break
        edges = maker.edges
    return ()


def _extra_ns(program: Program, step: Step, target: Target) -> float:
    shape = program.graph.shape(step.root)
    kernel = step.kernel
    if kernel is None:
        return float("inf")
    c = target.coefficients(program.graph.tensor(step.root).dtype)
    macs = int(np.prod(shape)) * int(np.prod(kernel.shape[:3]))
    return (step.groups - 1) * (macs * c.mac + kernel.nbytes * c.weight)


def _dense(step: Step) -> Step:
    if step.kernel is None:
        return step
    return replace(step, kind="mix", kernel=dense_kernel(step.kernel, step.groups), groups=1)

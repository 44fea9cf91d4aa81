"""Channel shuffles, splits, slices, concats and gathers worked out once, so that as little as can be is moved.

Works on float graphs on which the other passes have run, and on quantized ones: every value stays the same, to the bit
in integers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgekit.graph import Graph, Node, validate
from edgekit.passes.channel_completion import completed
from edgekit.passes.channel_orders import choose_orders
from edgekit.passes.channel_program import Program, Step, dense_kernel, read_program
from edgekit.passes.channel_writer import Written, write_program
from edgekit.passes.target import Layer, Target

MOVES = ("channel_shuffle", "split", "slice", "gather", "concat", "transpose")
"""Ops whose numbers are reported."""

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class FusionReport:
    """before, after: how many nodes of each moving op. left: for each that is left, why and what it costs.

    notes: steps left alone. price_us: by the target's prices, of the graph that was given and the one that was chosen.
    """

    target: str
    before: dict[str, int]
    after: dict[str, int]
    left: tuple[str, ...]
    notes: tuple[str, ...]
    changed: bool
    price_us: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A form of the graph. label: how it came about; written: None for the graph as it was given."""

    label: str
    graph: Graph
    price_ns: float
    program: Program
    written: Written | None


def fuse_channels(graph: Graph, target: Target) -> tuple[Graph, FusionReport]:
    """A graph that computes the same and moves less, by the target's prices; the graph itself where none is cheaper.

    Raises GraphError where a mapping is damaged; constructions that cannot be renamed through are left alone, and the
    report says why.
    """
    candidates = fusion_candidates(graph, target)
    return chosen_form(candidates, min(candidates, key=lambda c: c.price_ns), target)


def fusion_candidates(graph: Graph, target: Target) -> list[Candidate]:
    """Forms of the graph that compute the same, with their prices; the first is the graph itself."""
    program = read_program(graph)
    found = [Candidate("as it was", graph, target.graph_ns(graph), program, None)]
    if program.renaming:
        found += [
            Candidate(label, w.graph, target.graph_ns(w.graph), p, w) for label, p, w in _variants(program, target)
        ]
    return found


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
        return source.graph.copy(), FusionReport(target.name, before, before, left, notes, False, prices)
    fused = validate(chosen.graph, "fuse_channels")
    left = tuple(reason_for(n, chosen.program, chosen.written, target) for n in moves(fused))
    fused.metadata.setdefault("steps", []).append({"step": "fuse_channels", "target": target.name})
    return fused, FusionReport(target.name, before, _count(fused), left, notes, True, prices)


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
    line += f"{reader} reads these channels together" if reader else "moves more than channels"
    ways = []
    if node.name in written.otherwise:
        op, dearer = written.otherwise[node.name]
        ways.append(f"by {op} {_us(dearer)} more")
    step = next((s for s in program.steps if s.node.name == reader), None)
    if step is not None and step.kind == "grouped":
        ways.append(f"with {reader} dense {_us(_extra_ns(program, step, target))} more for it")
    if step is not None and step.kind == "mix" and node.op == "slice":
        whole = written.graph.shape(node.inputs[0])[-1]
        ways.append(
            f"with {reader} over all {whole} channels {_us(_widened_ns(program, step, whole, target))} more for it"
        )
    return "; ".join([line, *ways])


def _us(ns: float) -> str:
    return f"{ns / 1e3:.1f} us"


def _widened_ns(program: Program, step: Step, inputs: int, target: Target) -> float:
    """What more a mix costs that reads so many channels."""
    layer = _layer(program, step)
    if layer is None:
        return math.inf
    dtype = program.graph.tensor(step.root).dtype
    return target.layer_ns(dtype, replace(layer, inputs=max(inputs, layer.inputs))) - target.layer_ns(dtype, layer)


def _variants(program: Program, target: Target) -> list[tuple[str, Program, Written]]:
    """The program in chosen orders; then again with groups made dense and gaps filled where that promises less."""
    found = []
    label = "channels ordered"
    for _ in range(ROUNDS):
        orders = choose_orders(program)
        written = write_program(program, orders, target)
        found.append((label, program, written))
        dense = _densified(program, written, target)
        wider = completed(dense or program, orders, target)
        changed = wider or dense
        if changed is None:
            break
        label += ", groups made dense" if dense else ""
        label += ", gaps filled" if wider else ""
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
    """What more a grouped step costs as a dense one."""
    layer = _layer(program, step)
    if layer is None:
        return math.inf
    dtype = program.graph.tensor(step.root).dtype
    return target.layer_ns(dtype, replace(layer, groups=1)) - target.layer_ns(dtype, layer)


def _layer(program: Program, step: Step) -> Layer | None:
    """The step as the cost model has it; None where its kernel is not known."""
    shape, kernel = program.graph.shape(step.root), step.kernel
    if kernel is None:
        return None
    return Layer(
        sites=math.prod(shape[:-1]),
        taps=math.prod(kernel.shape[:-2]),
        inputs=kernel.shape[-2] * step.groups,
        outputs=kernel.shape[-1],
        groups=step.groups,
        weight_bytes=kernel.dtype.itemsize,
    )


def _dense(step: Step) -> Step:
    if step.kernel is None:
        return step
    return replace(step, kind="mix", kernel=dense_kernel(step.kernel, step.groups), groups=1)

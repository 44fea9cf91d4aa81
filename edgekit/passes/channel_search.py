"""Forms of a graph that compute the same: orders of channels, groups made dense, gaps filled; and what each costs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edgekit.graph import Graph
from edgekit.passes.channel_completion import completed
from edgekit.passes.channel_orders import Orders, choose_orders
from edgekit.passes.channel_program import Program, Step, merged_kernel, read_program
from edgekit.passes.channel_writer import Written, write_program
from edgekit.passes.merge_groups import merge_groups, merged_blocks
from edgekit.passes.pad_channels import pad_channels
from edgekit.passes.split_producers import split_producers
from edgekit.passes.target import Layer, Target

ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """A form of the graph. label: how it came about; written: None for the graph as it was given.

    layers: which layers are computed in fewer groups, in pieces or with more channels, a line each.
    """

    label: str
    graph: Graph
    price_ns: float
    program: Program
    written: Written | None
    layers: tuple[str, ...] = ()


def fusion_candidates(graph: Graph, target: Target) -> list[Candidate]:
    """Forms of the graph that compute the same, with their prices; the first is the graph itself.

    A graph with a damaged mapping has no other form.
    """
    own = read_program(graph)
    found = [Candidate("as it was", graph, target.graph_ns(graph), own, None)]
    if own.damaged:
        return found
    merged = graph.copy()
    lines, refused = merge_groups(merged, target)
    program = read_program(merged) if lines else own
    for name, reason in refused.items():
        own.notes.setdefault(name, reason)
    forms = [("layers as they run best", program, Written(merged, {}, {}, {}))]
    if program.renaming:
        forms += _variants(program, target)
    for label, form, written in forms:
        layers = [*lines, *split_producers(written.graph, target), *pad_channels(written.graph, target)]
        if layers or written.graph is not merged:
            cost = target.graph_ns(written.graph)
            found.append(Candidate(label, written.graph, cost, form, written, tuple(layers)))
    return found


def _variants(program: Program, target: Target) -> Iterator[tuple[str, Program, Written]]:
    """The program in chosen orders; then again with groups made dense and gaps filled where that promises less."""
    label = "channels ordered"
    orders = choose_orders(program)
    written = write_program(program, orders, target)
    yield label, program, written
    forward = _better_forward(program, orders, written, target)
    if forward:
        label += ", some as they are read"
        orders = choose_orders(program, forward)
        written = write_program(program, orders, target)
        yield label, program, written
    cost = target.graph_ns(written.graph)
    for _ in range(ROUNDS):
        dense = _densified(program, written, target)
        wider = completed(dense or program, orders, target)
        changed = wider or dense
        if changed is None:
            return
        label += ", groups made dense" if dense else ""
        label += ", gaps filled" if wider else ""
        program, before = changed, cost
        orders = choose_orders(program, forward)
        written = write_program(program, orders, target)
        cost = target.graph_ns(written.graph)
        yield label, program, written
        if cost > before:
            return


def _better_forward(program: Program, orders: Orders, written: Written, target: Target) -> list[str]:
    """Roots, one a component, around which fewer moves are paid for if their order follows what they read."""
    wishes = {
        orders.component[step.root]: step.root
        for step in program.steps
        if step.kind == "channelwise" and any(written.price_of.get((step.node.name, e.position)) for e in step.edges)
    }
    if not wishes:
        return []
    others = choose_orders(program, wishes.values())
    now = _moves_around(program, orders, written)
    then = _moves_around(program, orders, write_program(program, others, target))
    return [root for component, root in wishes.items() if then[component] < now[component]]


def _moves_around(program: Program, orders: Orders, written: Written) -> Mapping[int, float]:
    """By component, the price of all moves before and behind its steps."""
    prices: defaultdict[int, float] = defaultdict(float)
    for step in program.steps:
        for edge in step.edges:
            owners = program.space.owners(edge.map)
            touched = {orders.component.get(name, -1) for name in owners}
            if step.kind == "channelwise":
                touched.add(orders.component[step.root])
            for component in touched:
                prices[component] += written.price_of.get((step.node.name, edge.position), 0.0)
    return prices


def _densified(program: Program, written: Written, target: Target) -> Program | None:
    """The program with those grouped steps dense whose zeros cost less than the move that they save."""
    makers = {step.root: step for step in program.steps}
    chosen: set[str] = set()
    for step in program.steps:
        move = written.price_of.get((step.node.name, 0), 0.0)
        if step.kind != "grouped" or not move:
            continue
        feeding = _grouped_before(program, step, makers)
        options: list[tuple[tuple[Step, ...], float]] = [((step,), densifying_ns(program, step, target))]
        if feeding:
            options.append((feeding, math.fsum(densifying_ns(program, s, target) for s in feeding)))
        steps, extra = min(options, key=lambda option: option[1])
        if extra < move and all(_fits_dense(s) for s in steps):
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


def densifying_ns(program: Program, step: Step, target: Target) -> float:
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


def _fits_dense(step: Step) -> bool:
    kernel = _dense(step).kernel
    return kernel is not None and merged_kernel(kernel, step.edges[0].map) is not None


def _dense(step: Step) -> Step:
    if step.kernel is None:
        return step
    return replace(step, kind="mix", kernel=merged_blocks(step.kernel, step.groups, 1), groups=1)


def widening_ns(program: Program, step: Step, inputs: int, target: Target) -> float:
    """What more a mix costs that reads so many channels."""
    layer = _layer(program, step)
    if layer is None:
        return math.inf
    dtype = program.graph.tensor(step.root).dtype
    return target.layer_ns(dtype, replace(layer, inputs=max(inputs, layer.inputs))) - target.layer_ns(dtype, layer)

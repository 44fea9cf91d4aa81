"""Lets steps read more channels than they need, where picking out the needed ones would cost more.

A mix reads the others with zero weights; a channelwise step before it computes them for nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph.channels import ChannelMap, IntArray
from edgekit.passes.channel_orders import Orders
from edgekit.passes.channel_program import Edge, Program, Step
from edgekit.passes.channel_writer import fill_gaps
from edgekit.passes.target import Target

Readers = dict[str, list[Step]]


def completed(program: Program, orders: Orders, target: Target) -> Program | None:
    """The program with wider steps; None where no step is better wide."""
    readers: Readers = {}
    for step in program.steps:
        for edge in step.edges:
            for owner in program.space.owners(edge.map):
                readers.setdefault(owner, []).append(step)
    makers = {step.root: step for step in program.steps}
    wanted = {}
    for step in program.steps:
        ids = _wider(program, step, readers, makers, orders, target)
        if ids is not None and len(ids) > len(np.unique(step.edges[0].map.ids)):
            wanted[step.node.name] = ids
    return _with_more_channels(program, wanted) if wanted else None


def _wider(
    program: Program, step: Step, readers: Readers, makers: dict[str, Step], orders: Orders, target: Target
) -> IntArray | None:
    """The channels that the step had better read."""
    if len(step.edges) != 1:
        return None
    ids = step.edges[0].map.ids
    mixes = _mixes_behind(program, step, readers)
    if not mixes:
        return None
    saved, each = _stakes(program, step, mixes, target)
    if step.kind == "channelwise":
        return fill_gaps(program, orders, ids, saved, each)
    owners = program.space.owners(step.edges[0].map)
    if each < saved and all(_follows_its_input(makers.get(owner)) for owner in owners):
        return np.concatenate([program.space.of(owner).ids for owner in owners])
    return None


def _follows_its_input(maker: Step | None) -> bool:
    """Whether leaving out some of a tensor's channels would cost moves before it."""
    return maker is not None and maker.kind == "channelwise" and len(maker.edges) == 1


def _mixes_behind(program: Program, step: Step, readers: Readers) -> list[Step] | None:
    """The mixes that take up whatever the step makes (itself, if it is one); None where something else reads it."""
    if step.kind == "mix":
        return None if step.exact else [step]
    if step.kind != "channelwise" or len(step.edges) != 1 or step.root in program.graph.outputs:
        return None
    found: list[Step] = []
    for reader in readers.get(step.root, []):
        behind = _mixes_behind(program, reader, readers)
        if behind is None:
            return None
        found += behind
    return found


def _stakes(program: Program, step: Step, mixes: list[Step], target: Target) -> tuple[float, float]:
    """Nanoseconds that one run less saves, and that one channel more costs."""
    graph = program.graph
    source, result = graph.tensor(step.node.inputs[0]), graph.tensor(step.root)
    c = target.coefficients(result.dtype)
    each = 0.0
    if step.kind == "channelwise":
        each += result.size // result.shape[-1] * (c.output + 3 * np.dtype(result.dtype).itemsize * c.byte)
    for mix in mixes:
        if mix.kernel is not None:
            taps = int(np.prod(mix.kernel.shape[:-2]))
            row = taps * mix.kernel.shape[-1] * mix.kernel.dtype.itemsize
            each += graph.tensor(mix.root).size * taps * c.mac + row * c.weight
    return 2 * (source.size // source.shape[-1]) * c.piece + c.overhead, each


def _with_more_channels(program: Program, wanted: dict[str, IntArray]) -> Program:
    """Renumber the channels: these steps read more; so do those behind them that read all that they make."""
    fresh = Program(program.graph, notes=program.notes, renaming=program.renaming)
    translate = np.full(program.space.size, -1)
    grown: dict[str, IntArray] = {}

    def number(name: str, more: int) -> None:
        base, count = program.space.base(name), program.space.channels(name)
        own = fresh.space.add(name, count + more)
        translate[base : base + count] = own.ids[:count]
        if more:
            grown[name] = own.ids[count:]

    for name in program.graph.inputs:
        number(name, 0)
    for step in program.steps:
        extra = np.zeros(0, np.int64)
        edges = tuple(Edge(e.position, ChannelMap(translate[e.map.ids])) for e in step.edges)
        if step.node.name in wanted:
            extra = np.setdiff1d(translate[wanted[step.node.name]], edges[0].map.ids)
        if len(edges) == 1 and (step.kind == "channelwise" or (step.kind == "mix" and not step.exact)):
            for name in program.space.owners(step.edges[0].map):
                if name in grown and (extra.size or np.isin(program.space.of(name).ids, step.edges[0].map.ids).all()):
                    extra = np.union1d(extra, grown[name])
        wider = _reading(replace(step, edges=edges), extra)
        fresh.steps.append(wider)
        for name in step.node.outputs:
            number(name, len(wider.select) - len(step.select) if name == step.root else 0)
    fresh.maps = {name: ChannelMap(translate[m.ids]) for name, m in program.maps.items()}
    return fresh


def _reading(step: Step, extra: IntArray) -> Step:
    """The step with more channels at the end of its input: computed like its first one, or met by zero weights."""
    if not extra.size:
        return step
    edge = step.edges[0]
    edges = (Edge(edge.position, ChannelMap(np.concatenate([edge.map.ids, extra]))),)
    if step.kernel is None:
        return replace(step, edges=edges, select=np.concatenate([step.select, np.full(len(extra), step.select[0])]))
    zeros = np.zeros((*step.kernel.shape[:-2], len(extra), step.kernel.shape[-1]), step.kernel.dtype)
    return replace(step, edges=edges, kernel=np.concatenate([step.kernel, zeros], axis=-2))

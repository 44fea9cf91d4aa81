"""The ordered table of passes, and how they run."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from edgekit.errors import GraphError, ModelError
from edgekit.graph import Graph, validate
from edgekit.passes.fold_batch_norm import fold_batch_norm
from edgekit.passes.fold_constants import fold_constants
from edgekit.passes.fold_padding import fold_padding
from edgekit.passes.fold_scale_shift import fold_scale_shift
from edgekit.passes.fuse_activations import fuse_activations
from edgekit.passes.hoist_activations import hoist_activations
from edgekit.passes.hoist_batch_norms import hoist_batch_norms
from edgekit.passes.lower_batch_norm import lower_batch_norm
from edgekit.passes.lower_composites import lower_composites
from edgekit.passes.refusals import collect_refusals
from edgekit.passes.remove_dead_nodes import remove_dead_nodes
from edgekit.passes.remove_identities import remove_identities
from edgekit.passes.store_half import store_half
from edgekit.passes.use_global_pooling import use_global_pooling

MAX_ROUNDS = 50
"""Rounds after which passes that still rewrite are taken to undo each other's work. Two or three are usual."""


@dataclass(frozen=True, slots=True)
class PassRow:
    """One pass. what: one line for `--explain`. default: whether it runs unless asked for by name."""

    name: str
    function: Callable[[Graph], int]
    what: str
    default: bool = True


@dataclass(frozen=True, slots=True)
class PassReport:
    """What one pass did. count: its rewrites. refusals: what it left alone in the end, and why."""

    name: str
    what: str
    count: int
    refusals: tuple[str, ...]


def ordered_table(*rows: PassRow) -> tuple[PassRow, ...]:
    """The rows as a table. Raises GraphError if two have the same name."""
    names = [row.name for row in rows]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise GraphError(f"the table of passes has two rows called {twice!r}")
    return rows


# Order: constants and shapes are cleared first, so that the folds see their neighbours. Constant factors go before
# batch norms, so that a batch norm is lowered only when nothing can take it any more; activations follow what is left.
# What hoists comes before what folds or fuses.
PASSES = ordered_table(
    PassRow("remove_dead_nodes", remove_dead_nodes, "remove nodes that no output depends on"),
    PassRow("remove_identities", remove_identities, "remove nodes that change nothing; merge reshapes and transposes"),
    PassRow("fold_constants", fold_constants, "compute nodes that read only constants"),
    PassRow("lower_composites", lower_composites, "write swish and hard_sigmoid with sigmoid, relu6, add and mul"),
    PassRow("use_global_pooling", use_global_pooling, "turn average pools over the whole map into global pools"),
    PassRow("fold_padding", fold_padding, "fold padding into the convolutions and max pools that read it"),
    PassRow("fold_scale_shift", fold_scale_shift, "fold constant factors and offsets into the layers beside them"),
    PassRow("hoist_batch_norms", hoist_batch_norms, "move batch norms before the shuffles that lead to them"),
    PassRow("fold_batch_norm", fold_batch_norm, "fold batch norms into the layers beside them"),
    PassRow("lower_batch_norm", lower_batch_norm, "turn the remaining batch norms into depthwise 1x1 convolutions"),
    PassRow("hoist_activations", hoist_activations, "move relu and relu6 before concats, shuffles and max pools"),
    PassRow("fuse_activations", fuse_activations, "fuse relu and relu6 into the layer before them"),
    PassRow("store_half", store_half, "store kernels as float16", default=False),
)


def apply_passes(
    graph: Graph, names: Collection[str] | None = None, *, skip: Iterable[str] = ()
) -> tuple[Graph, list[PassReport]]:
    """Run passes over a copy of the graph, in the table's order, again and again until none rewrites anything.

    names: which (default: every default row); skip: which not. Validates after each pass and appends those that
    rewrote something to metadata["steps"]. Raises ModelError for an unknown name, GraphError for a quantized graph
    (passes rewrite float graphs) or for passes that never come to rest.
    """
    rows = _select(names, skip)
    quantized = next((t.name for t in graph.tensors.values() if t.quant is not None), None)
    if quantized is not None:
        raise GraphError(f"tensor {quantized!r} is quantized; run the passes before quantization")
    result = graph.copy()
    counts, refusals = dict.fromkeys((row.name for row in rows), 0), {row.name: dict[str, str]() for row in rows}
    for _ in range(MAX_ROUNDS):
        busy = [row.name for row in rows if _run(result, row, counts, refusals[row.name])]
        if not busy:
            break
    else:
        raise GraphError(f"passes {', '.join(busy)} still rewrite after {MAX_ROUNDS} rounds; skip one of them")
    steps = [{"step": name, "rewrites": count} for name, count in counts.items() if count]
    result.metadata.setdefault("steps", []).extend(steps)
    return result, [_report(result, row, counts[row.name], refusals[row.name]) for row in rows]


def _run(graph: Graph, row: PassRow, counts: dict[str, int], refusals: dict[str, str]) -> int:
    """Run one pass, validate, and add up what it did and refused."""
    with collect_refusals() as found:
        count = row.function(graph)
    validate(graph, row.name)
    counts[row.name] += count
    refusals.update(found)
    return count


def _report(graph: Graph, row: PassRow, count: int, refusals: dict[str, str]) -> PassReport:
    """The report; a node that a later round took out after all is no refusal."""
    names = {node.name for node in graph.nodes}
    return PassReport(row.name, row.what, count, tuple(line for name, line in refusals.items() if name in names))


def _select(names: Collection[str] | None, skip: Iterable[str]) -> list[PassRow]:
    """The rows asked for, in the table's order."""
    unwanted = set(skip)
    for name in (*(names or ()), *sorted(unwanted)):
        _check_name(name)
    wanted = {row.name for row in PASSES if row.default} if names is None else set(names)
    return [row for row in PASSES if row.name in wanted - unwanted]


def _check_name(name: str) -> None:
    known = [row.name for row in PASSES]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise ModelError(f"no pass {name!r}; did you mean {', '.join(near)}?")

"""Weights as a file keeps them, and how they find their place in a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from edgekit.errors import WeightsError
from edgekit.graph.ir import Array, Graph, Node

Shape = tuple[int, ...]

ROLES = {
    "conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_norm": ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""What the inputs of an op after the first are called in Keras, in its order."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One array of a file, not yet read: name as the file calls it; role is Keras's name for it, or empty."""

    name: str
    role: str
    shape: Shape
    read: Callable[[], Array]


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """Arrays of one layer, in Keras's order. kind: the layer's class in snake case, or empty; group: where it lies."""

    name: str
    tensors: tuple[StoredTensor, ...]
    kind: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """A constant of the graph that wants a value; `shapes` are the forms in which a file may hold it.

    axes: how to transpose an array of the first of these shapes into the constant's; empty where no axis moves.
    file_name: what the file calls it, where that is known beforehand.
    """

    constant: str
    role: str
    shapes: tuple[Shape, ...]
    axes: tuple[int, ...] = ()
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class TargetLayer:
    """A node of the graph with weights. kind: the class of the Keras layer that it stands for."""

    name: str
    kind: str
    slots: tuple[Slot, ...]


Pair = tuple[Slot, StoredTensor | None]


def target_layers(graph: Graph) -> list[TargetLayer]:
    """The nodes that own weights, in execution order."""
    return [_target(graph, node) for node in graph.nodes if node.op in ROLES]


def is_chain(graph: Graph) -> bool:
    """Whether each layer with weights reads what the one before it made, if only in part: then there is one order."""
    latest: dict[str, int] = {}
    count = 0
    for node in graph.nodes:
        depends = max((latest.get(name, -1) for name in node.inputs), default=-1)
        if node.op in ROLES:
            if depends != count - 1:
                return False
            depends, count = count, count + 1
        latest.update(dict.fromkeys(node.outputs, depends))
    return True


def pair_layers(
    targets: Sequence[TargetLayer], layers: Sequence[StoredLayer], where: str, *, names_only: bool = False
) -> tuple[list[Pair], str]:
    """Which stored array goes to which constant, and by what the layers were matched: "name", "class" or "order".

    By name where the file knows every layer's; else by class, the n-th of each; else by order. `where` names the file.
    names_only: the file's order tells nothing. Raises WeightsError where the file is of another architecture.
    """
    found, how = _match(targets, layers)
    if names_only and how != "name":
        raise WeightsError(
            f"{where} does not name the layers as this network does, and without names those of its branches cannot be "
            "told apart; save the weights as .keras, from Keras's network of the same name"
        )
    pairs = [pair for target, layer in zip(targets, found, strict=True) for pair in _pair_tensors(target, layer)]
    check_pairs(pairs, where)
    _check_nothing_left(targets, found, layers, where)
    return pairs, how


def check_pairs(pairs: Sequence[Pair], where: str) -> None:
    """Raise WeightsError naming the first constant whose array is missing or of another shape."""
    good = sum(stored is not None and stored.shape in slot.shapes for slot, stored in pairs)
    score = f"{good} of {len(pairs)} tensors match; give weights of the same model, alpha and classes"
    for slot, stored in pairs:
        if stored is None:
            raise WeightsError(f"{where}: weights of another architecture: {_lacking(slot)} {slot.shapes[0]}; {score}")
        if stored.shape not in slot.shapes:
            raise WeightsError(
                f"{where}: weights of another architecture: {stored.name!r} has shape {stored.shape}, "
                f"{slot.constant!r} needs {slot.shapes[0]}; {score}"
            )


def _lacking(slot: Slot) -> str:
    if slot.file_name:
        return f"no {slot.file_name!r}, for {slot.constant!r}"
    return f"nothing for {slot.constant!r}"


def fill_constants(graph: Graph, pairs: Iterable[Pair], where: str) -> None:
    """Read the arrays into the graph's constants, as float32.

    Raises WeightsError naming the tensor that holds NaN, infinity or a negative variance.
    """
    for slot, stored in pairs:
        if stored is None:
            continue
        tensor = graph.tensor(slot.constant)
        with np.errstate(over="ignore"):
            data = np.asarray(stored.read(), np.float32)
        if slot.axes:
            data = data.reshape(slot.shapes[0]).transpose(slot.axes)
        data = np.ascontiguousarray(data.reshape(tensor.shape))
        bad = int(np.count_nonzero(~np.isfinite(data)))
        if bad:
            raise WeightsError(f"{where}: {stored.name!r} (for {slot.constant!r}) holds {bad} NaN or infinite values")
        if slot.role in ("moving_variance", "variance") and float(data.min()) < 0:
            raise WeightsError(f"{where}: {stored.name!r} (for {slot.constant!r}) holds a negative variance")
        graph.set_tensor(tensor.with_data(data))


def _target(graph: Graph, node: Node) -> TargetLayer:
    roles = ROLES[node.op]
    slots = [Slot(name, role, (graph.shape(name),)) for name, role in zip(node.inputs[1:], roles, strict=False)]
    if node.op != "conv2d":
        return TargetLayer(node.name, "batch_normalization" if node.op == "batch_norm" else node.op, tuple(slots))
    groups, (kh, kw, per_group, filters) = node.attrs["groups"], slots[0].shapes[0]
    if groups == 1 or per_group != 1:
        return TargetLayer(node.name, "conv2d", tuple(slots))
    keras_shape = (kh, kw, groups, filters // groups)
    slots[0] = Slot(slots[0].constant, "kernel", (keras_shape, (kh, kw, 1, filters)))
    return TargetLayer(node.name, "depthwise_conv2d", tuple(slots))


def _match(targets: Sequence[TargetLayer], layers: Sequence[StoredLayer]) -> tuple[list[StoredLayer | None], str]:
    by_name = {layer.name: layer for layer in layers}
    named = [by_name.get(target.name) for target in targets]
    if len(by_name) == len(layers) and all(layer is not None for layer in named):
        return named, "name"
    if len(by_name) == len(layers) == len(targets) and named[-1] is None and None not in named[:-1]:
        # Keras renamed its classifiers; the order alone could swap layers of equal shape.
        known = {target.name for target in targets}
        named[-1] = next(layer for layer in layers if layer.name not in known)
        return named, "name"
    if any(layer.kind for layer in layers):
        # Such files list their layers by class, so their order as a whole means nothing.
        return _match_classes(targets, layers), "class"
    if any(layer is not None for layer in named) and len(targets) != len(layers):
        return named, "name"
    ordered = [layer for target, layer in zip_longest(targets, layers) if target is not None]
    return ordered, "order"


def _match_classes(targets: Sequence[TargetLayer], layers: Sequence[StoredLayer]) -> list[StoredLayer | None]:
    """The n-th layer of a class for the n-th target of it; none of a class that lies in several groups, unordered."""
    groups = {layer.kind: {other.group for other in layers if other.kind == layer.kind} for layer in layers}
    ordered: dict[str, Iterator[StoredLayer]] = {
        kind: iter([layer for layer in layers if layer.kind == kind])
        for kind, where in groups.items()
        if len(where) == 1
    }
    return [next(ordered[target.kind], None) if target.kind in ordered else None for target in targets]


def _pair_tensors(target: TargetLayer, layer: StoredLayer | None) -> list[Pair]:
    """Slots with the layer's tensors, by role where the file names the roles, else by position."""
    if layer is None:
        return [(slot, None) for slot in target.slots]
    if all(tensor.role for tensor in layer.tensors):
        by_role = {tensor.role: tensor for tensor in layer.tensors}
        return [(slot, by_role.get(slot.role)) for slot in target.slots]
    tensors = (*layer.tensors, *[None] * len(target.slots))
    return list(zip(target.slots, tensors, strict=False))


def _check_nothing_left(
    targets: Sequence[TargetLayer], found: Sequence[StoredLayer | None], layers: Sequence[StoredLayer], where: str
) -> None:
    """Raise WeightsError naming a layer or a tensor of the file that the network has no use for."""
    used = {id(layer) for layer in found}
    extra = next((layer.name for layer in layers if id(layer) not in used), None)
    if extra is None:
        surplus = (
            layer.tensors[len(target.slots)].name
            for target, layer in zip(targets, found, strict=True)
            if layer is not None and len(layer.tensors) > len(target.slots)
        )
        extra = next(surplus, None)
    if extra is not None:
        raise WeightsError(f"{where}: weights of another architecture: the network has no place for {extra!r}")

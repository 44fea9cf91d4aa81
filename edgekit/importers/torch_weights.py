"""State dicts, and other files that store kernels as PyTorch and Caffe do, into a zoo graph.

Convolution kernels are (out, in / groups, height, width) there, dense ones (out, in).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgekit.errors import WeightsError
from edgekit.graph.ir import Graph
from edgekit.importers.stored import (
    Pair,
    Slot,
    StoredLayer,
    StoredTensor,
    TargetLayer,
    check_pairs,
    fill_constants,
    pair_layers,
    target_layers,
)
from edgekit.importers.stored_keras import Pixels
from edgekit.importers.torch_layouts import LAYOUTS, TORCH_ROLES, Layout

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

COUNTERS = ("num_batches_tracked",)
"""What a batch norm counts in training."""

KINDS = {"batch_normalization": "batch_normalization", "dense": "dense"}
KNOWN_SHARE = 0.5
"""A file has a layout if it knows this share of its layers' names: then a missing one is an error, not another file."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a file's tensors found their places: "name" by a layout or the graph's own names, "class" or "order".

    pixels: how the file's network normalizes them, where it does so itself.
    """

    matched_by: str
    layout: Layout | None
    pixels: Pixels | None = None


def fill_from_tensors(graph: Graph, tensors: Sequence[StoredTensor], where: str, *, without_head: bool = False) -> Fit:
    """Fill the graph's constants from a file's tensors.

    By a layout of the table where the file has one's names; else by the graph's own names, or the n-th layer of a
    class for the n-th of the graph. without_head: leave the last layer as it is.
    Raises WeightsError naming the tensor that is missing, unexpected or of another shape, and the option that a
    layout's weights were trained with.
    """
    targets = [_in_file_form(graph, target) for target in target_layers(graph)]
    tensors = _plain_names(tensors)
    layout = _layout_of(graph, targets, tensors)
    if layout is None:
        pairs, matched_by = pair_layers(targets[:-1] if without_head else targets, _layers(tensors), where)
    else:
        _check_options(graph, layout, where)
        pairs, matched_by = _pair_by_layout(graph, targets, tensors, layout, without_head, where), "name"
    fill_constants(graph, pairs, where)
    return Fit(matched_by, layout)


def _plain_names(tensors: Sequence[StoredTensor]) -> list[StoredTensor]:
    """Without the counters, and without a prefix that all names have."""
    kept = [tensor for tensor in tensors if tensor.name.rpartition(".")[2] not in COUNTERS]
    for prefix in PREFIXES:
        if kept and all(tensor.name.startswith(prefix) for tensor in kept):
            kept = [replace(tensor, name=tensor.name.removeprefix(prefix)) for tensor in kept]
    return kept


def _in_file_form(graph: Graph, target: TargetLayer) -> TargetLayer:
    """The target with shapes as PyTorch has them; a 1x1 convolution may lie there as a dense layer."""
    slots = []
    for slot in target.slots:
        shape = graph.shape(slot.constant)
        if len(shape) == 4:
            height, width, inputs, outputs = shape
            whole = (outputs, inputs, height, width)
            shapes = (whole, whole[:2]) if (height, width) == (1, 1) else (whole,)
            slots.append(replace(slot, shapes=shapes, axes=(2, 3, 1, 0)))
        elif len(shape) == 2:
            slots.append(_dense_slot(graph, target.name, slot))
        else:
            slots.append(replace(slot, shapes=(shape,)))
    return TargetLayer(target.name, KINDS.get(target.kind, "conv2d"), tuple(slots))


def _dense_slot(graph: Graph, layer: str, slot: Slot) -> Slot:
    """A dense kernel's slot. PyTorch flattens a map channels first, so behind one its inputs are in that order."""
    inputs, outputs = graph.shape(slot.constant)
    mapped = _flattened_map(graph, layer)
    if mapped is None:
        return replace(slot, shapes=((outputs, inputs),), axes=(1, 0))
    _, height, width, channels = mapped
    return replace(slot, shapes=((outputs, channels, height, width), (outputs, inputs)), axes=(2, 3, 1, 0))


def _flattened_map(graph: Graph, layer: str) -> tuple[int, ...] | None:
    """Shape of the map (1, H, W, C) that the dense layer reads flattened, if it does."""
    made = {output: node for node in graph.nodes for output in node.outputs}
    node = next(node for node in graph.nodes if node.name == layer)
    while node.inputs[0] in made:
        node = made[node.inputs[0]]
        if node.op not in ("dropout", "reshape", "identity"):
            return None
        shape = graph.shape(node.inputs[0])
        if len(shape) == 4:
            return shape
    return None


# -- known layouts -----------------------------------------------------------------------------------------------------


def _layout_of(graph: Graph, targets: Sequence[TargetLayer], tensors: Sequence[StoredTensor]) -> Layout | None:
    """The layout of the graph's model that the file's names show, if any."""
    model = graph.metadata.get("model", {})
    present = {tensor.name for tensor in tensors}
    for layout in LAYOUTS:
        if layout.model == model.get("name"):
            wanted = _file_names(targets, layout, model)
            if sum(name in present for name in wanted.values()) >= KNOWN_SHARE * max(len(wanted), 1):
                return layout
    return None


def _file_names(targets: Sequence[TargetLayer], layout: Layout, options: Mapping[str, object]) -> dict[str, str]:
    """The file's name for each constant of the graph that the layout knows."""
    layers = dict(layout.names([target.name for target in targets], options))
    return {
        slot.constant: f"{layers[target.name]}{layout.joint}{layout.roles[slot.role]}"
        for target in targets
        if target.name in layers
        for slot in target.slots
        if slot.role in layout.roles
    }


def _check_options(graph: Graph, layout: Layout, where: str) -> None:
    """Raise WeightsError where the graph computes something else than the layout's weights were trained for."""
    model = graph.metadata["model"]
    wrong = {name: value for name, value in layout.requires.items() if model.get(name, value) != value}
    if wrong:
        flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in wrong.items())
        held = ", ".join(f"{name} {model[name]}" for name in wrong)
        raise WeightsError(
            f"{where} has {layout.title}'s weights of {layout.model}, trained otherwise than with {held}: give {flags}"
        )


def _pair_by_layout(
    graph: Graph,
    targets: Sequence[TargetLayer],
    tensors: Iterable[StoredTensor],
    layout: Layout,
    without_head: bool,
    where: str,
) -> list[Pair]:
    names = _file_names(targets, layout, graph.metadata["model"])
    by_name = {tensor.name: tensor for tensor in tensors}
    pairs: list[Pair] = []
    for target in targets[:-1] if without_head else targets:
        for slot in target.slots:
            name = names.get(slot.constant, "")
            pairs.append((replace(slot, file_name=name), by_name.get(name)))
    check_pairs(pairs, where)
    head = {names[slot.constant] for slot in targets[-1].slots if slot.constant in names} if without_head else set()
    used = {stored.name for _, stored in pairs if stored is not None} | head
    extra = next((name for name in by_name if name not in used), None)
    if extra is not None:
        raise WeightsError(
            f"{where}: weights of another architecture: the network has no place for {extra!r} {by_name[extra].shape}"
        )
    return pairs


# -- files of any other origin -----------------------------------------------------------------------------------------


def _layers(tensors: Iterable[StoredTensor]) -> list[StoredLayer]:
    """Tensors joined to layers by what stands before their last name; the class follows from what a layer has."""
    modules: dict[str, dict[str, StoredTensor]] = {}
    for tensor in tensors:
        module, _, last = tensor.name.rpartition(".")
        modules.setdefault(module, {})[last] = tensor
    return [_layer(module, parts) for module, parts in modules.items()]


def _layer(module: str, parts: Mapping[str, StoredTensor]) -> StoredLayer:
    """One layer; a tensor of no known role makes a class of its own, which the graph has no place for."""
    normalizes = "running_mean" in parts
    axes = len(parts["weight"].shape) if "weight" in parts else 0
    kind = "batch_normalization" if normalizes else {4: "conv2d", 2: "dense"}.get(axes, "unknown")
    roles = {their: our for our, their in TORCH_ROLES.items() if (our in ("kernel", "bias")) != normalizes}
    named = tuple(replace(tensor, role=roles.get(last, last)) for last, tensor in parts.items())
    return StoredLayer(module, named, kind)

"""Tensors, nodes and the graph that holds them.

Activations are NHWC, convolution kernels HWIO `(kh, kw, in_channels / groups, out_channels)`, dense kernels
`(in, out)`. Tensors and nodes are frozen values; only methods of `Graph` edit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import GraphError
from edgekit.graph.deferred import Deferred
from edgekit.graph.quant_params import QuantParams

Array = npt.NDArray[Any]
Attr = Any
"""An attribute: a bool, int, float, str or a tuple of ints or floats."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value that flows along an edge, or a constant.

    shape is static; dtype is numpy's name; data (constants only) is a read-only array of that shape and dtype, or how
    to make it: read it as `array`.
    With `quant`, dtype is the integer type and `quant` gives its meaning.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    data: Array | Deferred | None = None
    quant: QuantParams | None = None

    def __post_init__(self) -> None:
        if isinstance(self.data, np.ndarray) and self.data.flags.writeable:
            frozen = np.array(self.data)
            frozen.flags.writeable = False
            object.__setattr__(self, "data", frozen)

    @classmethod
    def constant(cls, name: str, data: Array, quant: QuantParams | None = None) -> Tensor:
        """A constant that holds `data` (copied if it is writable)."""
        data = np.asarray(data)
        return cls(name, tuple(data.shape), data.dtype.name, data, quant)

    @property
    def is_constant(self) -> bool:
        """Whether the value is known."""
        return self.data is not None

    @property
    def array(self) -> Array:
        """The constant's value. Raises GraphError for an activation."""
        if self.data is None:
            raise GraphError(f"tensor {self.name!r} is not a constant")
        return self.data.value() if isinstance(self.data, Deferred) else self.data

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.size * np.dtype(self.dtype).itemsize

    def with_data(self, data: Array) -> Tensor:
        """The same constant with another value (shape and dtype follow the value)."""
        return replace(self, data=data, shape=tuple(data.shape), dtype=data.dtype.name)


@dataclass(frozen=True, slots=True)
class Node:
    """One op: `inputs` and `outputs` are tensor names; `attrs` are complete (the op table fills in defaults)."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Attr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attrs", MappingProxyType(dict(self.attrs)))

    @property
    def output(self) -> str:
        """The first output's name."""
        return self.outputs[0]

    def with_attrs(self, **changes: Attr) -> Node:
        """The same node with some attributes changed."""
        return replace(self, attrs={**self.attrs, **changes})


class Graph:
    """Ordered nodes over named tensors.

    `nodes` is topologically ordered; `inputs` and `outputs` are tensor names; `metadata` is JSON-like and travels
    into the exported files. Consumers and producers are computed on demand, never stored.
    """

    def __init__(self, name: str, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> None:
        self.name = name
        self.inputs: tuple[str, ...] = tuple(inputs)
        self.outputs: tuple[str, ...] = tuple(outputs)
        self.metadata: dict[str, Any] = {}
        self._nodes: list[Node] = []
        self._tensors: dict[str, Tensor] = {}

    # -- reading ---------------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes in execution order (a snapshot: editing while iterating is safe)."""
        return tuple(self._nodes)

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All tensors by name (read-only view)."""
        return MappingProxyType(self._tensors)

    def tensor(self, name: str) -> Tensor:
        """The tensor called `name`. Raises GraphError where there is none."""
        try:
            return self._tensors[name]
        except KeyError:
            raise GraphError(f"graph {self.name!r} has no tensor {name!r}") from None

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the tensor called `name`."""
        return self.tensor(name).shape

    def producer(self, name: str) -> Node | None:
        """The node that writes tensor `name`; None for graph inputs and constants."""
        return next((n for n in self._nodes if name in n.outputs), None)

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read tensor `name`, in execution order."""
        return tuple(n for n in self._nodes if name in n.inputs)

    def consumer_map(self) -> dict[str, list[Node]]:
        """Consumers of every tensor at once: for passes that ask often."""
        found: dict[str, list[Node]] = {}
        for node in self._nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return found

    def only_consumer(self, name: str) -> Node | None:
        """The node that alone reads `name`; None if there are several, none, or `name` leaves the graph."""
        found = self.consumers(name)
        return found[0] if len(found) == 1 and name not in self.outputs else None

    def constants(self) -> tuple[Tensor, ...]:
        """All constant tensors, in order of insertion."""
        return tuple(t for t in self._tensors.values() if t.is_constant)

    # -- editing ---------------------------------------------------------------------------------------------------

    def add_tensor(self, tensor: Tensor) -> Tensor:
        """Add a tensor under a new name."""
        if tensor.name in self._tensors:
            raise GraphError(f"graph {self.name!r} has a tensor {tensor.name!r} already")
        self._tensors[tensor.name] = tensor
        return tensor

    def set_tensor(self, tensor: Tensor) -> None:
        """Replace the tensor of the same name."""
        self.tensor(tensor.name)
        self._tensors[tensor.name] = tensor

    def add_node(self, node: Node, before: Node | None = None) -> Node:
        """Insert a node before another one (at the end by default)."""
        position = len(self._nodes) if before is None else self._index(before)
        self._nodes.insert(position, node)
        return node

    def replace_node(self, old: Node, *new: Node) -> None:
        """Put `new` nodes where `old` was."""
        position = self._index(old)
        self._nodes[position : position + 1] = new

    def remove_node(self, node: Node) -> None:
        """Take a node out; its tensors stay until `drop_unused`."""
        del self._nodes[self._index(node)]

    def replace_uses(self, old: str, new: str) -> None:
        """Let every reader of `old` (and the graph's outputs) read `new`."""
        self._nodes = [
            replace(n, inputs=tuple(new if i == old else i for i in n.inputs)) if old in n.inputs else n
            for n in self._nodes
        ]
        self.outputs = tuple(new if o == old else o for o in self.outputs)

    def rename_tensor(self, old: str, new: str) -> None:
        """Give a tensor another name, everywhere."""
        if new in self._tensors:
            raise GraphError(f"cannot rename {old!r}: {new!r} exists")
        renamed = replace(self.tensor(old), name=new)
        self._tensors = {(new if k == old else k): (renamed if k == old else v) for k, v in self._tensors.items()}

        def swap(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(new if n == old else n for n in names)

        self._nodes = [replace(n, inputs=swap(n.inputs), outputs=swap(n.outputs)) for n in self._nodes]
        self.inputs, self.outputs = swap(self.inputs), swap(self.outputs)

    def drop_unused(self) -> int:
        """Remove nodes whose results nobody reads, then tensors that nobody names; return how many nodes went."""
        needed, kept = set(self.outputs), []
        for node in reversed(self._nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        removed = len(self._nodes) - len(kept)
        self._nodes = kept[::-1]
        named = {name for n in self._nodes for name in (*n.inputs, *n.outputs)} | {*self.inputs, *self.outputs}
        self._tensors = {k: v for k, v in self._tensors.items() if k in named}
        return removed

    def sort(self) -> None:
        """Put nodes in topological order, stable. Raises GraphError on a cycle or an input that nobody makes."""
        ready = {*self.inputs, *(t.name for t in self.constants())}
        waiting, ordered = self._nodes, []
        while waiting:
            runnable = [n for n in waiting if ready.issuperset(n.inputs)]
            if not runnable:
                raise GraphError(f"node {waiting[0].name!r} waits for inputs that no node makes")
            first = runnable[0]
            ordered.append(first)
            ready.update(first.outputs)
            waiting = [n for n in waiting if n is not first]
        self._nodes = ordered

    def unique_name(self, wish: str) -> str:
        """`wish`, or `wish_1`, `wish_2`, ... : the first that neither a tensor nor a node bears."""
        taken = self._tensors.keys() | {n.name for n in self._nodes}
        if wish not in taken:
            return wish
        return next(f"{wish}_{i}" for i in range(1, len(taken) + 2) if f"{wish}_{i}" not in taken)

    def map_tensors(self, change: Callable[[Tensor], Tensor]) -> None:
        """Apply `change` (which keeps names) to every tensor."""
        self._tensors = {name: change(tensor) for name, tensor in self._tensors.items()}

    def copy(self) -> Graph:
        """An independent graph; the frozen values are shared."""
        twin = Graph(self.name, self.inputs, self.outputs)
        twin.metadata = _copy_json(self.metadata)
        twin._nodes = list(self._nodes)
        twin._tensors = dict(self._tensors)
        return twin

    def _index(self, node: Node) -> int:
        for position, candidate in enumerate(self._nodes):
            if candidate is node or candidate.name == node.name:
                return position
        raise GraphError(f"graph {self.name!r} has no node {node.name!r}")


def _copy_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_copy_json(v) for v in value]
    return value

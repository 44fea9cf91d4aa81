"""An ONNX file as plain Python values: what is left after the reader, and all that the rest of the importer sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array

Dim = int | str
"""A dimension: a number, or the name of an open one."""


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One node. `attrs` holds ints, floats, str, arrays, or tuples of the first three; "" is an absent input or output.

    The getters raise ImportFileError where an attribute is missing or of another kind.
    """

    op: str
    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The name for messages: the node's, or that of its first output."""
        return self.name or next((o for o in self.outputs if o), "unnamed")

    def input(self, index: int) -> str:
        """Name of an input; "" if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def integer(self, name: str, default: int) -> int:
        """An int attribute."""
        value = self.attrs.get(name, default)
        return int(value) if isinstance(value, int) else self._wrong(name, "an int")

    def number(self, name: str, default: float) -> float:
        """A float attribute."""
        value = self.attrs.get(name, default)
        return float(value) if isinstance(value, int | float) else self._wrong(name, "a float")

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self.attrs.get(name, default)
        return value if isinstance(value, str) else self._wrong(name, "a string")

    def integers(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """An attribute that is a list of ints; without a default it must be there."""
        value = self.attrs.get(name, default)
        if isinstance(value, tuple) and all(isinstance(v, int) for v in value):
            return value
        return tuple(self._wrong(name, "a list of ints"))

    def _wrong(self, name: str, kind: str) -> Any:
        state = "is not" if name in self.attrs else "is missing: it must be"
        raise ImportFileError(f"attribute {name!r} {state} {kind}")


@dataclass(frozen=True, slots=True)
class OnnxInput:
    """A graph input: its name, element type (numpy's name, or "?"), and dimensions (None: the file gives no shape)."""

    name: str
    dtype: str
    dims: tuple[Dim, ...] | None


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A file's graph. source: the file for messages; sha256: of its bytes (and its external data's)."""

    source: str
    sha256: str
    graph_name: str
    opset: int
    inputs: tuple[OnnxInput, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]
    nodes: tuple[OnnxNode, ...]

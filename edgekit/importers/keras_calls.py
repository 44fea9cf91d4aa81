"""The calls of a Keras model's layers, in the forms in which Keras 2 and Keras 3 write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError


@dataclass(frozen=True, slots=True)
class Ref:
    """An output of a call: the layer's name, which of its calls, and which of the call's outputs."""

    layer: str
    call: int
    output: int

    def shifted(self, shifts: Mapping[str, int]) -> Ref:
        """The reference with calls counted from that many later, for the layers named."""
        return Ref(self.layer, max(self.call - shifts.get(self.layer, 0), 0), self.output)


@dataclass(frozen=True, slots=True)
class Call:
    """What one call of a layer was given: plain values, arrays, slices and, nested among them, `Ref`s."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def refs(self) -> Iterator[Ref]:
        """All references, in order."""
        return find_refs((self.args, dict(self.kwargs)))

    def shifted(self, shifts: Mapping[str, int]) -> Call:
        """The call with all its references shifted."""
        return self.mapped(lambda ref: ref.shifted(shifts))

    def mapped(self, change: Callable[[Ref], Any]) -> Call:
        """The call with something else for each reference."""
        return Call(tuple(_mapped(value, change) for value in self.args), _mapped(dict(self.kwargs), change))


def is_int(value: Any) -> bool:
    """Whether a value is a whole number, and not true or false."""
    return isinstance(value, int) and not isinstance(value, bool)


def short(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _mapped(value: Any, change: Callable[[Ref], Any]) -> Any:
    if isinstance(value, Ref):
        return change(value)
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    return {key: _mapped(item, change) for key, item in value.items()} if isinstance(value, dict) else value


def find_refs(value: Any) -> Iterator[Ref]:
    """All references in nested tuples, lists and dictionaries."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from find_refs(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from find_refs(item)


def _history(value: Any) -> Ref | None:
    """["conv", 0, 0] as a reference."""
    if isinstance(value, list | tuple) and len(value) == 3 and isinstance(value[0], str):
        _, call, output = value
        if is_int(call) and is_int(output) and call >= 0 and output >= 0:
            return Ref(value[0], call, output)
    return None


def read_refs(value: Any) -> Iterator[Ref]:
    """References in lists and dictionaries, dictionaries by key, as Keras flattens them. Raises ImportFileError."""
    ref = _history(value)
    if ref is not None:
        yield ref
    elif isinstance(value, list | tuple):
        for item in value:
            yield from read_refs(item)
    elif isinstance(value, dict):
        for key in sorted(value):
            yield from read_refs(value[key])
    else:
        raise ImportFileError(f"has an input or output {short(value)}, which names no layer")


def parse_call(data: Any, names: set[str], layer: str) -> Call:
    """One call of a layer; `names` are those of all layers. Raises ImportFileError."""
    if isinstance(data, dict) and isinstance(data.get("args"), list) and isinstance(data.get("kwargs", {}), dict):
        kwargs = {str(key): _value(value) for key, value in data.get("kwargs", {}).items()}
        return Call(tuple(_value(value) for value in data["args"]), kwargs)
    if isinstance(data, list):
        return _legacy_call(data, names, layer)
    if isinstance(data, dict):
        return _legacy_call([data[key] for key in sorted(data)], names, layer)
    raise ImportFileError(f"layer {layer!r} is called with {short(data)}, which makes no sense")


def _value(value: Any) -> Any:
    """What Keras 3 writes of an argument."""
    if isinstance(value, list):
        return [_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if isinstance(config, dict):
        if kind == "__keras_tensor__":
            ref = _history(config.get("keras_history"))
            if ref is None:
                raise ImportFileError(f"has a reference {short(config)} that names no layer")
            return ref
        if kind in ("__tensor__", "__numpy__"):
            return _constant(config.get("value"))
        if kind == "__slice__":
            return slice(*(_value(config.get(key)) for key in ("start", "stop", "step")))
        if kind == "__ellipsis__":
            return ...
    return {str(key): _value(item) for key, item in value.items()}


def _constant(value: Any) -> Any:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise ImportFileError(f"has a constant {short(value)} that is no array of numbers")
    return array


def _legacy_call(data: list[Any], names: set[str], layer: str) -> Call:
    """What Keras 2 writes: [name, call, output, keyword arguments] for the only input, or a list of these."""
    entries = [data] if data and isinstance(data[0], str) else data
    inputs: list[Any] = []
    kwargs: dict[str, Any] = {}
    for entry in entries:
        if not isinstance(entry, list) or len(entry) < 3:
            raise ImportFileError(f"layer {layer!r} is called with {short(entry)}, which makes no sense")
        if entry[0] == "_CONSTANT_VALUE":
            inputs.append(entry[2])
        else:
            inputs.append(next(read_refs(entry[:3])))
        more = entry[3] if len(entry) > 3 else {}
        if not isinstance(more, dict):
            raise ImportFileError(f"layer {layer!r} is called with {short(more)}, which makes no sense")
        kwargs.update({str(key): _legacy_value(value, names) for key, value in more.items()})
    return Call((inputs[0] if len(inputs) == 1 else inputs,), kwargs)


def _legacy_value(value: Any, names: set[str]) -> Any:
    if isinstance(value, list):
        ref = _history(value)
        if ref is not None and ref.layer in names:
            return ref
        return [_legacy_value(item, names) for item in value]
    if isinstance(value, dict):
        if set(value) == {"start", "stop", "step"}:
            return slice(*(_legacy_value(value[key], names) for key in ("start", "stop", "step")))
        return {str(key): _legacy_value(item, names) for key, item in value.items()}
    return value

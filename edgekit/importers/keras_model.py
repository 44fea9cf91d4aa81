"""A Keras model as plain values, from the configuration that both formats keep: layers, calls, references."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from edgekit.errors import ImportFileError
from edgekit.importers.keras_calls import Call, Ref, is_int, parse_call, read_refs, short

MAX_NESTED = 20
"""Models inside models."""
MAX_DEPTH = 200
"""Brackets inside brackets of a configuration; a model inside a model takes four or so."""
KERAS_PACKAGES = ("keras", "tf_keras", "tensorflow")
KERAS_REGISTERED = ("Custom>CustomScaleLayer",)
"""Layers of keras.applications, which Keras 2 registers as if they were a user's."""
SUBCLASSED = (
    "its structure is code of a class, which no file holds: build it with keras.Model(inputs, outputs), "
    "or export it to ONNX and give that file"
)


@dataclass(frozen=True, slots=True)
class KerasLayer:
    """One layer or operation. kind: its class; module: where the class lives, if the file says; own: the user's class.

    model: the model inside, if the layer is one. The getters raise ImportFileError for settings of another kind.
    """

    name: str
    kind: str
    module: str
    own: bool
    config: Mapping[str, Any]
    calls: tuple[Call, ...] = ()
    model: KerasModel | None = None

    @property
    def is_operation(self) -> bool:
        """Whether it is a function of keras.ops rather than a layer: some classes of both have the same name.

        Keras 3's HDF5 files name no module, but only layers have these settings there.
        """
        return ".ops." in self.module or not (self.module or {"trainable", "dtype"} & set(self.config))

    def flag(self, key: str, default: bool) -> bool:
        """A setting that is true or false."""
        value = self.config.get(key, default)
        return value if isinstance(value, bool) else self._wrong(key, "true or false")

    def integer(self, key: str, default: int | None = None) -> int:
        """A setting that is a whole number; without a default it must be there."""
        value = self.config.get(key, default)
        return int(value) if is_int(value) else self._wrong(key, "a whole number")

    def number(self, key: str, default: float) -> float:
        """A setting that is a number."""
        value = self.config.get(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number else self._wrong(key, "a number")

    def text(self, key: str, default: str) -> str:
        """A setting that is a text."""
        value = self.config.get(key, default)
        return value if isinstance(value, str) else self._wrong(key, "a text")

    def pair(self, key: str, default: Sequence[int] | None = None) -> tuple[int, int]:
        """A setting that is a whole number, or one for height and one for width."""
        value = self.config.get(key)
        value = default if value is None else value
        value = [value, value] if is_int(value) else value
        if not isinstance(value, list | tuple) or len(value) != 2 or not all(is_int(v) and v > 0 for v in value):
            self._wrong(key, "two positive whole numbers")
        return int(value[0]), int(value[1])

    def _wrong(self, key: str, wanted: str) -> NoReturn:
        raise ImportFileError(f"its setting {key!r} is {short(self.config.get(key))}: it must be {wanted}")


@dataclass(frozen=True, slots=True)
class KerasModel:
    """Layers in the file's order, and which outputs of which calls are the model's inputs and outputs."""

    name: str
    layers: tuple[KerasLayer, ...]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]


def read_json(text: str | bytes, what: str) -> Any:
    """JSON that is no deeper than a model's configuration can be. Raises ImportFileError; `what` is the text's name."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ImportFileError(f"{what} is nested too deep for a model's") from None
    except (ValueError, UnicodeDecodeError) as problem:
        raise ImportFileError(f"{what} is no JSON ({problem}): save the model again") from None
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ImportFileError(f"{what} is nested too deep for a model's")
        level = [item for outer in level for item in _children(outer)]
    return value


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def parse_model(entry: Any, depth: int = 0) -> KerasModel:
    """The model that a configuration {"class_name": ..., "config": ...} describes. Raises ImportFileError."""
    if depth > MAX_NESTED:
        raise ImportFileError(f"holds models inside models, more than {MAX_NESTED} deep")
    config = entry.get("config") if isinstance(entry, dict) else None
    config = {"layers": config} if isinstance(config, list) else config  # Sequential, before Keras 2.2.3
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        kind = entry.get("class_name") if isinstance(entry, dict) else None
        raise ImportFileError(f"describes no functional or sequential model but {short(kind)}: {SUBCLASSED}")
    names = {_entry_name(layer) for layer in config["layers"]}
    layers = [_parse_layer(layer, names, depth) for layer in config["layers"]]
    if len(names) != len(layers):
        raise ImportFileError("has two layers of the same name")
    name = str(config.get("name") or "model")
    if "output_layers" not in config:
        return _sequential(name, layers, config)
    inputs, outputs = tuple(read_refs(config.get("input_layers"))), tuple(read_refs(config["output_layers"]))
    if not outputs:
        raise ImportFileError("has no outputs")
    if not _is_modern(config["layers"]):
        shifts = _shifts(layers, outputs)
        layers = [replace(layer, calls=tuple(call.shifted(shifts) for call in layer.calls)) for layer in layers]
    else:  # Keras 3 counts in outputs what it does not count in calls
        shifts = {x.name: 1 for x in layers if x.model is not None and "output_layers" in x.config}
    return KerasModel(name, tuple(layers), inputs, tuple(ref.shifted(shifts) for ref in outputs))


def _entry_name(entry: Any) -> str:
    config = entry.get("config") if isinstance(entry, dict) else None
    name = entry.get("name") if isinstance(entry, dict) else None
    if name is None and isinstance(config, dict):
        name = config.get("name")
    if not isinstance(name, str) or not isinstance(entry.get("class_name"), str):
        raise ImportFileError(f"holds a layer without a name or a class: {short(entry)}")
    return name


def _parse_layer(entry: Mapping[str, Any], names: set[str], depth: int) -> KerasLayer:
    name, kind, config = _entry_name(entry), entry["class_name"], entry.get("config")
    module = str(entry.get("module") or "")
    is_model = isinstance(config, list) or (isinstance(config, dict) and isinstance(config.get("layers"), list))
    if not isinstance(config, dict | list):
        raise ImportFileError(f"layer {name!r} ({kind}) has no settings")
    own = _is_own(kind, module)
    inbound = entry.get("inbound_nodes") or []
    if not isinstance(inbound, list):
        raise ImportFileError(f"layer {name!r} ({kind}) has inputs {short(inbound)}, which make no sense")
    return KerasLayer(
        name,
        kind.rpartition(">")[2],
        module,
        own,
        config if isinstance(config, dict) else {},
        tuple(parse_call(call, names, name) for call in inbound),
        model=parse_model(entry, depth + 1) if is_model else None,
    )


def _is_own(kind: str, module: str) -> bool:
    """Whether a class is the user's own. HDF5 files name no module, but the package that it was registered under."""
    if module:
        return module.split(".")[0] not in KERAS_PACKAGES
    return ">" in kind and kind not in KERAS_REGISTERED


def _sequential(name: str, layers: Sequence[KerasLayer], config: Mapping[str, Any]) -> KerasModel:
    """Each layer called with the output of the one before; an input is put in front where the file has none."""
    if not layers:
        raise ImportFileError("has no layers")
    if layers[0].kind != "InputLayer":
        shape = next(
            (layers[0].config[k] for k in ("batch_shape", "batch_input_shape") if layers[0].config.get(k)), None
        )
        shape = config.get("build_input_shape") if shape is None else shape
        taken = {layer.name for layer in layers}
        entry = next(wish for i in range(len(taken) + 1) if (wish := f"input_{i + 1}") not in taken)
        layers = [KerasLayer(entry, "InputLayer", "", False, {"batch_shape": shape}), *layers]
    chain = [layers[0]]
    for layer in layers[1:]:
        chain.append(replace(layer, calls=(Call((Ref(chain[-1].name, 0, 0),)),)))
    return KerasModel(name, tuple(chain), (Ref(chain[0].name, 0, 0),), (Ref(chain[-1].name, 0, 0),))


def _is_modern(entries: Sequence[Any]) -> bool:
    """Whether the calls are written as Keras 3 does it."""
    return any(
        isinstance(call, dict) and "args" in call for entry in entries for call in entry.get("inbound_nodes") or ()
    )


def _shifts(layers: Sequence[KerasLayer], outputs: Sequence[Ref]) -> dict[str, int]:
    """By how much references count too far, for models inside.

    Keras 2 calls a model that is made of an input once by itself, before anybody else does, and in most versions counts
    that call: a reference beyond the last one tells.
    """
    last: dict[str, int] = {}
    for ref in [*outputs, *(ref for layer in layers for call in layer.calls for ref in call.refs())]:
        last[ref.layer] = max(last.get(ref.layer, 0), ref.call)
    return {x.name: 1 for x in layers if x.model is not None and x.calls and last.get(x.name) == len(x.calls)}

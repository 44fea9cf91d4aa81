"""YAML with plain values only, read so that every complaint names the file and the line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from edgekit.errors import DeviceError

M = TypeVar("M", bound=BaseModel)

MOST_BYTES = 1_000_000
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")


class _PlainLoader(yaml.SafeLoader):
    """Numbers, texts, true, false, lists and mappings; no dates, no tags, no references to other parts of the file."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As the base class's, without aliases: a few lines of them can stand for gigabytes."""
        if self.check_event(yaml.AliasEvent):
            mark = self.get_mark()
            raise yaml.MarkedYAMLError(problem="references (*name) are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)


def _is_plain(tag: str | None) -> bool:
    return tag is None or tag.rpartition(":")[2] in _PLAIN


_PlainLoader.yaml_constructors = {t: make for t, make in yaml.SafeLoader.yaml_constructors.items() if _is_plain(t)}
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if _is_plain(tag) and not tag.endswith(":bool")]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
"""As in YAML 1.2: `on`, `no` and `yes` are texts."""


def read_yaml(path: Path, kind: type[M], what: str) -> M:
    """The file's content as a `kind`; `what` is what the file is called in errors.

    Raises DeviceError that names file, line and key.
    """
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise DeviceError(f"cannot read {what} {path}: {problem.strerror}") from None
    if len(raw) > MOST_BYTES:
        raise DeviceError(f"{path} is no {what}: it is larger than {MOST_BYTES:,} bytes")
    tree, data = _parsed(raw, path, what)
    if not isinstance(tree, yaml.MappingNode):
        raise DeviceError(f"{path} is no {what}: it must be a mapping, such as `name: pi5`")
    _refuse_repeated_keys(tree, path)
    try:
        return kind.model_validate_json(json.dumps(data))
    except ValidationError as problem:
        raise DeviceError(_complaint(problem, tree, path)) from None


def _parsed(raw: bytes, path: Path, what: str) -> tuple[yaml.Node | None, Any]:
    try:
        loader = _PlainLoader(raw)
        tree = loader.get_single_node()
        return tree, loader.construct_document(tree) if tree is not None else None
    except yaml.MarkedYAMLError as problem:
        line = f":{problem.problem_mark.line + 1}" if problem.problem_mark else ""
        raise DeviceError(f"{path}{line}: not YAML as {what}s have it: {problem.problem or problem.context}") from None
    except yaml.reader.ReaderError as problem:
        raise DeviceError(f"{path}: not a text file: {problem.reason}") from None
    except (RecursionError, ValueError) as problem:
        told = "too many brackets within each other" if isinstance(problem, RecursionError) else str(problem)
        raise DeviceError(f"{path}: not YAML as {what}s have it: {told}") from None


def _refuse_repeated_keys(node: yaml.Node, path: Path) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, path)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise DeviceError(f"{path}:{key.start_mark.line + 1}: key {key.value!r} is given twice")
            seen.add(key.value)
            _refuse_repeated_keys(value, path)


def _complaint(problem: ValidationError, tree: yaml.MappingNode, path: Path) -> str:
    """The first error in one line, and how many more there are."""
    errors = problem.errors()
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-"))
    line = _line_of(tree, first["loc"])
    if first["type"] == "extra_forbidden":
        told = "no such key; docs/devices.md lists the keys"
    elif first["type"] == "missing":
        told = "is missing"
    else:
        told = first["msg"].removeprefix("Value error, ")
        told += f" (got {first['input']!r})" if isinstance(first["input"], (str, int, float)) else ""
    more = f"; {len(errors) - 1} more error{'s' if len(errors) > 2 else ''} in the file" if len(errors) > 1 else ""
    return f"{path}:{line}: {where + ': ' if where else ''}{told}{more}"


def _line_of(node: yaml.Node, keys: Sequence[int | str]) -> int:
    """The line of the deepest part of the path `keys` that the file has."""
    line = node.start_mark.line + 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(key)), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
    return line

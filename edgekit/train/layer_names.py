"""Node names as names that Keras and TensorFlow take for layers, and back."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9_-]")
_CODED = re.compile(r"\.>([0-9a-f]+)>|\.")


def layer_name(name: str) -> str:
    """The layer's name for a node's: `/` becomes `.`, any other unusual character `.>code>` (hexadecimal).

    Different names stay different. The first character is a letter, a digit or a point, as TensorFlow wants it.
    """
    head, tail = name[:1], name[1:]
    first = head if head.isascii() and head.isalnum() else _coded(head)
    return first + "".join(c if _PLAIN.fullmatch(c) else _coded(c) for c in tail)


def node_name(name: str) -> str:
    """The node's name of a layer's: what `layer_name` was given."""
    return _CODED.sub(lambda match: chr(int(match[1], 16)) if match[1] else "/", name)


def _coded(character: str) -> str:
    return "." if character == "/" else "".join(f".>{ord(c):x}>" for c in character)

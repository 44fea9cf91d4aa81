"""Reads what edgekit needs back from a TFLite file, without a runtime."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgekit.errors import ImportFileError


@contextmanager
def opened(data: bytes) -> Iterator[Any]:
    """The schema's `Model` over a file's bytes.

    Raises ImportFileError for bytes that are no TFLite file and, from within the block, where reading meets damage.
    """
    from ai_edge_litert import schema_py_generated as schema

    if not schema.Model.ModelBufferHasIdentifier(data, 0):
        raise ImportFileError("not a TFLite file: the identifier TFL3 is missing; give a .tflite file")
    try:
        yield schema.Model.GetRootAs(data, 0)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError) as error:
        raise ImportFileError(f"damaged TFLite file ({error}); write or download it again") from error


def builtin_names() -> dict[int, str]:
    """Op names by their number in the schema."""
    from ai_edge_litert import schema_py_generated as schema

    return {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}

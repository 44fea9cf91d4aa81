"""What the runtimes have in common behind `Session`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from edgekit.errors import GraphError, ImportFileError, RuntimeUnavailableError
from edgekit.graph.quant_params import QuantParams
from edgekit.runtime.io_spec import Array, IoSpec, TensorValue

Source = Path | bytes

_ORT_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_LOAD_PREFIX = re.compile(r"^Load model from .*? ?failed: ?")
_LONGEST_REASON = 240


class Backend(Protocol):
    """One opened file in one runtime. Arrays that come in are already checked against `inputs`."""

    @property
    def runtime(self) -> str:
        """Name and version of the runtime."""

    @property
    def inputs(self) -> tuple[IoSpec, ...]:
        """What the file takes."""

    @property
    def outputs(self) -> tuple[IoSpec, ...]:
        """What the file gives."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once and return copies of the outputs by name."""

    def bind(self, feeds: Mapping[str, Array]) -> Callable[[], None]:
        """Set the inputs once; each call of the result is one inference."""

    def tensors(self) -> dict[str, TensorValue]:
        """The activations that the last run left, by name."""


def label_of(source: Source) -> str:
    """How messages name a model: its path, or `<bytes>`."""
    return str(source) if isinstance(source, Path) else "<bytes>"


def reason(error: BaseException) -> str:
    """The first line of a runtime's message, without its codes and at most 240 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = _LOAD_PREFIX.sub("", _ORT_PREFIX.sub("", lines[0].strip())).strip(" .")
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 3] + "..."


def tensors_not_kept(label: str) -> RuntimeUnavailableError:
    """What to raise where activations are asked of a session that does not keep them."""
    return RuntimeUnavailableError(f"{label}: activations were not kept: open the session with preserve_all_tensors")


def require_valid_quantization(specs: tuple[IoSpec, ...], where: str) -> None:
    """Raise ImportFileError where a file's scale or zero point is none."""
    for spec in specs:
        if spec.scale is None:
            continue
        try:
            QuantParams.per_tensor(spec.scale, spec.zero_point or 0, str(spec.dtype))
        except GraphError as error:
            raise ImportFileError(f"{where}: tensor {spec.name!r}: {error}; export the file again") from error

"""How much of a TFLite file the XNNPACK delegate takes."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from edgekit.errors import ImportFileError
from edgekit.runtime.backend import label_of
from edgekit.runtime.session import file_format
from edgekit.runtime.tflite_backend import DELEGATE_OP, TfliteRuntime, open_interpreter, pick_runtime


@dataclass(frozen=True, slots=True)
class Coverage:
    """`delegated` of `total` nodes run in the delegate, in `partitions` pieces; `left` are the op names of the others.

    Only the main subgraph is counted, and only nodes that its outputs depend on.
    """

    delegated: int
    total: int
    partitions: int
    left: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is left to TFLite's own kernels."""
        return self.delegated == self.total


def xnnpack_coverage(source: str | PathLike[str] | bytes, *, runtime: TfliteRuntime | None = None) -> Coverage:
    """Open a TFLite file with its default delegate and see which nodes were replaced.

    The interpreter appends one DELEGATE node per partition, with the partition's inputs and outputs, and keeps the
    original nodes in its list: a node is delegated if it lies between a DELEGATE node's outputs and inputs.

    Raises ImportFileError for a file that is damaged or not TFLite, RuntimeUnavailableError as `Session.open`.
    """
    model = source if isinstance(source, bytes) else Path(source)
    if file_format(model) != "tflite":
        raise ImportFileError(f"{label_of(model)} is not a TFLite file: XNNPACK takes part in no other")
    interpreter = open_interpreter(model, runtime=runtime or pick_runtime())
    details = interpreter._get_ops_details()
    nodes = [d for d in details if d["op_name"] != DELEGATE_OP]
    kernels = [d for d in details if d["op_name"] == DELEGATE_OP]
    producers = {int(tensor): position for position, node in enumerate(nodes) for tensor in node["outputs"]}
    live = _between([d["index"] for d in interpreter.get_output_details()], set(), nodes, producers)
    taken: set[int] = set()
    for kernel in kernels:
        taken |= _between(kernel["outputs"], {int(t) for t in kernel["inputs"]}, nodes, producers)
    left = tuple(nodes[position]["op_name"] for position in sorted(live - taken))
    return Coverage(len(live) - len(left), len(live), len(kernels), left)


def _between(outputs: Any, inputs: set[int], nodes: list[dict[str, Any]], producers: dict[int, int]) -> set[int]:
    """Positions of the nodes that compute `outputs` from `inputs`."""
    found: set[int] = set()
    pending = [int(tensor) for tensor in outputs]
    while pending:
        tensor = pending.pop()
        position = producers.get(tensor)
        if position is None or position in found or tensor in inputs:
            continue
        found.add(position)
        pending += [int(t) for t in nodes[position]["inputs"]]
    return found

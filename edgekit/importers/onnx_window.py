"""The window of an ONNX convolution or pool: strides, dilations and padding in all the forms that the format has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.errors import ImportFileError
from edgekit.graph.builder import same_padding
from edgekit.importers.onnx_model import OnnxNode

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """kernel, strides, dilation as (vertical, horizontal); declared: the file's padding per axis, (before, after).

    needed: per axis, the padding behind the input with which the windows that count fit exactly (ceil mode may need
    more than declared, or less).
    """

    kernel: Pair
    strides: Pair
    dilation: Pair
    declared: tuple[Pair, Pair]
    needed: Pair

    def padding(self) -> Padding:
        """(top, bottom, left, right)."""
        (top, _), (left, _) = self.declared
        return top, self.needed[0], left, self.needed[1]

    def counted_padding(self) -> tuple[Padding, Padding]:
        """What a pool that counts its padding counts, and what lies beyond: two paddings that follow each other."""
        (top, bottom), (left, right) = self.declared
        counted = top, min(bottom, self.needed[0]), left, min(right, self.needed[1])
        return counted, (0, self.needed[0] - counted[1], 0, self.needed[1] - counted[3])


def read_window(node: OnnxNode, kernel: Sequence[int], size: Sequence[int], *, ceil: bool = False) -> Window:
    """The window of a node over an image of that size. Raises ImportFileError for values that make no sense."""
    pair = _pair(kernel, "kernel_shape")
    strides = _pair(node.integers("strides", (1, 1)), "strides")
    dilation = _pair(node.integers("dilations", (1, 1)), "dilations")
    reach = [(k - 1) * d + 1 for k, d in zip(pair, dilation, strict=True)]
    declared = _declared(node, pair, strides, dilation, size)
    if not ceil:
        return Window(pair, strides, dilation, declared, (declared[0][1], declared[1][1]))
    vertical, horizontal = (_ceil_after(size[i], reach[i], strides[i], declared[i]) for i in (0, 1))
    return Window(pair, strides, dilation, declared, (vertical, horizontal))


def _pair(values: Sequence[int], what: str) -> Pair:
    if len(values) != 2 or min(values) < 1:
        raise ImportFileError(f"attribute {what!r} is {tuple(values)}: it must be two positive numbers")
    return values[0], values[1]


def _declared(node: OnnxNode, kernel: Pair, strides: Pair, dilation: Pair, size: Sequence[int]) -> tuple[Pair, Pair]:
    mode = node.text("auto_pad", "NOTSET")
    if mode == "VALID":
        return (0, 0), (0, 0)
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        vertical, horizontal = (same_padding(size[i], kernel[i], strides[i], dilation[i]) for i in (0, 1))
        return (vertical, horizontal) if mode == "SAME_UPPER" else (vertical[::-1], horizontal[::-1])
    if mode != "NOTSET":
        raise ImportFileError(f"attribute 'auto_pad' is {mode!r}, which the format does not know")
    pads = node.integers("pads", (0, 0, 0, 0))
    if len(pads) != 4 or min(pads) < 0:
        raise ImportFileError(f"attribute 'pads' is {pads}: it must be four numbers, none of them negative")
    return (pads[0], pads[2]), (pads[1], pads[3])


def _ceil_after(size: int, reach: int, stride: int, padding: Pair) -> int:
    """Padding behind, such that the last, partial window is kept; one that would start in that padding is dropped."""
    before, after = padding
    count = -(-(size + before + after - reach) // stride) + 1
    if (count - 1) * stride >= size + before:
        count -= 1
    return max((count - 1) * stride + reach - size - before, 0)

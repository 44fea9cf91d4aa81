"""Damaged files: an error of ours or a graph, never anything else, and never slowly."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.data.preprocess import UNIT
from edgekit.errors import EdgekitError
from edgekit.export.tflite import tflite_bytes
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.validate import validate
from edgekit.importers.tflite import import_tflite


def _file() -> bytes:
    """A file with every kind of table: windows, options, shapes, metadata of both kinds, labels."""
    b = GraphBuilder("small", (1, 6, 6, 3))
    x = b.conv2d("input", 4, 3, stride=2, bias=True, name="conv")
    x = b.channel_shuffle(b.activation(x, "relu6", name="relu"), 2, name="shuffle")
    left, right = b.split(x, (1, 3), name="pieces")
    x = b.concat([right, left], name="joined")
    x = b.depthwise(b.pool(x, "avg_pool", 3, stride=1, padding=1, name="pool"), 3, name="depthwise")
    x = b.dense(b.global_avg_pool(x, name="mean"), 5, name="dense")
    graph = b.finish(b.activation(x, "softmax", name="classes"))
    graph.metadata = {"preprocessing": UNIT.with_size(6, 6).to_metadata(), "labels": list("abcde")}
    return tflite_bytes(graph)


OWN = _file()
FOREIGN = OWN.replace(b"\x07\0\0\0edgekit", b"\x07\0\0\0another")
"""The same without edgekit's own metadata, so that the standard's is read."""
FILES = st.sampled_from((OWN, FOREIGN))
EXTREMES = st.sampled_from((0, 1, 4, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000000, 0x00010000, len(OWN)))


def survive(data: bytes) -> None:
    """Import it, or get one of our errors in one line."""
    try:
        graph = import_tflite(data)
    except EdgekitError as problem:
        text = str(problem)
    else:
        text = "valid" if validate(graph).outputs else ""
    assert len(text.splitlines()) == 1
    assert len(text) < 2000


def test_the_files_themselves_are_good() -> None:
    for data in (OWN, FOREIGN):
        assert import_tflite(data).metadata["labels"] == list("abcde")
    assert OWN != FOREIGN


@settings(max_examples=100, deadline=None, derandomize=True)
@given(FILES, st.integers(0, len(OWN) - 1))
def test_truncated(data: bytes, length: int) -> None:
    survive(data[:length])


@settings(max_examples=400, deadline=None, derandomize=True)
@given(FILES, st.lists(st.tuples(st.integers(0, len(OWN) - 1), st.integers(0, 7)), min_size=1, max_size=3))
def test_flipped_bits(data: bytes, flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for position, bit in flips:
        damaged[position] ^= 1 << bit
    survive(bytes(damaged))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(FILES, st.integers(0, len(OWN) // 2 - 2), EXTREMES)
def test_offsets_sizes_and_numbers_that_are_absurd(data: bytes, half: int, value: int) -> None:
    damaged = bytearray(data)
    damaged[2 * half : 2 * half + 4] = np.uint32(value).tobytes()
    survive(bytes(damaged))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
def test_noise_behind_the_identifier(noise: bytes) -> None:
    survive(noise[:4].ljust(4, b"\x1c") + b"TFL3" + noise[4:])

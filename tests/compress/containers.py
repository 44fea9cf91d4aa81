"""Small containers that have every part of the format, and ways to damage them."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from tensors import kernel

from edgekit.compress.container import Content, StoredFile, write_container
from edgekit.compress.index import METHODS, Hole


@functools.cache
def content() -> Content:
    """Kernels, biases and odd tensors, a graph's text, and a file with a hole that is transposed."""
    rng = np.random.default_rng(0)
    tensors = {
        "kernel": kernel((24, 12, 3, 3)),
        "dense": (rng.standard_normal((40, 30)) * 20).astype(np.int8),
        "bias": rng.standard_normal(300).astype(np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(7, np.int64),
        "constant": np.full((3, 3), np.nan, np.float16),
    }
    holes = (Hole(7, 0), Hole(0, 1, (1, 0)), Hole(20, 2))
    stored = StoredFile("tflite", bytes(range(200)) * 2, holes)
    return Content(tensors, {"name": "m", "kind": "graph"}, '{"nodes":[]}', (stored,))


@functools.cache
def container(methods: tuple[str, ...] = METHODS) -> bytes:
    """The container of `content`."""
    return write_container(content(), methods)


METHOD_SETS = (METHODS, ("deflate",), ("huffman",), ("adaptive",))


def damaged(data: bytes, flips: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """(what was done, the bytes): cut within the header and at many places, single bits flipped, lengthened."""
    rng = np.random.default_rng(seed)
    cuts = {*range(40), *range(len(data) - 20, len(data)), *rng.integers(0, len(data), flips // 4).tolist()}
    for cut in sorted(cuts):
        yield f"cut at {cut}", data[:cut]
    places = {*range(0, 8 * 40, 3), *rng.integers(0, 8 * len(data), flips).tolist()}
    for place in sorted(places):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        yield f"bit {place} flipped", bytes(changed)
    yield "lengthened", data + b"\0"

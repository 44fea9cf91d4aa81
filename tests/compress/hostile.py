"""Containers that no encoder writes, made by hand from `docs/ekz-format.md`: checksums are right, contents lie."""

from __future__ import annotations

import struct
import zlib

FLOAT32, INT8 = 9, 1
RAW, DEFLATE, HUFFMAN, ADAPTIVE = range(4)
EMPTY_DEFLATE = b"\x03\x00"
"""A last block with nothing in it."""


def number(value: int) -> bytes:
    """LEB128."""
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def text(data: bytes) -> bytes:
    return number(len(data)) + data


def bits(*fields: tuple[int, int]) -> bytes:
    """(value, width) pairs, the highest bit first."""
    line = "".join(format(value, f"0{width}b") for value, width in fields)
    line = line.ljust(-(-len(line) // 8) * 8, "0")
    return int(line, 2).to_bytes(len(line) // 8, "big")


def tensor(
    name: bytes = b"w",
    shape: tuple[int, ...] = (4,),
    dtype: int = INT8,
    method: int = RAW,
    payload: int = 4,
    crc: int = zlib.crc32(bytes(4)),
) -> bytes:
    """An entry of the index; without arguments that of four zero bytes."""
    sizes = b"".join(number(size) for size in shape)
    return text(name) + bytes([dtype, method, len(shape)]) + sizes + struct.pack("<I", crc) + number(payload)


def file(size: int, packed: int, skeleton: int, holes: tuple[bytes, ...] = (), crc: int = 0) -> bytes:
    head = text(b"file") + number(size) + struct.pack("<I", crc) + number(packed) + number(skeleton)
    return head + number(len(holes)) + b"".join(holes)


def hole(gap: int, position: int, axes: tuple[int, ...] = ()) -> bytes:
    return number(gap) + number(position) + bytes([len(axes), *axes])


def container(
    *tensors: bytes,
    files: tuple[bytes, ...] = (),
    body: bytes = b"",
    tables: int = 0,
    stream: int = 0,
    metadata: bytes = b"{}",
    pad: bytes = b"",
) -> bytes:
    """A whole file; `pad` lengthens the index."""
    index = text(metadata) + text(b"") + number(tables) + number(stream)
    index += number(len(tensors)) + b"".join(tensors) + number(len(files)) + b"".join(files) + pad
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(index) + packer.flush()
    total = 32 + len(packed) + len(body)
    head = struct.pack("<8sHHIIIQ", b"\x89EKZ\r\n\x1a\n", 1, 0, len(packed), len(index), zlib.crc32(index), total)
    return head + packed + body


def adaptive(scale: int = 0x3F800000, stream: bytes = b"", zero: int = -1) -> bytes:
    """A tensor of four floats with the codebook (-0.0, 0.0). scale: a float32's bits."""
    codebook = ((0, 6), (1, 12), (0, 6), (0x7FFFFFFF, 32), (1, 1))
    model = ((0, 3), (0, 3), (zero + 1, 13), (scale, 32), (64, 13), (128, 8), (256, 16), (0, 1))
    tables = bits(*codebook, *model)
    entry = tensor(dtype=FLOAT32, method=ADAPTIVE, payload=0)
    return container(entry, tables=len(tables), stream=len(stream), body=tables + stream)


def huffman(gap_bits: int) -> bytes:
    """Four int8 zeros, all of them gaps' rest; lengths of gaps are all 0."""
    tables = bits(
        (0, 6), (0, 12), (0, 6), (128, 8), (1, 13), (gap_bits, 4), (0, 32), *[(0, 4)] * (1 << gap_bits), (0, 4)
    )
    payload = struct.pack("<I", len(tables)) + tables
    return container(tensor(method=HUFFMAN, payload=len(payload)), body=payload)


SOUND = {
    "raw": container(tensor(), body=bytes(4)),
    "file": container(
        tensor(), files=(file(4, 2, 0, (hole(0, 0),), zlib.crc32(bytes(4))),), body=bytes(4) + EMPTY_DEFLATE
    ),
    "gaps of 12 bits": huffman(12),
}
"""What the lies are made from is accepted."""

LIES = {
    "a terabyte": (container(tensor(shape=(1 << 40,)), body=bytes(4)), "'w'.*cannot"),
    "sizes whose product overflows": (container(tensor(shape=(1 << 33, 1 << 33)), body=bytes(4)), "'w'.*cannot"),
    "no elements, endless rows": (container(tensor(shape=(1 << 62, 0), method=ADAPTIVE, payload=0)), "'w'.*cannot"),
    "a payload of 2^62": (container(tensor(payload=1 << 62), body=bytes(4)), "cannot|add up"),
    "a payload beyond the file": (container(tensor(payload=5), body=bytes(4)), "add up"),
    "bytes that nobody owns": (container(tensor(), body=bytes(5)), "add up"),
    "rank 9": (container(tensor(shape=(1,) * 9), body=bytes(4)), "'w'.*damaged"),
    "a dtype that is none": (container(tensor(dtype=11), body=bytes(4)), "'w'.*damaged"),
    "a method that is none": (container(tensor(method=4), body=bytes(4)), "'w'.*damaged"),
    "two of one name": (container(tensor(), tensor(), body=bytes(8)), "one name"),
    "a zero byte in a name": (container(tensor(b"w\0x"), body=bytes(4)), "damaged"),
    "more tensors than may be": (container(*[tensor(b"%d" % k, (0,)) for k in range(65537)]), "entries"),
    "more files than may be": (container(files=(file(0, 2, 0),) * 17, body=EMPTY_DEFLATE * 17), "entries"),
    "an index of 17 MB": (container(pad=bytes(17 << 20)), "index of|header"),
    "a file of 2^62 bytes": (container(files=(file(1 << 62, 2, 1 << 62),), body=EMPTY_DEFLATE), "cannot hold"),
    "a skeleton shorter than told": (container(files=(file(4, 2, 4),), body=EMPTY_DEFLATE), "length"),
    "a hole behind the skeleton": (
        container(tensor(), files=(file(4, 2, 0, (hole(9, 0),)),), body=bytes(4) + EMPTY_DEFLATE),
        "add up|place",
    ),
    "a hole for no tensor": (
        container(tensor(), files=(file(4, 2, 0, (hole(0, 1),)),), body=bytes(4) + EMPTY_DEFLATE),
        "place",
    ),
    "one axis twice": (
        container(tensor(shape=(2, 2)), files=(file(4, 2, 0, (hole(0, 0, (1, 1)),)),), body=bytes(4) + EMPTY_DEFLATE),
        "place",
    ),
    "parts that exceed their file": (
        container(tensor(), files=(file(4, 2, 0, (hole(0, 0),) * 3),), body=bytes(4) + EMPTY_DEFLATE),
        "add up",
    ),
    "a scale that is NaN": (adaptive(0x7FC00000), "'w'.*model"),
    "an infinite scale": (adaptive(0x7F800000), "'w'.*model"),
    "a negative scale": (adaptive(0xBF800000), "'w'.*model"),
    "a zero outside the codebook": (adaptive(zero=2), "'w'.*model"),
    "no stream": (adaptive(), "'w'.*stream ends too early"),
    "a segment of 2^32 words": (adaptive(stream=b"\0" + b"\xff" * 12), "'w'.*stream ends too early"),
    "2^255 lanes": (adaptive(stream=b"\xff" + bytes(20)), "'w'.*stream"),
    "a state below 2^16": (adaptive(stream=bytes(9)), "'w'.*state"),
    "gaps of 13 bits": (huffman(13), "'w'.*Huffman tables"),
    "another checksum": (container(tensor(crc=1), body=bytes(4)), "'w'.*checksum"),
}
"""Each with a pattern that both decoders' messages match."""


def many_tensors(count: int) -> bytes:
    """Empty tensors, each with a deflate stream of its own."""
    entries = [tensor(b"%d" % k, (0,), method=DEFLATE, payload=2, crc=0) for k in range(count)]
    return container(*entries, body=EMPTY_DEFLATE * count)


def many_blocks(count: int) -> bytes:
    """A deflate stream of empty blocks: nothing comes out, and each tells that its codes are the fixed ones."""
    line = ("010" + "0000000") * count + "110" + "0000000"  # of each byte the lowest bit first
    line = line.ljust(-(-len(line) // 8) * 8, "0")
    stream = int(line[::-1], 2).to_bytes(len(line) // 8, "little")
    return container(tensor(shape=(0,), method=DEFLATE, payload=len(stream), crc=0), body=stream)

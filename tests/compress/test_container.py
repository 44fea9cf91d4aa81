from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from containers import METHOD_SETS, container, content, damaged
from tensors import bits_of

from edgekit.compress.container import Content, read_container, write_container
from edgekit.compress.index import HEADER, TensorEntry, read_head, write_head
from edgekit.errors import ContainerError


@pytest.mark.parametrize("methods", METHOD_SETS, ids="-".join)
def test_everything_comes_back(methods):
    found, wanted = read_container(container(methods)), content()
    assert {k: bits_of(v) for k, v in found.tensors.items()} == {k: bits_of(v) for k, v in wanted.tensors.items()}
    assert (found.metadata, found.graph, found.files) == (wanted.metadata, wanted.graph, wanted.files)
    arrays = list(wanted.tensors.values())
    skeleton = wanted.files[0].skeleton
    by_hand = skeleton[:7] + arrays[0].tobytes() + arrays[1].T.tobytes() + skeleton[7:27] + arrays[2].tobytes()
    assert found.file_bytes(0) == by_hand + skeleton[27:]


def test_the_same_content_gives_the_same_bytes():
    assert write_container(content()) == write_container(content())


def test_the_smallest_method_is_kept():
    index, _ = read_head(container())
    assert {entry.name: entry.method for entry in index.tensors} == {
        "kernel": "adaptive",
        "dense": "adaptive",
        "bias": "adaptive",
        "empty": "raw",
        "scalar": "deflate",
        "constant": "deflate",
    }
    sizes = [len(container(methods)) for methods in METHOD_SETS]
    assert sizes[0] < min(sizes[1:])


@pytest.mark.parametrize("methods", METHOD_SETS, ids="-".join)
def test_damage_is_found_and_never_a_wrong_weight(methods):
    wanted = {k: bits_of(v) for k, v in content().tensors.items()}
    refused = 0
    for what, data in damaged(container(methods), 80, seed=1):
        try:
            found = read_container(data)
        except ContainerError:
            refused += 1
            continue
        # A coefficient or a table's entry that no decision depended on: everything is as it was.
        assert {k: bits_of(v) for k, v in found.tensors.items()} == wanted, what
        assert found.file_bytes(0) == content().file_bytes(0), what
    assert refused > 200


def replaced(data: bytes, **changes: int) -> bytes:
    names = ("magic", "version", "zero", "packed", "size", "crc", "total")
    fields = {**dict(zip(names, HEADER.unpack_from(data), strict=True)), **changes}
    return HEADER.pack(*(fields[name] for name in names)) + data[HEADER.size :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: b"PK" + d[2:], "not an .ekz file"),
        (lambda d: b"", "not an .ekz file"),
        (lambda d: d[:20], "ends within its header"),
        (lambda d: replaced(d, version=2), r"version 2 of .ekz is newer than this edgekit knows \(1\): update edgekit"),
        (lambda d: replaced(d, zero=1), "header is damaged"),
        (lambda d: d[:-1], "not .* as it says"),
        (lambda d: replaced(d, size=0xFFFFFFFF), "an index of 4294967295 bytes cannot be"),
        (lambda d: replaced(d, size=1 << 24), "the index: .* cannot hold 16777216"),
        (lambda d: replaced(d, crc=1), "index's checksum"),
    ],
)
def test_headers_that_cannot_be(change, message):
    with pytest.raises(ContainerError, match=message):
        read_container(change(container()))


def forged(**changes: object) -> bytes:
    """A container whose first tensor is told to be another, with all sums and checksums of the index right."""
    data = container(("huffman",))
    index, begin = read_head(data)
    fields = {name: getattr(index.tensors[0], name) for name in TensorEntry.__slots__} | changes
    tensors = (TensorEntry(**fields), *index.tensors[1:])
    parts = {name: getattr(index, name) for name in index.__slots__} | {"tensors": tensors, "files": ()}
    body = data[begin : len(data) - index.files[0].packed]
    return write_head(type(index)(**parts)) + body


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (1 << 40,)}, "tensor 'kernel' cannot have"),
        ({"shape": (1 << 20, 1 << 20, 1 << 20)}, "tensor 'kernel' cannot have"),
        ({"shape": (24, 12, 3, 2)}, "tensor 'kernel'"),
        ({"crc": 5}, "tensor 'kernel': its checksum does not match"),
        ({"dtype": "uint8"}, "tensor 'kernel'"),
        ({"method": "raw"}, "tensor 'kernel': it has .* bytes, not 10368"),
        ({"method": "deflate"}, "tensor 'kernel'"),
        ({"name": "dense"}, "two tensors bear one name"),
    ],
)
def test_entries_that_do_not_fit_name_the_tensor(changes, message):
    with pytest.raises(ContainerError, match=message):
        read_container(forged(**changes))


def test_an_index_outside_the_codebook_is_refused():
    """The adaptive decoder cannot make one; Huffman tables can."""
    data = bytearray(container(("huffman",)))
    index, begin = read_head(bytes(data))
    assert index.tensors[0].method == "huffman"
    for place in range(begin + 4, begin + 60):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        with pytest.raises(ContainerError, match="tensor 'kernel'"):
            read_container(bytes(changed))


def test_repetition_beyond_belief_is_refused_when_written():
    with pytest.raises(ContainerError, match="repetitive"):
        write_container(Content({"zeros": np.zeros((17 << 20,), np.uint8)}), ("adaptive",))


def test_a_dtype_without_code_is_named():
    with pytest.raises(ContainerError, match=r"tensor 'c': \.ekz has no dtype complex64"):
        write_container(Content({"c": np.zeros(3, np.complex64)}))


def test_header_layout_is_as_documented():
    data = container()
    assert data[:8] == b"\x89EKZ\r\n\x1a\n"
    version, zero, packed, size, crc, total = struct.unpack_from("<HHIIIQ", data, 8)
    body = zlib.decompress(data[32 : 32 + packed], -15)
    assert (version, zero, len(body), zlib.crc32(body), total) == (1, 0, size, crc, len(data))

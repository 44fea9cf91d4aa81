"""`.safetensors` files: read as their own library writes them, refused where they do not add up."""

from __future__ import annotations

import json
import random
import struct

import numpy as np
import pytest
from test_torch_hostile import GOOD, message_of, refused, torch_form
from weight_files import same_weights, tiny_graph

from edgekit.importers.weights import load_weights


def write(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def good(path, **changes):
    """GOOD in the format; `changes` replace entries of the header."""
    header, blocks, position = {"__metadata__": {"format": "pt"}}, [], 0
    for name, array in GOOD.items():
        data = np.ascontiguousarray(array, "<f4").tobytes()
        offsets = [position, position + len(data)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        blocks.append(data)
        position += len(data)
    return write(path, {**header, **changes}, b"".join(blocks))


@pytest.mark.parametrize("name", ["w.safetensors", "weights"])
def test_weights_are_read_whatever_the_files_name(tmp_path, name):
    graph = load_weights(tiny_graph(), good(tmp_path / name))
    assert same_weights(graph, tiny_graph(seed=7))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "float32"])
def test_every_dtype_is_read_as_the_formats_library_writes_it(tmp_path, dtype):
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("safetensors.torch")
    state = {name: torch.tensor(array.copy()).to(getattr(torch, dtype)) for name, array in GOOD.items()}
    state["conv1_bn.num_batches_tracked"] = torch.tensor(3)
    library.save_file(state, tmp_path / "w.safetensors")
    found = torch_form(load_weights(tiny_graph(), tmp_path / "w.safetensors"))
    assert found.keys() == GOOD.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, state[name].float().numpy())


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"a": ENTRY}, bytes(7), "'a' reaches beyond the end"),
        ({"a": ENTRY}, bytes(9), "1 bytes belong to no tensor"),
        ({"a": ENTRY, "b": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12), "'b' overlaps another or leaves a gap"),
        ({"a": ENTRY, "b": {**ENTRY, "data_offsets": [12, 20]}}, bytes(20), "'b' overlaps another or leaves a gap"),
        ({"a": ENTRY, "b": ENTRY}, bytes(8), "'b' overlaps another or leaves a gap"),
        ({"a": {**ENTRY, "shape": [3]}}, bytes(8), r"'a' \(3,\) does not fill its offsets"),
        ({"a": {**ENTRY, "data_offsets": [8, 0]}}, bytes(8), r"'a' \(2,\) does not fill its offsets"),
        ({"a": {**ENTRY, "shape": [-2]}}, bytes(8), "'a' has no sensible shape or offsets"),
        ({"a": {**ENTRY, "shape": [2.0]}}, bytes(8), "'a' has no sensible shape or offsets"),
        ({"a": {**ENTRY, "shape": [True]}}, bytes(8), "'a' has no sensible shape or offsets"),
        ({"a": {**ENTRY, "shape": [2**70]}}, bytes(8), "'a' has no sensible shape or offsets"),
        ({"a": {**ENTRY, "shape": [1] * 99}}, bytes(8), "'a' has no sensible shape or offsets"),
        ({"a": {**ENTRY, "dtype": "F8_E4M3"}}, bytes(8), "'a' has dtype F8_E4M3; save it as F32, F16, BF16 or F64"),
        ({"a": {"dtype": "F32"}}, b"", "the header's entry for 'a' is malformed"),
        ({"a": 3}, b"", "the header's entry for 'a' is malformed"),
        ({}, b"", "holds no tensors"),
        ({"__metadata__": {}}, b"", "holds no tensors"),
        (b"[1]", b"", "its header is no table"),
        (b"{", b"", "is damaged or cut short"),
        (b'{"a": 1, "a": 2}', b"", "its header names something twice"),
        (b"{" + b'"a":{' * 100_000, b"", "is damaged or cut short"),
        (b"\xff\xfe{", b"", "is damaged or cut short"),
    ],
)
def test_headers_that_do_not_add_up_are_refused(tmp_path, header, data, message):
    refused(write(tmp_path / "w.safetensors", header, data), message)


@pytest.mark.parametrize("length", [2**60, 2**64 - 1, 2**40, 100])
def test_a_header_longer_than_the_file_is_refused(tmp_path, length):
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
    refused(tmp_path / "w.safetensors", f"its header claims {length} bytes, the file has 10")


def test_integers_in_a_weights_place_are_refused(tmp_path):
    first = json.loads(good(tmp_path / "x").read_bytes()[8:].split(b"}}")[0] + b"}}")["fc.bias"]
    refused(good(tmp_path / "w.safetensors", **{"fc.bias": {**first, "dtype": "I32"}}), r"'fc\.bias' holds int32")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.99])
def test_truncated_files_are_refused(tmp_path, share):
    data = good(tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(data[: int(len(data) * share)])
    refused(tmp_path / "w.safetensors", "is damaged or cut short")


def test_altered_bytes_give_weights_or_one_line(tmp_path):
    data = good(tmp_path / "good").read_bytes()
    chance, refusals, path = random.Random(0), 0, tmp_path / "w.safetensors"
    for _ in range(500):
        altered = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            altered[chance.randrange(len(altered))] = chance.randrange(256)
        path.write_bytes(altered)
        message = message_of(path)
        assert "\n" not in message
        refusals += bool(message)
    assert 100 < refusals < 500

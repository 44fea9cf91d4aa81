"""State dicts that are damaged or mean harm: refused in one line, and nothing of them runs."""

from __future__ import annotations

import builtins
import copyreg
import io
import os
import pickle
import random
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from weight_files import integer, same_weights, text, tiny_graph, torch_archive, torch_pickle

from edgekit.errors import WeightsError
from edgekit.importers import torch_pickle as machine
from edgekit.importers.torch_file import MAGIC
from edgekit.importers.weights import load_weights

HEAD, TAIL = b"\x80\x02", b"."


def torch_form(graph):
    """The tiny graph's weights as a state dict, in the order of its layers."""
    names = {
        "kernel": "weight",
        "gamma": "weight",
        "beta": "bias",
        "mean": "running_mean",
        "variance": "running_var",
    }
    found = {}
    for tensor in graph.constants():
        layer, _, role = tensor.name.rpartition("/")
        array = tensor.array
        found[f"{layer}.{names.get(role, role)}"] = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
    return found


GOOD = torch_form(tiny_graph(seed=7))


def with_pickle(path, data, **members):
    """An archive of PyTorch's with that pickle, and the tiny graph's storages."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", data)
        for i, array in enumerate(GOOD.values()):
            archive.writestr(f"archive/data/{i}", np.ascontiguousarray(array).tobytes())
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return path


def refused(path, message):
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(tiny_graph(), path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def message_of(path):
    """Why the file is refused; nothing where it is read, into finite weights."""
    try:
        graph = load_weights(tiny_graph(), path)
    except WeightsError as problem:
        return str(problem)
    assert all(np.isfinite(tensor.array).all() for tensor in graph.constants())
    return ""


def test_the_archive_that_the_others_are_changed_from_is_read(tmp_path):
    graph = load_weights(tiny_graph(), torch_archive(tmp_path / "w.pth", GOOD))
    assert same_weights(graph, tiny_graph(seed=7))
    assert graph.metadata["weights"]["matched_by"] == "name"


# -- code --------------------------------------------------------------------------------------------------------------


class Reduced:
    def __init__(self, function, *arguments):
        self.parts = (function, arguments)

    def __reduce__(self):
        return self.parts


def harmful(marker):
    """Pickles that would make the file `marker`, were they loaded; and what the refusal names."""
    command = f"touch {marker}"
    code = f"__import__('os').system({command!r})"
    system, call = f"{os.system.__module__}.system", text(command) + b"\x85R"
    return {
        "reduce system": (pickle.dumps(Reduced(os.system, command), 2), f"asks for {system}"),
        "reduce eval": (pickle.dumps(Reduced(builtins.eval, code), 2), r"asks for __builtin__\.eval"),
        "stack_global": (pickle.dumps(Reduced(builtins.exec, code), 4), r"asks for builtins\.exec"),
        "global": (HEAD + b"cos\nsystem\n" + call + TAIL, r"asks for os\.system"),
        "dotted name": (
            b"\x80\x04" + text("collections") + text("abc.sys.modules") + b"\x93.",
            "asks for collections.abc",
        ),
        "inst": (HEAD + b"(" + text(command) + b"ios\nsystem\n" + TAIL, r"asks for os\.system"),
        "obj": (HEAD + b"(cos\nsystem\n" + text(command) + b"o" + TAIL, r"asks for os\.system"),
        "newobj": (
            HEAD + b"ccollections\nOrderedDict\n" + text("a") + b"\x85\x81" + TAIL,
            "uses NEWOBJ, which no state dict needs",
        ),
        "ext1": (HEAD + b"\x82\x01" + call + TAIL, "uses EXT1, which no state dict needs"),
        "ext4": (HEAD + b"\x84\x01\x00\x00\x00" + call + TAIL, "uses EXT4"),
        "build": (HEAD + b"c__main__\nNet\n)R}b" + TAIL, r"asks for __main__\.Net"),
        "build on a dict": (HEAD + b"ctorch\nFloatStorage\n}b" + TAIL, "treats a _StorageType as a dict"),
        "reduce a tensor": (HEAD + b"ctorch\nFloatStorage\n)R" + TAIL, "calls something that is no function"),
        "loads": (pickle.dumps(Reduced(pickle.loads, b"cos\nsystem\n."), 2), r"asks for _?pickle\.loads"),
        "text persid": (HEAD + b"Pos.system\n" + TAIL, "uses PERSID"),
        "text global": (HEAD + b"cos\nsystem; x\n" + TAIL, "asks for os.system; x"),
    }


@pytest.mark.parametrize("form", ["archive", "legacy"])
@pytest.mark.parametrize("name", harmful("x"))
def test_pickles_that_run_code_are_refused_by_name(tmp_path, name, form):
    marker = tmp_path / "marker"
    data, message = harmful(marker)[name]
    path = tmp_path / "w.pth"
    if form == "archive":
        with_pickle(path, data)
    else:
        path.write_bytes(legacy_head() + data)
    copyreg.add_extension("os", "system", 1)
    try:
        copyreg._extension_cache[1] = os.system  # Python's own unpickler asks nobody for what lies here
        refused(path, message)
    finally:
        copyreg.remove_extension("os", "system", 1)
        copyreg._extension_cache.pop(1, None)
    assert not marker.exists()


def test_the_harmful_pickles_would_do_harm(tmp_path):
    """Or the test above shows nothing."""
    marker = tmp_path / "marker"
    for name in ("reduce system", "reduce eval", "stack_global", "global", "inst", "obj"):
        pickle.loads(harmful(marker)[name][0])
        assert marker.exists(), name
        marker.unlink()


def test_a_whole_model_is_refused_with_the_remedy(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "w.pt")
    refused(
        tmp_path / "w.pt", r"asks for torch\.nn\.modules\.container\.Sequential.*torch\.save\(model\.state_dict\(\)"
    )


# -- pickles that are odd ----------------------------------------------------------------------------------------------


def tensor_pickle(count=12, offset=0, shape=(12,), strides=(1,), kind=b"ctorch\nFloatStorage\n", key="1"):
    storage = b"(" + text("storage") + kind + text(key) + text("cpu") + integer(count) + b"tQ"
    sizes = b"(" + b"".join(map(integer, shape)) + b"t(" + b"".join(map(integer, strides)) + b"t"
    record = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(offset) + sizes + b"\x89}tR"
    return HEAD + b"}" + text("a.weight") + record + b"s" + TAIL


ODD = {
    "beyond its storage": (tensor_pickle(offset=1, count=12), "reaches beyond its storage of 12 elements"),
    "wide strides": (tensor_pickle(count=12, shape=(3, 4), strides=(2**30, 1)), "reaches beyond its storage"),
    "negative offset": (tensor_pickle(offset=-1), "a shape and strides"),
    "negative stride": (tensor_pickle(strides=(-1,)), "a shape and strides"),
    "fewer strides": (tensor_pickle(shape=(3, 4)), "with shape .* and 1 strides"),
    "many axes": (tensor_pickle(shape=(1,) * 40, strides=(1,) * 40), "and 40 strides"),
    "count": (tensor_pickle(count=2**31 - 1), "storage '1' has 16 bytes instead of 8589934588 bytes"),
    "missing storage": (tensor_pickle(key="nowhere"), "storage 'nowhere' is missing instead of 48 bytes"),
    "path as storage": (tensor_pickle(key="../data.pkl"), r"storage '\.\./data\.pkl' is missing"),
    "negative count": (tensor_pickle(count=-1), "names a storage in a way that is not known"),
    "no storage type": (tensor_pickle(kind=text("FloatStorage")), "names a storage in a way that is not known"),
    "quantized": (tensor_pickle(kind=b"ctorch\nQInt8Storage\n"), r"asks for torch\.QInt8Storage"),
    "empty stack": (HEAD + b"0.", "uses POP, which no state dict needs"),
    "underflow": (HEAD + b"s" + TAIL, "takes from an empty stack"),
    "below a mark": (HEAD + b"}(\x85.", "takes from an empty stack"),
    "no mark": (HEAD + b"t" + TAIL, "lacks a mark"),
    "memo never kept": (HEAD + b"j\xff\xff\xff\x7f" + TAIL, "recalls value 2147483647, which it never kept"),
    "odd dict": (HEAD + b"}(" + text("a") + b"u" + TAIL, "a dict whose keys are neither text nor numbers"),
    "tuple as key": (HEAD + b"})Ns" + TAIL, "a dict whose keys are neither text nor numbers"),
    "dup": (HEAD + b"(l2" + TAIL, "uses LIST, which no state dict needs"),
    "huge text": (HEAD + b"\x8d" + struct.pack("<Q", 2**62) + TAIL, "uses BINUNICODE8|cannot be read"),
    "huge bytearray": (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + TAIL, "cannot be read"),
    "huge integer": (HEAD + b"\x8b" + struct.pack("<i", 2**31 - 1) + TAIL, "cannot be read"),
    "decimal integer": (HEAD + b"L" + b"9" * 100_000 + b"L\n" + TAIL, "cannot be read|uses LONG"),
    "no stop": (HEAD + b"}", "cannot be read"),
    "empty": (b"", "cannot be read"),
    "unknown opcode": (HEAD + b"\xff" + TAIL, "cannot be read"),
    "no tensors": (HEAD + b"}" + TAIL, "holds no state dict"),
    "a number": (HEAD + b"K\x01" + TAIL, "holds no state dict"),
    "half a tensor": (HEAD + b"ctorch._utils\n_rebuild_tensor_v2\n)R" + TAIL, "rebuilds a tensor from too few parts"),
    "numbered keys": (tensor_pickle(count=4, shape=(4,)).replace(text("a.weight"), b"K\x01"), "holds no state dict"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_pickles_are_refused(tmp_path, name):
    data, message = ODD[name]
    refused(with_pickle(tmp_path / "w.pth", data), message)


def test_dicts_within_themselves_are_refused(tmp_path):
    inside = HEAD + b"}q\x00" + text("state_dict") + b"h\x00s" + TAIL
    refused(with_pickle(tmp_path / "w.pth", inside), "holds no state dict")


def test_a_pickle_of_very_many_operations_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "MAX_OPS", 1000)
    refused(with_pickle(tmp_path / "w.pth", HEAD + b"N" * 2000 + TAIL), "more than 1000 operations")


def test_stretched_tensors_are_not_unfolded_unless_wanted(tmp_path):
    """Stride 0 makes a terabyte of four bytes."""
    stretched = tensor_pickle(count=4, shape=(2**20, 2**20), strides=(0, 0))
    tracemalloc.start()
    refused(with_pickle(tmp_path / "w.pth", stretched), "weights of another architecture")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


# -- archives and legacy files -----------------------------------------------------------------------------------------


def test_a_bomb_is_not_unpacked(tmp_path):
    start = time.perf_counter()
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", tensor_pickle(count=2**25, shape=(2**25,), key="0"))
        archive.writestr("archive/data/0", bytes(2**27))
    refused(
        tmp_path / "w.pth", r"its tensors unpack to 134217728 bytes, where this network needs \d+ at most; not read"
    )
    assert time.perf_counter() - start < 20


def test_a_bomb_in_the_pickles_place_is_not_unpacked(tmp_path):
    refused(with_pickle(tmp_path / "w.pth", bytes(2**25)), "its pickle unpacks to 33554432 bytes; not read")


def test_two_pickles_are_refused(tmp_path):
    path = with_pickle(tmp_path / "w.pth", torch_pickle({"a": (1,)}), **{"x/data.pkl": b""})
    refused(path, "an archive with 2 pickles")


def test_the_other_byte_order_is_refused(tmp_path):
    refused(
        with_pickle(tmp_path / "w.pth", torch_pickle({"a": (1,)}), byteorder="big"), "written on a big-endian machine"
    )


def legacy_head(little=True):
    sizes = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    return b"".join(pickle.dumps(value, 2) for value in (MAGIC, 1001, sizes))


def legacy(keys=None, count=12, little=True):
    storage = struct.pack("<q", count) + np.arange(12, dtype="<f4").tobytes()
    return legacy_head(little) + tensor_pickle() + pickle.dumps(["1"] if keys is None else keys, 2) + storage


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (legacy(), r"weights of another architecture"),
        (legacy(count=11), r"damaged or cut short \(storage '1'\)"),
        (legacy(count=-1), r"damaged or cut short \(storage '1'\)"),
        (legacy()[:-1], r"damaged or cut short \(storage '1'\)"),
        (legacy(keys=[]), "storage '1' is missing"),
        (legacy(keys=["2"]), "it holds a storage that no tensor uses"),
        (legacy(keys=[("1",)]), "it holds a storage that no tensor uses"),
        (legacy(keys={"1": 0}), "storage '1' is missing"),
        (legacy(little=False), "written on a big-endian machine"),
        (pickle.dumps([1, 2], 2) * 2, r"is a pickle, but none of torch\.save"),
        (pickle.dumps(MAGIC, 2), "cannot be read"),
        (b"\x80", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_legacy_files_that_are_damaged_are_refused(tmp_path, data, message):
    (tmp_path / "w.pth").write_bytes(data)
    refused(tmp_path / "w.pth", message)


def legacy_form():
    """GOOD as PyTorch wrote it before 1.6."""
    keys = [str(i) for i in range(len(GOOD))]
    storages = (struct.pack("<q", array.size) + np.ascontiguousarray(array).tobytes() for array in GOOD.values())
    state = torch_pickle({name: array.shape for name, array in GOOD.items()})
    return legacy_head() + state + pickle.dumps(keys, 2) + b"".join(storages)


def archive_form(tmp_path):
    return torch_archive(tmp_path / "good.pth", GOOD).read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("form", ["archive", "legacy"])
def test_truncated_files_are_refused(tmp_path, form, share):
    data = archive_form(tmp_path) if form == "archive" else legacy_form()
    (tmp_path / "w.pth").write_bytes(data[: int(len(data) * share)])
    refused(tmp_path / "w.pth", "cannot be read|is damaged|damaged or cut short|is a pickle")


@pytest.mark.parametrize("form", ["archive", "legacy"])
def test_altered_bytes_give_weights_or_one_line(tmp_path, form):
    """400 files with up to four bytes changed."""
    good = archive_form(tmp_path) if form == "archive" else legacy_form()
    chance, refusals = random.Random(0), 0
    path = tmp_path / "w.pth"
    for _ in range(400):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        message = message_of(path)
        assert "\n" not in message
        refusals += bool(message)
    assert 40 < refusals < 400


# -- dtypes and views --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "float32"])
@pytest.mark.parametrize("zipped", [True, False])
def test_every_dtype_is_read(tmp_path, dtype, zipped):
    torch = pytest.importorskip("torch")
    state = {name: torch.tensor(array.copy()).to(getattr(torch, dtype)) for name, array in GOOD.items()}
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    graph = load_weights(tiny_graph(), tmp_path / "w.pth")
    found = torch_form(graph)
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name], tensor.float().numpy())


@pytest.mark.parametrize("zipped", [True, False])
def test_views_of_one_storage_are_read(tmp_path, zipped):
    """Offsets, transposed strides, stretched axes."""
    torch = pytest.importorskip("torch")
    flat = torch.arange(3000, dtype=torch.float32) / 3000
    state = {name: torch.tensor(array.copy()) for name, array in GOOD.items()}
    state["fc.weight"] = flat[100:115].view(5, 3).t()
    state["conv1.weight"] = flat[7:].as_strided((4, 3, 3, 3), (1, 40, 5, 300))
    state["fc.bias"] = flat[11:12].expand(3)
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = torch_form(load_weights(tiny_graph(), tmp_path / "w.pth"))
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_counters_of_batch_norm_are_left_out(tmp_path):
    torch = pytest.importorskip("torch")
    state = {name: torch.tensor(array.copy()) for name, array in GOOD.items()}
    buffer = io.BytesIO()
    torch.save({**state, "conv1_bn.num_batches_tracked": torch.tensor(7)}, buffer)
    (tmp_path / "w.pt").write_bytes(buffer.getvalue())
    assert same_weights(load_weights(tiny_graph(), tmp_path / "w.pt"), tiny_graph(seed=7))

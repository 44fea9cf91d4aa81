"""HDF5 files over which the library loops or crashes: the process that reads them ends, and the error is one line."""

from __future__ import annotations

import subprocess
import sys
import time
import zlib

import h5py
import numpy as np
import pytest
from weight_files import keras_layers, same_weights, tiny_graph, write_archive, write_legacy

from edgekit.errors import WeightsError
from edgekit.importers import hdf5_child, hdf5_process
from edgekit.importers.hdf5_process import Hdf5Reader, open_hdf5
from edgekit.importers.keras_h5 import _list_layers, open_keras_weights, read_model_config
from edgekit.importers.weights import load_weights

LAYERS = keras_layers(tiny_graph(seed=7))
LIMIT_BYTES = 2**20
HAS_LIMITS = sys.platform.startswith("linux")


def spoil_heap(data):
    """Give the free room at the end of the heap of strings a smaller size: after it, objects of no size follow."""
    at = data.index(b"GCOL") + 16
    while int.from_bytes(data[at : at + 2], "little") != 0:
        at += 16 + -(-int.from_bytes(data[at + 8 : at + 16], "little") // 8) * 8
    data[at + 8 : at + 16] = (32).to_bytes(8, "little")


def spoil_type(data):
    """Make a list of texts one of sequences with a base type that fits them not at all."""
    at = data.rindex(b"weight_names\0\0\0\0\x19\x01")
    data[at + 17] = 4


def spoiled(path, change):
    data = bytearray(write_legacy(path, LAYERS).read_bytes())
    change(data)
    path.write_bytes(bytes(data))
    return path


def refused(path, message):
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(tiny_graph(), path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


# -- loops and crashes -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not HAS_LIMITS, reason="this system limits no processor time")
def test_a_file_without_end_stops_at_the_limit_of_processor_time(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_process, "CPU_SECONDS", 1)
    refused(
        spoiled(tmp_path / "w.h5", spoil_heap), r"w\.h5 is damaged: the HDF5 library found no end in it within 1 s;"
    )


def test_a_file_without_end_stops_at_the_limit_of_time(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_process, "WALL_SECONDS", 1.5)
    start = time.monotonic()
    refused(spoiled(tmp_path / "w.h5", spoil_heap), r"w\.h5 is damaged: the HDF5 library found no end in it within 1.5")
    assert time.monotonic() - start < 30


def test_the_file_without_end_is_one_for_h5py_itself(tmp_path):
    """Else the two tests above would show nothing."""
    path = spoiled(tmp_path / "w.h5", spoil_heap)
    code = "import h5py, sys; print('open', flush=True); print(h5py.File(sys.argv[1]).attrs['layer_names'])"
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, timeout=3)
    assert caught.value.stdout.strip() == b"open"


def test_a_file_over_which_the_library_crashes_is_refused(tmp_path):
    refused(
        spoiled(tmp_path / "w.h5", spoil_type),
        r"w\.h5 is damaged(: the HDF5 library broke down over it \(SIG\w+\)| or cut short \(.+\)); fetch or write it",
    )


def test_flipped_bytes_never_hang_and_never_escape(tmp_path, monkeypatch):
    """Each byte anew, in one reader after another; whatever is found, it is a list of layers or one line."""
    monkeypatch.setattr(hdf5_process, "WALL_SECONDS", 1.0)
    path = tmp_path / "w.h5"
    data = write_legacy(path, LAYERS).read_bytes()
    used = [at for at, byte in enumerate(data) if byte]
    rng = np.random.default_rng(0)
    reader, whole, refusals = Hdf5Reader(LIMIT_BYTES), 0, 0
    try:
        for at in rng.choice(used, 300, replace=False):
            changed = bytearray(data)
            changed[at] ^= int(rng.integers(1, 256))
            path.write_bytes(bytes(changed))
            try:
                read_all(reader, path)
                whole += 1
            except WeightsError as problem:
                refusals += 1
                if "is damaged: " in str(problem):
                    reader.close()
                    reader = Hdf5Reader(LIMIT_BYTES)
    finally:
        reader.close()
    assert whole > 50
    assert refusals > 50


def read_all(reader, path):
    from edgekit.importers.damage import damage_named

    file = reader.open(path)
    with damage_named(str(path)):
        layers = _list_layers(file, {})
    for layer in layers:
        for tensor in layer.tensors:
            assert tensor.read().shape == tensor.shape


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not HAS_LIMITS, reason="this system limits no memory")
@pytest.mark.parametrize("mib", [64, 256])
def test_a_chunk_that_unpacks_to_far_more_than_its_array_is_refused(tmp_path, monkeypatch, mib):
    monkeypatch.setattr(hdf5_process, "BASE_MEMORY_BYTES", 100 * 2**20)
    path = write_legacy(tmp_path / "w.h5", LAYERS)
    with h5py.File(path, "a") as file:
        del file["conv2/conv2/bias:0"]
        array = file["conv2"].create_dataset(
            "conv2/bias:0", (5,), "f4", maxshape=(None,), chunks=(mib * 2**18,), compression="gzip"
        )
        packer = zlib.compressobj(1)
        packed = b"".join([packer.compress(bytes(2**20)) for _ in range(mib)]) + packer.flush()
        array.id.write_direct_chunk((0,), packed)
    if mib == 64:  # within the limit: the file is read as it is
        with open_hdf5(path, LIMIT_BYTES) as found:
            np.testing.assert_array_equal(found.read("conv2/conv2/bias:0"), np.zeros(5))
    else:
        with (
            open_hdf5(path, LIMIT_BYTES) as found,
            pytest.raises(WeightsError, match=r"'conv2/conv2/bias:0' is damaged"),
        ):
            found.read("conv2/conv2/bias:0")


def test_a_file_of_too_many_objects_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_child, "MAX_OBJECTS", 10)
    path = write_legacy(tmp_path / "w.h5", LAYERS)
    with pytest.raises(ValueError, match="more than 10 objects"):
        hdf5_child._Reader().answer({"do": "open", "path": str(path)}, None)


# -- the reader --------------------------------------------------------------------------------------------------------


def test_one_reader_reads_files_of_the_same_name_anew(tmp_path):
    path = tmp_path / "w.h5"
    with Hdf5Reader(LIMIT_BYTES) as reader:
        for value in (1.0, 2.0):
            with h5py.File(tmp_path / "new.h5", "w") as file:
                file["x"] = np.full((2, 3), value, ">f8")
            path.write_bytes((tmp_path / "new.h5").read_bytes())
            found = reader.open(path).read("x")
            assert (found.shape, found.dtype.str) == ((2, 3), ">f8")
            assert (found == value).all()


def test_empty_and_scalar_arrays_and_names_that_are_not_utf8(tmp_path):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["empty"] = np.zeros((0, 3), np.float32)
        file["scalar"] = np.float32(3)
        file[b"\xff\xfe"] = np.float32(4)
    with open_hdf5(path, LIMIT_BYTES) as found:
        assert found.read("empty").shape == (0, 3)
        assert found.read("scalar") == 3
        assert len(found.objects) == 3


def test_a_name_of_a_file_that_is_not_utf8(tmp_path):
    path = write_legacy(tmp_path / "w\udcff.h5", LAYERS)
    assert same_weights(load_weights(tiny_graph(seed=0), path), tiny_graph(seed=7))


def test_modules_in_the_working_folder_are_not_run(tmp_path, monkeypatch):
    path = write_legacy(tmp_path / "w.h5", LAYERS)
    for name in ("h5py", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    with open_keras_weights(path, LIMIT_BYTES) as layers:
        assert [layer.name for layer in layers] == [name for name, _, _ in LAYERS]


def test_no_process_is_left_after_the_context(tmp_path):
    reader = Hdf5Reader(LIMIT_BYTES)
    with reader:
        reader.open(write_legacy(tmp_path / "w.h5", LAYERS))
        assert reader._process.poll() is None
    assert reader._process.returncode is not None


# -- the model's configuration -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ['{"class_name": "Functional", "é": 1}', b'{"x": 1}'])
def test_the_configuration_of_a_model_is_read(tmp_path, config):
    path = write_legacy(tmp_path / "w.h5", LAYERS)
    assert read_model_config(path) is None
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = config
    assert read_model_config(path) == (config if isinstance(config, str) else config.decode())


def test_a_configuration_that_is_no_text_and_other_files_are_refused(tmp_path):
    path = write_legacy(tmp_path / "w.h5", LAYERS)
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = [1.0, 2.0]
    with pytest.raises(WeightsError, match=r"w\.h5 is damaged or cut short \(model_config is no text\)"):
        read_model_config(path)
    with pytest.raises(WeightsError, match=r"w\.keras is no weights file"):
        read_model_config(write_archive(tmp_path / "w.keras", LAYERS))

"""Weights under the graph's own names."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from weight_files import same_weights, tiny_graph

from edgekit.errors import OutputError, WeightsError
from edgekit.importers.npz_weights import save_npz
from edgekit.importers.weights import load_weights


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "w.npz"
    save_npz(tiny_graph(seed=7), path)
    return path


def rewrite(path, **changes):
    """The file anew with some arrays changed, added, or (None) left out."""
    with np.load(path) as old:
        arrays = {name: old[name] for name in old.files} | {k.replace("__", "/"): v for k, v in changes.items()}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def refused(path, message):
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(tiny_graph(), path)
    assert "\n" not in str(caught.value)


def test_weights_survive_the_round_trip(saved):
    graph = load_weights(tiny_graph(seed=0), saved)
    assert same_weights(graph, tiny_graph(seed=7))
    assert graph.metadata["weights"]["matched_by"] == "name"


def test_numpy_reads_the_file_and_its_names_are_the_graphs(saved):
    with np.load(saved, allow_pickle=False) as arrays:
        assert arrays.files[:2] == ["conv1/kernel", "conv1_bn/gamma"]
        assert arrays["dw/kernel"].shape == (3, 3, 1, 4)


def test_numpys_own_files_are_read_too(saved):
    rewrite(saved)
    assert same_weights(load_weights(tiny_graph(seed=0), saved), tiny_graph(seed=7))


def test_equal_weights_give_equal_bytes(saved, tmp_path):
    save_npz(tiny_graph(seed=7), tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == saved.read_bytes()


def test_saving_replaces_a_file_whole(saved):
    save_npz(tiny_graph(seed=8), saved)
    assert same_weights(load_weights(tiny_graph(), saved), tiny_graph(seed=8))
    assert [p.name for p in saved.parent.iterdir()] == ["w.npz"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*w\.npz: No such file or directory"):
        save_npz(tiny_graph(), tmp_path / "missing" / "w.npz")


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_npz(tiny_graph(), tmp_path / "w.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fc__kernel": np.zeros((5, 4), np.float32)}, r"'fc/kernel' has shape \(5, 4\), 'fc/kernel' needs \(5, 3\)"),
        ({"fc__bias": None}, "nothing for 'fc/bias'"),
        ({"surplus": np.zeros(1, np.float32)}, "the network has no place for 'surplus'"),
        ({"fc__bias": np.asarray([0, np.nan, 0], np.float32)}, r"'fc/bias' \(for 'fc/bias'\) holds 1 NaN"),
        ({"conv1_bn__variance": np.full(4, -1, np.float32)}, "holds a negative variance"),
        ({"fc__bias": np.zeros(3, np.int64)}, "'fc/bias' holds int64, not floating-point numbers"),
    ],
)
def test_weights_that_do_not_fit_are_refused(saved, changes, message):
    rewrite(saved, **changes)
    refused(saved, message)


def test_nothing_is_unpickled(saved):
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "|O", "fortran_order": False, "shape": (3,)})
    array.write(pickle.dumps([1, 2, 3]))
    rewrite(saved, fc__bias=None)
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("fc/bias.npy", array.getvalue())
    refused(saved, "array 'fc/bias' holds Python objects")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
def test_truncated_files_are_refused(saved, share):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * share)])
    refused(saved, r"no readable \.npz file")

"""Keras's weight files in every layout, damaged and hostile ones included, without Keras."""

from __future__ import annotations

import io
import zipfile

import h5py
import numpy as np
import pytest
from weight_files import (
    CLASS_NAMES,
    keras_layers,
    same_weights,
    tiny_graph,
    write_archive,
    write_keras3,
    write_legacy,
)

from edgekit.errors import WeightsError
from edgekit.importers.keras_config import layer_paths
from edgekit.importers.weights import load_weights

WANTED = tiny_graph(seed=7)
LAYERS = keras_layers(WANTED)


def renamed(prefix="other_"):
    return [(prefix + name, kind, arrays) for name, kind, arrays in LAYERS]


def with_array(layer, role, change):
    """LAYERS with one array changed; `change` may return None to leave it out."""
    found = []
    for name, kind, arrays in LAYERS:
        if name == layer:
            changed = [(r, change(a) if r == role else a) for r, a in arrays]
            arrays = [(r, a) for r, a in changed if a is not None]
        found.append((name, kind, arrays))
    return found


# -- layouts -----------------------------------------------------------------------------------------------------------

WRITERS = {
    "keras 2": (lambda p: write_legacy(p / "w.h5", LAYERS), "name"),
    "keras 3 .h5": (lambda p: write_legacy(p / "w.h5", LAYERS, suffix=""), "name"),
    "full model": (lambda p: write_legacy(p / "w.h5", LAYERS, prefix="model_weights"), "name"),
    "names in pieces": (lambda p: write_legacy(p / "w.h5", LAYERS, pieces=3), "name"),
    "other layer names": (lambda p: write_legacy(p / "w.h5", renamed()), "order"),
    ".weights.h5": (lambda p: write_keras3(p / "w.weights.h5", LAYERS), "name"),
    ".weights.h5 without names": (lambda p: write_keras3(p / "w.weights.h5", LAYERS, names=False), "class"),
    ".weights.h5 of other names": (lambda p: write_keras3(p / "w.weights.h5", renamed()), "class"),
    ".keras": (lambda p: write_archive(p / "w.keras", LAYERS), "name"),
    ".keras with names in its configuration": (lambda p: write_archive(p / "w.keras", LAYERS, names=False), "name"),
    ".keras without configuration": (
        lambda p: write_archive(p / "w.keras", LAYERS, names=False, config=False),
        "class",
    ),
    "any extension": (lambda p: write_archive(p / "weights.bin", LAYERS), "name"),
}


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_gives_the_same_weights(tmp_path, layout):
    write, matched_by = WRITERS[layout]
    path = write(tmp_path)
    graph = load_weights(tiny_graph(seed=0), path)
    assert same_weights(graph, WANTED)
    entry = graph.metadata["weights"]
    assert (entry["source"], entry["path"], entry["matched_by"]) == ("file", path.name, matched_by)
    assert len(entry["sha256"]) == 64


def test_the_given_graph_is_left_alone(tmp_path):
    graph = tiny_graph(seed=0)
    load_weights(graph, write_legacy(tmp_path / "w.h5", LAYERS))
    assert same_weights(graph, tiny_graph(seed=0))
    assert graph.metadata["weights"] == {"source": "random", "seed": 0}


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_become_float32(tmp_path, dtype):
    layers = [(name, kind, [(role, a.astype(dtype)) for role, a in arrays]) for name, kind, arrays in LAYERS]
    graph = load_weights(tiny_graph(seed=0), write_legacy(tmp_path / "w.h5", layers))
    kernel = graph.tensor("conv1/kernel").array
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, WANTED.tensor("conv1/kernel").array.astype(dtype).astype(np.float32))


def test_ten_layers_of_a_class_are_counted_not_sorted_as_text(tmp_path):
    """conv2d_10 comes after conv2d_9, though HDF5 lists it before conv2d_2."""
    from edgekit.graph import GraphBuilder

    def deep(seed):
        b = GraphBuilder("deep", (1, 4, 4, 3), seed=seed)
        x = "input"
        for i in range(12):
            x = b.conv2d(x, 3, 1, name=f"layer{i}")
        return b.finish(x)

    wanted = deep(1)
    path = write_keras3(tmp_path / "w.weights.h5", keras_layers(wanted), names=False)
    assert same_weights(load_weights(deep(0), path), wanted)


def test_a_model_inside_a_model_is_unpacked_by_its_weights_names(tmp_path):
    """Keras 2 and 3 put all weights of an inner model into one group, trained ones first."""
    path = tmp_path / "nested.h5"
    inner, head = LAYERS[:-1], LAYERS[-1]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"backbone", head[0].encode()]
        group = file.create_group("backbone")
        flat = [(f"{name}/{role}", array) for name, _, arrays in inner for role, array in arrays]
        flat.sort(key=lambda pair: "moving" in pair[0])
        group.attrs["weight_names"] = [name.encode() for name, _ in flat]
        for name, array in flat:
            group[name] = array
        outer = file.create_group(head[0])
        outer.attrs["weight_names"] = [f"model/{head[0]}/{role}".encode() for role, _ in head[2]]
        for role, array in head[2]:
            outer[f"model/{head[0]}/{role}"] = array
    assert same_weights(load_weights(tiny_graph(seed=0), path), WANTED)


def test_a_class_spread_over_several_models_is_not_guessed(tmp_path):
    path = write_keras3(tmp_path / "w.weights.h5", LAYERS[:-3], names=False, group="layers/functional/layers")
    with h5py.File(path, "a") as file:
        for name, kind, arrays in LAYERS[-3:]:
            assert name in ("dw_bn", "conv2", "fc")
            for i, (_, array) in enumerate(arrays):
                file[f"layers/{kind}/vars/{i}"] = array
    with pytest.raises(WeightsError, match="weights of another architecture: nothing for 'conv1/kernel'"):
        load_weights(tiny_graph(), path)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            '{"config": {"layers": [{"class_name": "Conv2D", "config": {"name": "a"}},'
            ' {"class_name": "Functional", "config": {"name": "m", "layers":'
            ' [{"class_name": "DepthwiseConv2D", "config": {"name": "d"}}]}},'
            ' {"class_name": "Conv2D", "config": {"name": "b"}}]}}',
            {
                "layers/conv2d": "a",
                "layers/functional": "m",
                "layers/functional/layers/depthwise_conv2d": "d",
                "layers/conv2d_1": "b",
            },
        ),
        ("[]", {}),
        ('{"config": {"layers": [3, {"class_name": 4}, {"class_name": "ReLU", "config": 5}]}}', {}),
    ],
)
def test_layer_paths_of_a_configuration(config, expected):
    assert layer_paths(config.encode()) == expected


def test_class_names_of_the_helper_are_keras_own():
    assert layer_paths(
        (
            '{"config": {"layers": ['
            + ",".join(f'{{"class_name": "{c}", "config": {{"name": "x"}}}}' for c in CLASS_NAMES.values())
            + "]}}"
        ).encode()
    ) == {f"layers/{kind}": "x" for kind in CLASS_NAMES}


# -- other architectures -----------------------------------------------------------------------------------------------


def refused(path, message, graph=None):
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(graph or tiny_graph(), path)
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text


def test_another_width_names_the_tensor_both_shapes_and_the_score(tmp_path):
    path = write_legacy(tmp_path / "w.h5", keras_layers(tiny_graph(width=8)))
    refused(
        path,
        r"another architecture: 'conv1/conv1/kernel:0' has shape \(3, 3, 3, 8\), 'conv1/kernel' needs "
        r"\(3, 3, 3, 4\); 3 of 14 tensors match",
    )


@pytest.mark.parametrize("write", [write_legacy, write_keras3, write_archive])
def test_another_number_of_classes_is_refused_in_every_layout(tmp_path, write):
    path = write(tmp_path / "w.x", keras_layers(tiny_graph(classes=5)))
    refused(path, r"has shape \(5, 5\), 'fc/kernel' needs \(5, 3\); 12 of 14 tensors match")


@pytest.mark.parametrize("write", [write_legacy, write_keras3])
def test_a_missing_layer_is_named(tmp_path, write):
    path = write(tmp_path / "w.h5", [layer for layer in LAYERS if layer[0] != "dw"])
    refused(path, r"nothing for 'dw/kernel' \(3, 3, 4, 1\); 13 of 14 tensors match")


def test_a_surplus_layer_is_named(tmp_path):
    surplus = ("extra", "dense", [("kernel", np.zeros((3, 3), np.float32))])
    refused(write_legacy(tmp_path / "w.h5", [*LAYERS, surplus]), "the network has no place for 'extra'")


def test_a_surplus_bias_is_named(tmp_path):
    layers = [
        (name, kind, [*arrays, ("bias", np.zeros(4, np.float32))] if name == "conv1" else arrays)
        for name, kind, arrays in LAYERS
    ]
    refused(write_keras3(tmp_path / "w.h5", layers), "the network has no place for 'layers/conv2d/vars/1'")
    refused(write_legacy(tmp_path / "w.h5", layers), "the network has no place for 'conv1/conv1/bias:0'")


def test_a_missing_gamma_is_named_where_the_file_names_its_arrays(tmp_path):
    path = write_legacy(tmp_path / "w.h5", with_array("dw_bn", "gamma", lambda a: None))
    refused(path, "nothing for 'dw_bn/gamma'")


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_name_the_tensor(tmp_path, value):
    def spoil(array):
        array = array.astype(np.float64)
        array.flat[:2] = value
        return array

    path = write_legacy(tmp_path / "w.h5", with_array("conv2", "bias", spoil))
    refused(path, r"'conv2/conv2/bias:0' \(for 'conv2/bias'\) holds 2 NaN or infinite values")


def test_a_negative_variance_is_refused(tmp_path):
    path = write_keras3(tmp_path / "w.h5", with_array("dw_bn", "moving_variance", lambda a: -a))
    refused(path, r"\(for 'dw_bn/variance'\) holds a negative variance")


@pytest.mark.parametrize("dtype", [np.int32, np.complex64])
def test_arrays_of_other_numbers_are_refused(tmp_path, dtype):
    path = write_legacy(tmp_path / "w.h5", with_array("conv2", "bias", lambda a: a.astype(dtype)))
    refused(path, r"'conv2/conv2/bias:0' holds (int32|complex64), not floating-point numbers")


# -- damage ------------------------------------------------------------------------------------------------------------


def test_a_missing_file_and_a_folder_say_what_can_be_given(tmp_path):
    for path in (tmp_path / "nope.h5", tmp_path):
        refused(path, "no weights file .*; give auto, imagenet, none or the path of a file")
    with pytest.raises(WeightsError, match="no weights file 'imagnet'"):
        load_weights(tiny_graph(), "imagnet")


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", b"\0" * 5000])
def test_other_files_are_refused(tmp_path, data):
    path = tmp_path / "w.h5"
    path.write_bytes(data)
    refused(path, r"is no weights file; give \.h5 or \.keras of Keras, or \.npz")


def test_an_hdf5_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["spectrum"] = np.zeros(9)
    refused(path, "holds no weights of a Keras model")


def test_an_archive_of_something_else_is_refused(tmp_path):
    path = tmp_path / "w.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(path, r"is an archive without model\.weights\.h5")


@pytest.mark.parametrize("write", [write_legacy, write_keras3, write_archive])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.8, 0.97])
def test_truncated_files_are_refused_in_one_line(tmp_path, write, share):
    path = write(tmp_path / "w.x", LAYERS)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, "damaged or cut short|no weights file")


@pytest.mark.parametrize("names", ["conv1", [["conv1"], ["fc"]]])
def test_names_that_are_no_list_are_refused(tmp_path, names):
    path = write_legacy(tmp_path / "w.h5", LAYERS)
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = names
    refused(path, "layer_names is no list of names")


def test_names_of_layers_that_are_not_there_are_refused(tmp_path):
    path = write_legacy(tmp_path / "w.h5", LAYERS)
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = [1, 2]
    refused(path, "damaged or cut short \\('1'\\)")


def test_flipped_bytes_of_an_archive_are_refused_or_harmless(tmp_path):
    path = write_archive(tmp_path / "w.keras", LAYERS)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    refusals = 0
    for _ in range(60):
        spoiled = bytearray(data)
        for at in rng.integers(0, len(data), 8):
            spoiled[at] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(spoiled))
        try:
            load_weights(tiny_graph(), path)
        except WeightsError:
            refusals += 1
    assert refusals > 20


def test_a_configuration_that_is_no_json_is_refused(tmp_path):
    path = write_archive(tmp_path / "w.keras", LAYERS, config=False)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", "{")
    refused(path, "damaged or cut short")


# -- hostile files -----------------------------------------------------------------------------------------------------


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", b"\0" * (80 * 2**20))
    refused(path, r"model\.weights\.h5 unpacks to 83886080 bytes, where this network needs \d+ at most; not read")


def test_a_huge_array_is_refused_by_its_shape(tmp_path):
    path = write_legacy(tmp_path / "w.h5", LAYERS)
    with h5py.File(path, "a") as file:
        del file["conv1/conv1/kernel:0"]
        file["conv1"].create_dataset("conv1/kernel:0", shape=(2**20, 2**20, 3, 4), dtype="f4", chunks=True)
    refused(path, r"has shape \(1048576, 1048576, 3, 4\)")


def test_links_out_of_the_file_are_not_followed(tmp_path):
    write_legacy(tmp_path / "secret.h5", LAYERS)
    path = write_legacy(tmp_path / "w.h5", LAYERS)
    with h5py.File(path, "a") as file:
        del file["conv2"]["conv2/bias:0"]
        file["conv2"]["conv2/bias:0"] = h5py.ExternalLink("secret.h5", "/conv2/conv2/bias:0")
    refused(path, "damaged or cut short")


def test_arrays_kept_in_other_files_are_not_read(tmp_path):
    path = write_legacy(tmp_path / "w.h5", LAYERS)
    outside = tmp_path / "raw.bin"
    outside.write_bytes(b"\0" * 64)
    with h5py.File(path, "a") as file:
        del file["conv2"]["conv2/bias:0"]
        file["conv2"].create_dataset("conv2/bias:0", shape=(5,), dtype="f4", external=[(str(outside), 0, 20)])
    refused(path, "'conv2/bias:0' lies outside the file|lies outside the file")


def test_virtual_arrays_are_not_read(tmp_path):
    write_legacy(tmp_path / "secret.h5", LAYERS)
    path = write_legacy(tmp_path / "w.h5", LAYERS)
    layout = h5py.VirtualLayout(shape=(5,), dtype="f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "conv2/conv2/bias:0", shape=(5,))
    with h5py.File(path, "a") as file:
        del file["conv2"]["conv2/bias:0"]
        file["conv2"].create_virtual_dataset("conv2/bias:0", layout)
    refused(path, "lies outside the file")


def test_a_ring_of_groups_ends(tmp_path):
    path = write_legacy(tmp_path / "w.h5", LAYERS)
    with h5py.File(path, "a") as file:
        file["conv1/again"] = file["conv1"]
    assert same_weights(load_weights(tiny_graph(), path), WANTED)


def test_an_unreadable_file_is_named(tmp_path, monkeypatch):
    path = write_legacy(tmp_path / "w.h5", LAYERS)

    def forbid(self, *arguments, **keywords):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "open", forbid)
    refused(path, r"cannot read .*w\.h5: Permission denied")


def test_the_helper_writes_what_h5py_reads_back():
    stream = io.BytesIO()
    write_keras3(stream, LAYERS)
    with h5py.File(stream, "r") as file:
        assert file["layers/depthwise_conv2d/vars/0"].shape == (3, 3, 4, 1)

"""From what the user typed to a graph: weights and their warnings, labels, preprocessing, files."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import run
from onnx import TensorProto, helper, numpy_helper

from edgekit.data.preprocess import Preprocessing
from edgekit.errors import DataError, GraphError, ImportFileError, ModelError, WeightsError
from edgekit.graph.ir import Graph
from edgekit.importers.download import forget_unreachable
from edgekit.pipeline.model import ModelRequest, load_model, preprocessing_of, preset, read_labels
from edgekit.pipeline.reporter import SilentReporter

SMALL = {"alpha": 0.35, "resolution": 32, "classes": 10}


class Listener(SilentReporter):
    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, str]] = []

    def step(self, title: str, text: str) -> None:
        self.steps.append((title, text))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Weights come from a port of this machine where nobody listens; the cache is empty. Returns the cache."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("EDGEKIT_WEIGHTS_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    forget_unreachable()
    return tmp_path / "cache"


def net(shape: tuple[int | str, ...] = (1, 3, 8, 8), value: float = 1.0, op: str = "Relu") -> bytes:
    kernel = np.full((4, 3, 1, 1), value, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node(op, ["c"], ["r"], name="act"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["y"], name="flat"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(kernel, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def load(model: object, reporter: Any = None, options: dict[str, Any] | None = None, **more: Any) -> Graph:
    return load_model(ModelRequest(str(model), options or {}, **more), reporter or SilentReporter())


def test_auto_without_a_network_says_random_loudly_and_quickly(no_network: Path, tmp_path: Path) -> None:
    start = time.perf_counter()
    done = run(
        "export",
        "mobilenet_v2",
        "--alpha",
        "0.35",
        "--resolution",
        "96",
        "--calibration-images",
        "1",
        "--out",
        tmp_path,
    )
    assert done.code == 0, done.err
    assert time.perf_counter() - start < 30
    warning = next(line for line in done.err.splitlines() if line.startswith("warning"))
    assert warning.split(maxsplit=1)[1] == "the weights are RANDOM and the predictions worthless"
    assert f"put the file into {no_network}" in done.err
    manifest = json.loads((tmp_path / "mobilenet_v2_0.35_96_fp32.json").read_text())
    assert manifest["warnings"] == ["the weights are RANDOM and the predictions worthless"]
    weights = manifest["metadata"]["weights"]
    assert weights["source"] == "random"
    assert [note["kind"] for note in weights["notes"]] == ["random_weights"]
    assert str(tmp_path) not in json.dumps(manifest)
    for fmt in ("tflite", "onnx"):
        data = (tmp_path / f"mobilenet_v2_0.35_96_fp32.{fmt}").read_bytes()
        assert b"RANDOM" in data
        assert str(tmp_path).encode() not in data


def test_imagenet_without_a_network_is_an_error(no_network: Path) -> None:
    with pytest.raises(WeightsError, match=r"not in the cache and cannot be downloaded.*--weights PATH or none"):
        load("mobilenet_v2", weights="imagenet")


def test_auto_where_no_weights_are_published_says_what_there_is(no_network: Path) -> None:
    listener = Listener()
    graph = load("mobilenet_v2", listener, {**SMALL, "alpha": 0.6, "classes": 1000})
    assert listener.warnings == ["the weights are RANDOM and the predictions worthless"]
    ((title, circumstances),) = listener.steps
    assert title == "weights"
    assert "there are some with alpha 1.4, 1.3, 1, 0.75, 0.5, 0.35" in circumstances
    assert graph.metadata["weights"]["notes"][0]["message"] == listener.warnings[0]


def test_none_is_silent_and_still_says_random() -> None:
    listener = Listener()
    graph = load("mobilenet_v2", listener, SMALL, weights="none", seed=7)
    assert (listener.warnings, listener.steps) == ([], [])
    assert graph.metadata["weights"] == {"source": "random", "seed": 7}


def test_weights_of_another_architecture_name_tensor_and_shapes(tmp_path: Path) -> None:
    from edgekit.importers.npz_weights import save_npz

    save_npz(load("mobilenet_v2", options={**SMALL, "alpha": 0.5}, weights="none"), tmp_path / "other.npz")
    with pytest.raises(
        WeightsError, match=r"other.npz: .*another architecture.*_project/kernel' has shape \(.*needs \("
    ):
        load("mobilenet_v2", options=SMALL, weights=str(tmp_path / "other.npz"))


def test_nan_in_weights_names_the_layer(tmp_path: Path) -> None:
    from edgekit.importers.npz_weights import save_npz

    graph = load("mobilenet_v2", options=SMALL, weights="none")
    bad = graph.tensor("block_3_expand/kernel")
    data = bad.array.copy()
    data.flat[5] = np.nan
    graph.set_tensor(bad.with_data(data))
    save_npz(graph, tmp_path / "nan.npz")
    with pytest.raises(WeightsError, match="block_3_expand/kernel"):
        load("mobilenet_v2", options=SMALL, weights=str(tmp_path / "nan.npz"))
    (tmp_path / "nan.onnx").write_bytes(net(value=np.inf))
    with pytest.raises(GraphError, match=r"nan.onnx.*'conv/kernel' holds 12 NaN or infinite values"):
        load(tmp_path / "nan.onnx")


@pytest.mark.parametrize("name", ["d.pb", "e.PB"])
def test_other_model_files_are_refused_with_the_way_out(name: str) -> None:
    with pytest.raises(ImportFileError, match="files cannot be read yet; export the model to ONNX and give that file"):
        load(name)


def test_unknown_models_name_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"mobilnet_v2.*mobilenet_v2"):
        load("mobilnet_v2")
    for name in ("nowhere.onnx", "a.keras", "b.H5", "e.hdf5"):
        with pytest.raises(ImportFileError, match=f"{name}: no such file"):
            load(name)


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        ({"alpha": 0.5}, {}, "--alpha shapes zoo models"),
        ({"resolution": 64, "classes": None}, {}, "--resolution shapes zoo models"),
        ({}, {"weights": "imagenet"}, "--weights is for zoo models"),
        ({}, {"preprocessing": "grey"}, "makes 1 channels, the model takes 3"),
    ],
)
def test_options_that_a_file_cannot_have(
    tmp_path: Path, options: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    (tmp_path / "net.onnx").write_bytes(net())
    with pytest.raises((ModelError, DataError), match=message):
        load(tmp_path / "net.onnx", options=options, **more)


def test_a_file_says_how_it_is_preprocessed_or_is_taken_as_torch(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(net())
    reporter = SilentReporter()
    assert preprocessing_of(load(tmp_path / "net.onnx", reporter)) == preset("torch", 8, 8, 3)
    (warning,) = reporter.warnings
    assert "net.onnx does not say how its images are normalized: taken as --preprocessing torch; others are" in warning
    assert warning.count("torch") == 1
    quiet = SilentReporter()
    assert preprocessing_of(load(tmp_path / "net.onnx", quiet, preprocessing="unit")) == preset("unit", 8, 8, 3)
    assert quiet.warnings == []


def test_a_name_without_suffix_that_is_a_file_is_read_as_onnx(tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(net())
    assert load(tmp_path / "net").name == "net"


def test_open_sizes_are_given_by_input_shape(tmp_path: Path) -> None:
    (tmp_path / "open.onnx").write_bytes(net(("n", 3, "h", "w")))
    with pytest.raises(ImportFileError, match=r"open dimension 'h'.*--input-shape"):
        load(tmp_path / "open.onnx")
    graph = load(tmp_path / "open.onnx", input_shape=(1, 3, 16, 24))
    assert graph.shape(graph.inputs[0]) == (1, 16, 24, 3)
    assert Preprocessing.from_metadata(graph.metadata["preprocessing"]).input_shape == (1, 16, 24, 3)
    done = run(
        "export", tmp_path / "open.onnx", "--input-shape", "1,3,16,24", "--calibration-images", "2", "--out", tmp_path
    )
    assert done.code == 0, done.err
    assert "input 16x24x3" in done.err
    with pytest.raises(ImportFileError, match="does not fit"):
        load(tmp_path / "open.onnx", input_shape=(1, 4, 16, 24))


def test_a_model_that_takes_no_image_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "vector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 5))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 5))],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "v.onnx")
    with pytest.raises(DataError, match=r"images need one input \(1, height, width, channels\)"):
        load(tmp_path / "v.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\ntwo\n", "names 2 classes, the model has 10; give one line a class"),
        (b"", "names 0 classes"),
        (b"\xff\xfe", "cannot be read: it is not UTF-8; give a UTF-8 text file"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load("mobilenet_v2", options=SMALL, weights="none", labels=tmp_path / "labels.txt")


def test_labels_are_stripped_of_marks_and_line_ends(tmp_path: Path) -> None:
    graph = load("mobilenet_v2", options=SMALL, weights="none")
    (tmp_path / "labels.txt").write_bytes("\ufeffcafé\r\n".encode() + b"b \r\n" * 9)
    assert read_labels(tmp_path / "labels.txt", graph) == ["café", *["b"] * 9]
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_labels(tmp_path, graph)

"""What the import keeps of the file: shapes, names, metadata, external data."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.helper import make_node
from onnx_oracle import check_import, node_model, ops

import edgekit
from edgekit.importers.onnx import import_onnx

KERNEL = np.random.default_rng(3).standard_normal((4, 3, 3, 3)).astype(np.float32)
CONV = make_node("Conv", ["x", "features.0.weight"], ["c"], name="/features/features.0/Conv")
RELU = make_node("Relu", ["c"], ["y"], name="/features/features.1/Relu")


def small(shape: tuple[int | str, ...] = (1, 3, 8, 8), opset: int = 17) -> onnx.ModelProto:
    return node_model([CONV, RELU], shape, {"features.0.weight": KERNEL}, opset=opset)


def test_metadata_and_names(tmp_path: Path) -> None:
    path = tmp_path / "tiny_net.onnx"
    onnx.save(small(), path)
    graph = import_onnx(path)
    assert graph.name == "tiny_net"
    assert graph.metadata == {
        "model": {"name": "tiny_net"},
        "weights": {
            "source": "file",
            "name": "tiny_net.onnx",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
        "edgekit": edgekit.__version__,
    }
    assert [n.name for n in graph.nodes] == ["features.0", "y"]
    assert import_onnx(path, name="mine").metadata["model"] == {"name": "mine"}


@pytest.mark.parametrize("opset", range(11, onnx.defs.onnx_opset_version() + 1))
def test_every_opset(opset: int) -> None:
    graph = import_onnx(small(opset=opset).SerializeToString())
    assert ops(graph) == ["conv2d", "relu"]


def test_open_batch_is_one() -> None:
    graph = check_import(small(("batch", 3, 8, 8)))
    assert graph.shape("x") == (1, 8, 8, 3)


def test_open_size_from_input_shape() -> None:
    graph = check_import(small(("n", 3, "h", "w")), input_shape=(2, 3, 9, 6))
    assert graph.shape("x") == (2, 9, 6, 3)


def test_external_data_in_a_folder_beside(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    path = tmp_path / "net.onnx"
    onnx.save(small(), path, save_as_external_data=True, location="weights/net.data", size_threshold=0)
    graph = check_import(path)
    both = path.read_bytes() + (tmp_path / "weights" / "net.data").read_bytes()
    assert graph.metadata["weights"]["sha256"] == hashlib.sha256(both).hexdigest()


def test_nhwc_input_stays() -> None:
    nodes = [make_node("Mul", ["x", "s"], ["m"]), make_node("Transpose", ["m"], ["t"], perm=[0, 3, 1, 2])]
    conv = make_node("Conv", ["t", "k"], ["y"])
    model = node_model([*nodes, conv], (1, 8, 8, 3), {"s": np.float32(0.5), "k": KERNEL})
    graph = check_import(model, nhwc_input=True)
    assert ops(graph) == ["mul", "conv2d"]
    assert graph.shape("x") == (1, 8, 8, 3)


def test_grey_nhwc_input_comes_by_reshape() -> None:
    nodes = [make_node("Reshape", ["x", "s"], ["t"]), make_node("Conv", ["t", "k"], ["y"])]
    model = node_model(nodes, (1, 8, 6, 1), {"s": np.asarray([1, 1, 8, 6]), "k": KERNEL[:, :1]})
    assert ops(check_import(model, nhwc_input=True)) == ["conv2d"]


def test_weights_listed_as_inputs() -> None:
    model = small()
    model.graph.input.append(onnx.helper.make_tensor_value_info("features.0.weight", 1, KERNEL.shape))
    assert check_import(model).inputs == ("x",)


def test_clashing_names_become_unique() -> None:
    nodes = [make_node("Relu", ["x"], ["a"], name="x"), make_node("Relu", ["a"], ["b"], name="x")]
    model = node_model([*nodes, make_node("Relu", ["b"], ["7"])], (1, 4), outputs=("7",))
    graph = import_onnx(model.SerializeToString())  # onnxruntime refuses it
    assert [n.name for n in graph.nodes] == ["x_1", "x_2", "Relu_7"]


def test_local_functions_are_unfolded() -> None:
    function = onnx.helper.make_function(
        "pkg", "Twice", ["a"], ["b"], [make_node("Add", ["a", "a"], ["b"])], [onnx.helper.make_opsetid("", 17)]
    )
    model = node_model([make_node("Twice", ["x"], ["y"], domain="pkg")], (1, 4))
    model.functions.append(function)
    model.opset_import.append(onnx.helper.make_opsetid("pkg", 1))
    assert ops(check_import(model)) == ["add"]


def test_edgekit_imports_no_onnx() -> None:
    code = "import edgekit.importers.onnx, sys; print(any(m in sys.modules for m in ('onnx', 'onnxruntime')))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"

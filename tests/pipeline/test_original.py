"""The import is held against the user's own file in onnxruntime: layouts, types, several outputs, wrong imports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import names, refused, run
from onnx import TensorProto, helper, numpy_helper

from edgekit.data.preprocess import PRESETS
from edgekit.data.synthetic import SyntheticSource
from edgekit.errors import EdgekitError
from edgekit.graph.ir import Array, Graph, Node, Tensor
from edgekit.importers.onnx import import_onnx
from edgekit.importers.tflite import import_tflite
from edgekit.pipeline.original import ImportAgreement, check_import
from edgekit.pipeline.reporter import SilentReporter
from edgekit.runtime import Session

HEIGHT, WIDTH = 12, 16
FLOAT, HALF, BYTE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8


def images() -> list[Array]:
    return [s.array for s in SyntheticSource(0).samples(PRESETS["torch"].with_size(HEIGHT, WIDTH), 2)]


def write(
    path: Path,
    *,
    nhwc: bool = False,
    kind: int = FLOAT,
    weights: int = FLOAT,
    size: tuple[Any, Any] = (HEIGHT, WIDTH),
) -> Path:
    """conv -> relu -> (map, mean): a map in the input's layout and a vector."""
    kernel = np.random.default_rng(0).standard_normal((5, 3, 3, 3)).astype(helper.tensor_dtype_to_np_dtype(weights))
    nodes, last = [], "x"
    if kind != weights:
        nodes.append(helper.make_node("Cast", [last], ["cast"], to=weights))
        last = "cast"
    if nhwc:
        nodes.append(helper.make_node("Transpose", [last], ["nchw"], perm=[0, 3, 1, 2]))
        last = "nchw"
    nodes += [
        helper.make_node("Conv", [last, "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["map" if not nhwc else "r"]),
        helper.make_node("ReduceMean", ["c"], ["mean"], axes=[2, 3], keepdims=0),
    ]
    if nhwc:
        nodes.append(helper.make_node("Transpose", ["r"], ["map"], perm=[0, 2, 3, 1]))
    shape = (1, *size, 3) if nhwc else (1, 3, *size)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [
            helper.make_tensor_value_info("map", weights, (1, *size, 5) if nhwc else (1, 5, *size)),
            helper.make_tensor_value_info("mean", weights, (1, 5)),
        ],
        [numpy_helper.from_array(kernel, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def check(path: Path, graph: Graph | None = None, shape: tuple[int, ...] | None = None) -> ImportAgreement | None:
    reporter = SilentReporter()
    found = check_import(path, graph or import_onnx(path, input_shape=shape), images(), reporter, shape)
    assert bool(reporter.warnings) == (found is None)
    return found


@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize(("kind", "weights"), [(FLOAT, FLOAT), (HALF, HALF), (BYTE, FLOAT), (BYTE, HALF)])
def test_every_output_agrees_in_any_layout_and_type(tmp_path: Path, nhwc: bool, kind: int, weights: int) -> None:
    found = check(write(tmp_path / "net.onnx", nhwc=nhwc, kind=kind, weights=weights))
    assert found is not None
    assert found.runtime.startswith("onnxruntime ")
    assert len(found.outputs) == 2
    assert [result.samples for result in found.outputs.values()] == [2, 2]
    assert found.sqnr_db > (100 if weights == FLOAT else 50)


def test_open_sizes(tmp_path: Path) -> None:
    found = check(write(tmp_path / "net.onnx", size=("h", "w")), shape=(1, 3, HEIGHT, WIDTH))
    assert found is not None
    assert found.sqnr_db > 100


@pytest.mark.parametrize("output", [0, 1])
def test_a_wrong_import_is_refused_whichever_output_shows_it(tmp_path: Path, output: int) -> None:
    path = write(tmp_path / "net.onnx")
    graph = import_onnx(path)
    scaled = spoil(graph, graph.outputs[output])
    with pytest.raises(
        EdgekitError, match=r"net.onnx as imported differs .*signal to noise 5\d\.\d dB.*nothing written"
    ):
        check(path, scaled)


def spoil(graph: Graph, output: str) -> Graph:
    """The graph with one output 0.2 % too large."""
    graph.add_tensor(Tensor.constant("factor", np.array([1.002], np.float32)))
    graph.add_tensor(Tensor("spoilt", graph.shape(output), "float32"))
    graph.add_node(Node("spoil", "mul", (output, "factor"), ("spoilt",), {"activation": "none"}))
    graph.outputs = tuple("spoilt" if name == output else name for name in graph.outputs)
    return graph


def test_a_file_that_the_runtime_refuses_is_imported_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", kind=TensorProto.DOUBLE, weights=TensorProto.DOUBLE)
    done = run("export", path, "--calibration-images", "1", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "net.onnx was imported, but not run itself to check that: " in done.err
    assert json.loads((tmp_path / "out" / "net_fp32.json").read_text())["import"] is None


def test_a_tflite_file_is_run_in_its_own_runtime(labelled: Path) -> None:
    path = labelled / "mobilenet_v2_0.35_96_fp32.tflite"
    graph, other = import_tflite(path), import_tflite(path)
    kernel = next(tensor for tensor in other.constants() if len(tensor.shape) == 4)
    other.set_tensor(kernel.with_data(kernel.array * np.float32(1.05)))
    pictures = [s.array for s in SyntheticSource(0).samples(PRESETS["keras_tf"].with_size(96, 96), 2)]
    found = check_import(path, graph, pictures, SilentReporter())
    assert found is not None
    assert found.runtime.startswith("litert ")
    assert found.sqnr_db > 90
    with pytest.raises(EdgekitError, match=r"fp32.tflite as imported differs from what its own runtime"):
        check_import(path, other, pictures, SilentReporter())


def test_a_file_of_another_name_is_checked_as_onnx(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx").rename(tmp_path / "net")
    found = check(path)
    assert found is not None
    assert found.sqnr_db > 100


def test_keras_files_have_no_runtime_here(tmp_path: Path) -> None:
    graph = import_onnx(write(tmp_path / "net.onnx"))
    reporter = SilentReporter()
    assert check_import(tmp_path / "net.keras", graph, images(), reporter) is None
    assert reporter.warnings == []


def test_export_prints_and_records_the_agreement(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx")
    done = run("export", path, "--int8", "--calibration-images", "3", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    line = next(line for line in done.err.splitlines() if line.startswith("import "))
    assert "dB against the file itself in onnxruntime " in line
    told = json.loads((tmp_path / "out" / "net_int8.json").read_text())["import"]
    assert [result["samples"] for result in told["outputs"].values()] == [2, 2]


def test_export_of_a_wrong_import_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import edgekit.importers.onnx as module

    genuine = module.import_onnx

    def wrong(*args: Any, **more: Any) -> Graph:
        graph = genuine(*args, **more)
        return spoil(graph, graph.outputs[0])

    monkeypatch.setattr(module, "import_onnx", wrong)
    done = run("export", write(tmp_path / "net.onnx"), "--int8", "--out", tmp_path / "out")
    refused(done, "net.onnx as imported differs from what its own runtime makes of the file", "nothing written")
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("precision", ["--int8", "--fp16", None])
def test_all_outputs_of_both_files_are_compared(tmp_path: Path, precision: str | None) -> None:
    path, out = write(tmp_path / "net.onnx"), tmp_path / "out"
    options = ("--calibration-images", "3", "--json", "--out", out)
    done = run("export", path, *([precision] if precision else []), *options)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    expected = onnxruntime_outputs(path)
    for kind in ("tflite", "onnx"):
        told = document["agreement"]["other_outputs"][kind]
        assert list(told) == ["mean"]
        assert told["mean"]["samples"] == 3
        assert told["mean"]["min_cosine"] > (0.98 if precision == "--int8" else 0.9999)
        (file,) = out.glob(f"*.{kind}")
        with Session.open(file) as session:
            found = session.run_outputs(images()[0])
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.1 * np.abs(theirs).max())
    shown = run("export", path, *([precision] if precision else []), *options[:2], "--out", out)
    assert "tflite, output mean " in shown.out


def onnxruntime_outputs(path: Path) -> list[Array]:
    """What the file itself gives for the first image, NHWC."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found, mean = session.run(None, {"x": images()[0].transpose(0, 3, 1, 2)})
    return [found.transpose(0, 2, 3, 1), mean]


def test_an_output_that_is_not_the_first_and_differs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import edgekit.pipeline.export_model as module

    genuine = module.apply_passes

    def wrong(graph: Graph, *args: Any, **more: Any) -> Any:
        done, reports = genuine(graph, *args, **more)
        return spoil(done, done.outputs[1]), reports

    monkeypatch.setattr(module, "apply_passes", wrong)
    done = run("export", write(tmp_path / "net.onnx"), "--calibration-images", "1", "--out", tmp_path / "out")
    refused(done, "output 'mean' of the tflite file differs from the model", "nothing written")
    assert names(tmp_path / "out") == []

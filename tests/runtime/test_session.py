"""One interface over the runtimes: values against the runtimes' own interfaces, and the line each failure gives."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_models import CLASSES, SIZE, image, onnx_classifier, onnx_quantized, onnx_single_op, tflite_models

from edgekit.errors import DataError, ImportFileError, RuntimeUnavailableError
from edgekit.runtime import Session


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def interpret(model: bytes, x: np.ndarray) -> np.ndarray:
    """The TFLite runtime by hand."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def test_float_tflite_gives_the_interpreter_s_values(tmp_path: Path) -> None:
    model = tflite_models()["float"]
    with Session.open(write(tmp_path, "a.tflite", model)) as session:
        assert session.runtime.startswith("litert 2") or session.runtime.startswith("litert 1")
        (given,), (made,) = session.inputs, session.outputs
        assert (given.shape, given.dtype, given.scale, given.layout) == ((1, SIZE, SIZE, 3), np.float32, None, "NHWC")
        assert (made.name, made.shape, made.layout) == ("softmax", (1, CLASSES), None)
        np.testing.assert_array_equal(session.run_float(image()), interpret(model, image()))


def test_tflite_and_onnx_files_of_equal_weights_agree() -> None:
    with Session.open(tflite_models()["float"]) as tflite, Session.open(onnx_classifier()) as onnx:
        assert (onnx.inputs[0].layout, onnx.inputs[0].nhwc_shape) == ("NCHW", (1, SIZE, SIZE, 3))
        np.testing.assert_allclose(tflite.run_float(image()), onnx.run_float(image()), atol=1e-6)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_quantized_tflite_input_is_rounded_and_output_dequantized(kind: str) -> None:
    model = tflite_models()[kind]
    with Session.open(model) as session:
        spec, out = session.inputs[0], session.outputs[0]
        limits = np.iinfo(kind)
        x = image() * 3  # beyond the calibrated range
        steps = np.clip(np.rint(x / np.float64(spec.scale)) + spec.zero_point, limits.min, limits.max).astype(kind)
        assert steps.min() == limits.min
        assert steps.max() == limits.max
        expected = interpret(model, steps)
        np.testing.assert_array_equal(session.run_quantized(x), expected)
        real = (expected.astype(np.float64) - out.zero_point) * out.scale
        np.testing.assert_allclose(session.run_float(x), real, rtol=1e-6)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_quantized_onnx_reads_its_scales_from_the_metadata(kind: str) -> None:
    import onnxruntime as ort

    model = onnx_quantized(kind)
    zero = 128 if kind == "uint8" else 0
    limits = np.iinfo(kind)
    steps = np.clip(np.rint(image() / 0.05) + zero, limits.min, limits.max).astype(kind).transpose(0, 3, 1, 2)
    expected = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": steps})[0]
    with Session.open(model) as session:
        assert (session.inputs[0].scale, session.inputs[0].zero_point) == (0.05, zero)
        np.testing.assert_array_equal(session.run_quantized(image()), expected.transpose(0, 2, 3, 1))
        real = (expected.astype(np.float64) - (zero - 128)) * 0.1
        np.testing.assert_allclose(session.run_float(image()), real.transpose(0, 2, 3, 1), rtol=1e-6)


def test_halves_round_to_even_and_infinity_saturates() -> None:
    x = np.zeros((1, SIZE, SIZE, 3), np.float32)
    model = onnx_quantized_identity()
    x.reshape(-1)[:6] = [0.5, 1.5, 2.5, -0.5, np.inf, -np.inf]
    with Session.open(model) as session:
        assert session.run_quantized(x).reshape(-1)[:6].tolist() == [0, 2, 2, 0, 127, -128]


def onnx_quantized_identity() -> bytes:
    from onnx import helper, load_from_string

    model = load_from_string(onnx_single_op("Identity", dtype="INT8"))
    helper.set_model_props(model, {"edgekit.scale.x": "1.0", "edgekit.zero_point.x": "0"})
    return model.SerializeToString()


def test_float16_input_and_output_are_cast() -> None:
    with Session.open(onnx_single_op("Identity", dtype="FLOAT16")) as session:
        result = session.run_float(image())
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, image().astype(np.float16).astype(np.float32))


def test_open_batch_counts_as_one() -> None:
    for model in (tflite_models()["any_batch"], onnx_classifier(batch="N")):
        with Session.open(model) as session:
            assert session.inputs[0].nhwc_shape == (1, SIZE, SIZE, 3)
            assert session.outputs[0].shape == (1, CLASSES)
            assert session.run_float(image()).shape == (1, CLASSES)


def test_layout_of_foreign_files_follows_the_image_channels() -> None:
    with Session.open(onnx_single_op("Relu", [1, SIZE, SIZE, 3])) as nhwc:
        assert nhwc.inputs[0].layout == "NHWC"
        np.testing.assert_array_equal(nhwc.run_float(image()), np.maximum(image(), 0))
    with Session.open(onnx_single_op("Relu", [1, 16, SIZE, SIZE])) as nchw:
        assert nchw.inputs[0].layout == "NCHW"


def test_run_takes_and_gives_raw_arrays_by_name() -> None:
    with Session.open(tflite_models()["two_inputs"]) as session:
        feeds = {spec.name: image(i) for i, spec in enumerate(session.inputs)}
        (result,) = session.run(feeds).values()
        np.testing.assert_array_equal(result, image(0) + image(1))
        with pytest.raises(DataError, match="takes 2 inputs"):
            session.run_float(image())
        with pytest.raises(DataError, match="takes 2 inputs: give a dictionary by name"):
            session.run(image())
        with pytest.raises(DataError, match=r"takes the inputs \[.*\], got \['z'\]"):
            session.run({"z": image()})


@pytest.mark.parametrize("model", ["tflite", "onnx"])
def test_bound_inference_keeps_its_inputs(model: str) -> None:
    content = tflite_models()["float"] if model == "tflite" else onnx_classifier()
    with Session.open(content) as session:
        x = image() if model == "tflite" else np.ascontiguousarray(image().transpose(0, 3, 1, 2))
        infer = session.bind(x)
        for _ in range(3):
            infer()
        expected = session.run(x)[session.outputs[0].name]
        np.testing.assert_allclose(expected, session.run_float(image()), atol=1e-7)


def test_builtin_kernels_and_threads_give_the_same_answer() -> None:
    model = tflite_models()["float"]
    with Session.open(model) as usual, Session.open(model, delegate="builtin", threads=2) as plain:
        np.testing.assert_allclose(usual.run_float(image()), plain.run_float(image()), atol=1e-6)


def test_spinning_reaches_onnxruntime() -> None:
    from edgekit.runtime.onnx_backend import open_onnxruntime_session

    session = open_onnxruntime_session(onnx_classifier(), label="x", threads=2, allow_spinning=False)
    options = session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)


# What goes wrong, in one line each.


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (image(size=SIZE + 1), r"takes shape \[1, 12, 12, 3\], got \[1, 13, 13, 3\]"),
        (image()[0], r"takes shape \[1, 12, 12, 3\], got \[12, 12, 3\]"),
        (np.zeros((1, SIZE, SIZE, 3), np.uint8), "takes a float32 sample, got uint8"),
        (np.full((1, SIZE, SIZE, 3), np.nan, np.float32), "holds NaN"),
    ],
)
def test_samples_that_do_not_fit(x: np.ndarray, message: str) -> None:
    with Session.open(tflite_models()["int8"]) as session, pytest.raises(DataError, match=message):
        session.run_float(x)


def test_raw_arrays_that_do_not_fit() -> None:
    with Session.open(onnx_classifier()) as session:
        with pytest.raises(DataError, match=r"'x' takes float32 \[1, 3, 12, 12\], got float64"):
            session.run(np.zeros((1, 3, SIZE, SIZE)))
        with pytest.raises(DataError, match=r"got float32 \[1, 12, 12, 3\]"):
            session.run(image())


def test_integer_input_without_a_scale() -> None:
    with (
        Session.open(onnx_single_op("Identity", dtype="UINT8")) as session,
        pytest.raises(DataError, match="is uint8 and the file tells no scale for it: feed it raw"),
    ):
        session.run_float(image())


@pytest.mark.parametrize(
    ("props", "message"),
    [
        ({"edgekit.scale.x": "small"}, "hold no scale and zero point"),
        ({"edgekit.scale.x": "0"}, "'x': scale 0.0 is not a positive number"),
        ({"edgekit.scale.x": "0.1", "edgekit.zero_point.x": "300"}, "do not fit uint8"),
    ],
)
def test_metadata_that_are_no_scales(props: dict[str, str], message: str) -> None:
    with pytest.raises(ImportFileError, match=message):
        Session.open(onnx_quantized(metadata=props))


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_missing_file_and_folder(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ImportFileError, match=r"none.* cannot be read: No such file"):
        Session.open(tmp_path / f"none{suffix}")
    with pytest.raises(ImportFileError, match="cannot be read: Is a directory"):
        Session.open(tmp_path)


def test_damaged_files(tmp_path: Path) -> None:
    tflite, onnx = tflite_models()["float"], onnx_classifier()
    cases = [
        ("half.tflite", tflite[: len(tflite) // 2], "is not a whole TFLite file .*: export or copy it again"),
        ("short.tflite", tflite[:-1], "is not a whole TFLite file"),
        ("text.tflite", b"<html>not found</html>", "is not a TFLite file"),
        ("empty.tflite", b"", "is not a TFLite file"),
        ("half.onnx", onnx[: len(onnx) // 2], r"is not a whole ONNX file \(Protobuf parsing failed\)"),
        ("text.onnx", b"<html>not found</html>", "is not a whole ONNX file"),
        ("empty.onnx", b"", "is not a whole ONNX file"),
        ("model.pb", b"\x08\x01", "is neither a .tflite nor an .onnx file"),
    ]
    for name, content, message in cases:
        with pytest.raises(ImportFileError, match=message) as caught:
            Session.open(write(tmp_path, name, content))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ImportFileError, match="is not a whole ONNX file"):
        Session.open(tmp_path / "half.onnx", preserve_all_tensors=True)


def test_ops_that_the_runtime_lacks() -> None:
    from small_models import with_op_version

    cases = {
        "litert refuses <bytes>: Encountered unresolved custom op: Betainc": tflite_models()["custom"],
        "litert refuses <bytes>: Didn't find op for builtin opcode .* version '99'": with_op_version(
            tflite_models()["float"], 99
        ),
        "onnxruntime .* refuses <bytes>: .*No Op registered for Betainc": onnx_single_op("Betainc"),
        "onnxruntime .* refuses <bytes>: .*my.ops:Foo": onnx_single_op("Foo", domain="my.ops"),
    }
    for message, model in cases.items():
        with pytest.raises(RuntimeUnavailableError, match=message) as caught:
            Session.open(model)
        assert "\n" not in str(caught.value)


def test_open_sizes_other_than_the_batch() -> None:
    with pytest.raises(ImportFileError, match=r"open shape \[1, -1, 12, 3\]: export it with a fixed size"):
        Session.open(tflite_models()["open_size"])
    with pytest.raises(ImportFileError, match=r"input 'x' has the open shape \[1, 3, 'H', 12\]"):
        Session.open(onnx_single_op("Relu", [1, 3, "H", SIZE]))


def test_inputs_that_are_no_numbers() -> None:
    with pytest.raises(ImportFileError, match="only tensors of numbers"):
        Session.open(onnx_single_op("Identity", [1, 3], dtype="STRING"))


def test_runtimes_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("onnxruntime", "ai_edge_litert", "ai_edge_litert.interpreter", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RuntimeUnavailableError, match="onnxruntime is not installed: pip install onnxruntime"):
        Session.open(onnx_classifier())
    with pytest.raises(RuntimeUnavailableError, match="no runtime for TFLite files is installed: pip install"):
        Session.open(tflite_models()["float"])
    with pytest.raises(RuntimeUnavailableError, match="ai-edge-litert is not installed: pip install ai-edge-litert"):
        Session.open(tflite_models()["float"], runtime="litert")
    with pytest.raises(RuntimeUnavailableError, match=r"tflite-runtime is not installed: pip install 'edgekit\[tflite"):
        Session.open(tflite_models()["float"], runtime="tflite-runtime")


def test_runtime_for_the_other_format() -> None:
    with pytest.raises(ImportFileError, match="litert runs tflite files and <bytes> is onnx"):
        Session.open(onnx_classifier(), runtime="litert")
    with pytest.raises(ImportFileError, match="onnxruntime runs onnx files and <bytes> is tflite"):
        Session.open(tflite_models()["float"], runtime="onnxruntime")


def test_closed_session_and_no_threads() -> None:
    with Session.open(onnx_classifier()) as session:
        pass
    with pytest.raises(RuntimeUnavailableError, match="the session is closed"):
        session.run_float(image())
    with pytest.raises(RuntimeUnavailableError, match="0 threads cannot run anything"):
        Session.open(onnx_classifier(), threads=0)


def test_failure_while_running_names_the_file() -> None:
    """Gather reads beyond its table: only known when it runs."""
    from onnx import TensorProto, helper, numpy_helper
    from small_models import _onnx_model

    model = _onnx_model(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.zeros(3, np.float32), "table")],
    )
    with (
        Session.open(model) as session,
        pytest.raises(
            RuntimeUnavailableError, match=r"onnxruntime .* cannot run <bytes>: .*indices element out of"
        ) as e,
    ):
        session.run(np.array([9]))
    assert "\n" not in str(e.value)


def test_importing_imports_no_runtime_and_opening_prints_nothing(tmp_path: Path) -> None:
    """In a process of its own: what a command would print."""
    files = [write(tmp_path, "a.tflite", tflite_models()["float"]), write(tmp_path, "a.onnx", onnx_classifier())]
    code = f"""
import sys
import edgekit.runtime, edgekit.evaluate, edgekit.bench
heavy = {{"onnxruntime", "onnx", "ai_edge_litert", "tensorflow"}} & set(sys.modules)
assert not heavy, heavy
for path in {[str(f) for f in files]!r}:
    with edgekit.runtime.Session.open(path) as session:
        assert session.outputs[0].shape == (1, {CLASSES})
print("done")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("done\n", "", 0)


def test_the_older_runtime_s_wheels_are_kept_from_crashing_with_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "2.14.0")
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(
        RuntimeUnavailableError, match=r"tflite-runtime 2\.14\.0 crashes with numpy 2\.1\.0: pip install"
    ):
        Session.open(tflite_models()["int8"], runtime="tflite-runtime")


@pytest.mark.skipif(
    importlib.util.find_spec("tflite_runtime") is None or not np.__version__.startswith("1."),
    reason="tflite-runtime and numpy 1 are not installed here",
)
def test_the_older_runtime() -> None:
    model = tflite_models()["int8"]
    with Session.open(model, runtime="tflite-runtime") as old, Session.open(model, runtime="litert") as new:
        assert old.runtime.startswith("tflite-runtime 2")
        steps = old.run_quantized(image()).astype(int) - new.run_quantized(image())
        assert np.abs(steps).max() <= 1

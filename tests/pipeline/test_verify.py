"""The proof: numbers against numpy by hand, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.data.preprocess import KERAS_TF
from edgekit.data.synthetic import SyntheticSource
from edgekit.errors import DataError, EdgekitError
from edgekit.evaluate.agreement import AgreementResult
from edgekit.graph.ir import Graph
from edgekit.pipeline.model import ModelRequest, load_model
from edgekit.pipeline.reporter import SilentReporter
from edgekit.pipeline.verify import Verification, require_float_agreement, verify_files


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    preprocessing = KERAS_TF.with_size(96, 96)
    return [sample.array for sample in SyntheticSource(3).samples(preprocessing, 3)]


def float_outputs(labelled: Path, images: list[np.ndarray]) -> np.ndarray:
    import onnxruntime

    path = labelled / "mobilenet_v2_0.35_96_fp32.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"input": x.transpose(0, 3, 1, 2)})[0][0] for x in images]).astype(np.float64)


def tflite_steps(labelled: Path, images: list[np.ndarray]) -> tuple[np.ndarray, float, int]:
    """int8 outputs, their scale and zero point, from the runtime itself."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(labelled / "mobilenet_v2_0.35_96_int8.tflite"))
    interpreter.allocate_tensors()
    entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs = []
    for x in images:
        scale, zero = entry["quantization"]
        steps = np.clip(np.rint(x / np.float32(scale)) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(entry["index"], steps)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(end["index"])[0].astype(np.int64))
    return np.stack(outputs), *end["quantization"]


def onnx_steps(labelled: Path, images: list[np.ndarray], scale: float, zero: int) -> np.ndarray:
    import onnxruntime

    path = labelled / "mobilenet_v2_0.35_96_int8.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    steps = [np.clip(np.rint(x / np.float32(scale)) + zero, -128, 127).astype(np.int8) for x in images]
    return np.stack([session.run(None, {"input": s.transpose(0, 3, 1, 2)})[0][0] for s in steps]).astype(np.int64)


def test_the_numbers_are_numpys(labelled: Path, images: list[np.ndarray]) -> None:
    options = {"alpha": 0.35, "resolution": 96}
    model = load_model(ModelRequest("mobilenet_v2", options, weights="none"), SilentReporter())
    files = {fmt: (labelled / f"mobilenet_v2_0.35_96_int8.{fmt}").read_bytes() for fmt in ("tflite", "onnx")}
    found = verify_files(model, files, iter(images))
    expected = float_outputs(labelled, images)
    a, scale, zero = tflite_steps(labelled, images)
    b = onnx_steps(labelled, images, *entry_scale(labelled))
    real = (a - zero) * scale
    cosines = [float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)) for x, y in zip(expected, real, strict=True)]
    agreement = found.with_float["tflite"]
    assert found.images == agreement.samples == 3
    assert agreement.mean_cosine == pytest.approx(np.mean(cosines), abs=1e-6)
    assert agreement.min_cosine == pytest.approx(min(cosines), abs=1e-6)
    noise = 10 * np.log10(np.square(expected).sum() / np.square(expected - real).sum())
    assert agreement.sqnr_db == pytest.approx(noise, abs=1e-3)
    assert agreement.max_abs_difference == pytest.approx(np.abs(expected - real).max(), abs=1e-5)
    assert agreement.top1_share == np.mean([real[i, expected[i].argmax()] == real[i].max() for i in range(3)])
    assert found.between is not None
    assert found.between.equal_share == np.mean(a == b)
    assert found.between.max_step_difference == np.abs(a - b).max()


def entry_scale(labelled: Path) -> tuple[float, int]:
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(model_path=str(labelled / "mobilenet_v2_0.35_96_int8.tflite")).get_input_details()
    scale, zero = details[0]["quantization"]
    return float(scale), int(zero)


def test_one_file_has_no_partner(labelled: Path, images: list[np.ndarray]) -> None:
    options = {"alpha": 0.35, "resolution": 96}
    model = load_model(ModelRequest("mobilenet_v2", options, weights="none"), SilentReporter())
    data = (labelled / "mobilenet_v2_0.35_96_fp32.tflite").read_bytes()
    found = verify_files(model, {"tflite": data}, images[:1])
    assert (found.between, found.between_float) == (None, None)
    assert found.with_float["tflite"].sqnr_db > 90
    require_float_agreement(found)
    assert found.to_json()["between"] is None


def test_no_image_is_an_error(labelled: Path) -> None:
    options = {"alpha": 0.35, "resolution": 96}
    model = load_model(ModelRequest("mobilenet_v2", options, weights="none"), SilentReporter())
    data = (labelled / "mobilenet_v2_0.35_96_fp32.onnx").read_bytes()
    with pytest.raises(DataError, match="no sample to compare"):
        verify_files(model, {"onnx": data}, [])


@pytest.mark.parametrize(("sqnr", "good"), [(59.9, False), (60.1, True), (float("inf"), True), (float("-inf"), False)])
def test_the_line_between_rounding_and_a_defect(sqnr: float, good: bool) -> None:
    result = AgreementResult(1, 1.0, 1.0, 1.0, 0.0, 0.0, sqnr)
    verification = Verification(1, {"onnx": result}, None, None)
    if good:
        require_float_agreement(verification)
        return
    with pytest.raises(EdgekitError, match=r"the onnx file differs from the model.*nothing written.*defect of edgekit"):
        require_float_agreement(verification)


@pytest.mark.parametrize("other", [59.9, 60.1])
def test_other_outputs_are_held_to_the_same_line(other: float) -> None:
    good, found = (AgreementResult(1, 1.0, 1.0, 1.0, 0.0, 0.0, sqnr) for sqnr in (99.0, other))
    verification = Verification(1, {"onnx": good}, None, None, {"onnx": {"boxes": found}})
    if other > 60:
        require_float_agreement(verification)
        return
    with pytest.raises(EdgekitError, match=r"output 'boxes' of the onnx file differs from the model"):
        require_float_agreement(verification)


def tiny_model(seed: int = 0) -> Graph:
    options = {"alpha": 0.35, "resolution": 96}
    return load_model(ModelRequest("mobilenet_v2", options, weights="none", seed=seed), SilentReporter())


def test_known_outputs_stand_in_for_the_models(labelled: Path, images: list[np.ndarray]) -> None:
    data = {"tflite": (labelled / "mobilenet_v2_0.35_96_int8.tflite").read_bytes()}
    known = [(output[None].astype(np.float32),) for output in float_outputs(labelled, images)]
    assert verify_files(tiny_model(), data, images, known).with_float["tflite"].sqnr_db == pytest.approx(
        verify_files(tiny_model(), data, images).with_float["tflite"].sqnr_db, abs=0.01
    )


def test_passes_that_changed_the_model_are_found(labelled: Path, images: list[np.ndarray]) -> None:
    data = {"tflite": (labelled / "mobilenet_v2_0.35_96_int8.tflite").read_bytes()}
    known = [(output[None].astype(np.float32),) for output in float_outputs(labelled, images)]
    with pytest.raises(EdgekitError, match=r"the passes changed the model.*nothing written"):
        verify_files(tiny_model(seed=1), data, images, known)

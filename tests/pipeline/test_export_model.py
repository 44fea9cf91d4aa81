"""The main job from Python: files, manifest, metadata, determinism."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import names, write_photos

from edgekit.errors import EdgekitError, ModelError, OutputError
from edgekit.export.onnx import read_edgekit_metadata as onnx_metadata
from edgekit.export.tflite_metadata import read_edgekit_metadata as tflite_metadata
from edgekit.pipeline.export_model import ExportRequest, ExportResult, export_model
from edgekit.pipeline.model import ModelRequest
from edgekit.pipeline.quantize_model import Int8Settings
from edgekit.pipeline.reporter import SilentReporter
from edgekit.quantize.assign import QuantizeOptions
from edgekit.runtime import Session, xnnpack_coverage

SMALL = {"alpha": 0.35, "resolution": 32, "classes": 10}


def export(out: Path, precision: str = "int8", *, io_type: str = "int8", images: int = 4, **more: Any) -> ExportResult:
    model = more.pop("model", ModelRequest("mobilenet_v2", SMALL, weights="none"))
    settings = Int8Settings(images, options=QuantizeOptions(io=io_type))  # type: ignore[arg-type]  # parametrized
    return export_model(ExportRequest(model, precision, int8=settings, out=out, **more))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    labels = tmp_path_factory.mktemp("labels") / "labels.txt"
    labels.write_text("\ufeff" + "\n".join(f"thing {i}" for i in range(10)), encoding="utf-8")
    model = ModelRequest("mobilenet_v2", SMALL, weights="none", labels=labels)
    return export(tmp_path_factory.mktemp("int8"), model=model)


def onnx_scales(data: bytes) -> dict[str, tuple[float, int]]:
    """Scale and int8 zero point of what each QuantizeLinear or DequantizeLinear of an activation carries."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(data).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[0] not in constants:
            scale, zero = (constants[name] for name in node.input[1:3])
            shift = 128 if zero.dtype == np.uint8 else 0
            found[node.input[0]] = found[node.output[0]] = (float(scale), int(zero) - shift)
    return found


def tflite_scales(data: bytes) -> dict[str, tuple[float, int]]:
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(model_content=data).get_tensor_details()
    return {
        d["name"]: (
            float(d["quantization_parameters"]["scales"][0]),
            int(d["quantization_parameters"]["zero_points"][0]),
        )
        for d in details
        if d["dtype"] == np.int8 and len(d["quantization_parameters"]["scales"]) == 1
    }


def test_both_int8_files_carry_the_same_scales(int8: ExportResult) -> None:
    tflite = tflite_scales(int8.files["tflite"].read_bytes())
    onnx = onnx_scales(int8.files["onnx"].read_bytes())
    by_name = {name.removesuffix("_quantized").removesuffix("_dequantized"): value for name, value in onnx.items()}
    shared = tflite.keys() & by_name.keys()
    assert len(shared) > 60
    assert {name: tflite[name] for name in shared} == {name: by_name[name] for name in shared}
    # Beside names: the two files have the same collection of parameters.
    assert set(onnx.values()) == {tflite[name] for name in tflite}


@pytest.mark.parametrize("io_type", ["int8", "uint8", "float32"])
def test_int8_files_run_in_both_runtimes_and_fully_in_xnnpack(tmp_path: Path, io_type: str) -> None:
    result = export(tmp_path, io_type=io_type)
    for path in result.files.values():
        with Session.open(path) as session:
            assert (str(session.inputs[0].dtype), str(session.outputs[0].dtype)) == (io_type, io_type)
    coverage = xnnpack_coverage(result.files["tflite"])
    # XNNPACK has no conversion between int8 and uint8: those two small ops stay with TFLite.
    assert coverage.left == (("QUANTIZE", "QUANTIZE") if io_type == "uint8" else ())
    assert coverage.partitions == 1
    assert result.verification.between_float is not None
    assert result.verification.between_float.mean_cosine > 0.999
    assert (result.verification.between is None) == (io_type == "float32")


def test_the_manifest_tells_the_truth(int8: ExportResult) -> None:
    text = int8.manifest.read_text("utf-8")
    manifest = json.loads(text)
    assert manifest == json.loads(json.dumps(int8.to_json()))
    for fmt, path in int8.files.items():
        told, data = manifest["files"][fmt], path.read_bytes()
        assert told["name"] == path.name
        assert told["sha256"] == hashlib.sha256(data).hexdigest()
        assert told["bytes"] == len(data)
        assert (
            told["zipped_bytes"] == len(zlib.compress(data, 9, -zlib.MAX_WBITS)) if sys.version_info >= (3, 11) else 1
        )
        assert told["weight_bytes"] < told["bytes"]
    assert manifest["parameters"] == int8.source_cost.parameters
    assert manifest["agreement"]["images"] == 4
    assert names(int8.manifest.parent) == sorted(p.name for p in (*int8.files.values(), int8.manifest))


def test_the_zipped_size_is_what_a_zip_needs(int8: ExportResult, tmp_path: Path) -> None:
    path = int8.files["tflite"]
    with zipfile.ZipFile(tmp_path / "app.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.write(path, path.name)
        assert archive.getinfo(path.name).compress_size == int8.sizes["tflite"].zipped_bytes


def test_both_files_carry_the_metadata_and_tflite_the_labels(int8: ExportResult) -> None:
    tflite, onnx = (int8.files[fmt].read_bytes() for fmt in ("tflite", "onnx"))
    expected = json.loads(int8.manifest.read_text("utf-8"))["metadata"]
    assert tflite_metadata(tflite) == onnx_metadata(onnx) == expected
    assert expected["labels"] == [f"thing {i}" for i in range(10)]
    assert expected["weights"] == {"source": "random", "seed": 0}
    assert [step["step"] for step in expected["steps"]][-1] == "quantize"
    assert expected["steps"][-1]["io"] == "int8"
    with zipfile.ZipFile(io.BytesIO(tflite)) as archive:
        assert archive.read("labels.txt").decode().split("\n") == expected["labels"]


def test_the_same_job_gives_the_same_bytes_in_any_folder_and_process(tmp_path: Path) -> None:
    photos = [write_photos(tmp_path / where / "photos", 5) for where in ("here", "there")]
    found = []
    for i, (folder, seed) in enumerate(zip(photos, ("0", "4242"), strict=True)):
        (folder / "002.png").write_bytes(b"no picture")
        out = tmp_path / f"out{i}"
        program = (
            "from pathlib import Path\nfrom edgekit.pipeline.export_model import ExportRequest, export_model\n"
            "from edgekit.pipeline.model import ModelRequest\n"
            f"model = ModelRequest('mobilenet_v2', {SMALL!r}, weights='none')\n"
            f"export_model(ExportRequest(model, 'int8', calibration={str(folder)!r}, out=Path({str(out)!r})))\n"
        )
        env = {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "TZ": f"UTC+{i}", "HOME": str(tmp_path / f"home{i}")}
        subprocess.run([sys.executable, "-c", program], env=env, cwd=folder, check=True, timeout=120)
        found.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert found[0] == found[1]
    assert len(found[0]) == 3
    for content in found[0].values():
        assert str(tmp_path).encode() not in content
        assert str(Path.home()).encode() not in content or str(Path.home()) == "/"


def test_skipped_images_are_counted_in_warning_manifest_and_metadata(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    (photos / "001.png").write_bytes(b"\x89PNG but no picture")
    (photos / "003.png").write_bytes((photos / "003.png").read_bytes()[:60])
    reporter = SilentReporter()
    model = ModelRequest("mobilenet_v2", SMALL, weights="none")
    result = export_model(ExportRequest(model, "int8", calibration=str(photos), out=tmp_path / "out"), reporter)
    (warning,) = reporter.warnings
    assert warning.startswith("2 images could not be read and were skipped: 001.png: ")
    assert result.warnings == (warning,)
    calibration = result.metadata["steps"][-1]["calibration"]
    assert (calibration["count"], calibration["used"], calibration["skipped"]) == (4, 2, 2)
    assert [entry.split(":")[0] for entry in calibration["skipped_first"]] == ["001.png", "003.png"]
    assert result.verification.images == 2


def test_float_exports_count_skipped_images_too(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 2)
    (photos / "000.png").write_bytes(b"")
    result = export(tmp_path / "out", "float32", calibration=str(photos))
    assert [w.split(":")[0] for w in result.warnings] == ["1 image could not be read and was skipped"]


def test_half_precision_halves_the_file_and_agrees(tmp_path: Path) -> None:
    wide = ModelRequest("mobilenet_v2", {"alpha": 0.35, "resolution": 32}, weights="none")
    single, half = (export(tmp_path, precision, model=wide) for precision in ("float32", "float16"))
    for fmt in ("tflite", "onnx"):
        ratio = half.files[fmt].stat().st_size / single.files[fmt].stat().st_size
        assert 0.49 < ratio < 0.53
        assert half.verification.with_float[fmt].sqnr_db > 50
        assert half.verification.with_float[fmt].top1_share == 1
        assert single.verification.with_float[fmt].sqnr_db > 90
    assert half.files["onnx"].name == "mobilenet_v2_0.35_32_fp16.onnx"
    assert half.verification.between is None


def test_without_fusing_activations_stay_ops_of_their_own(tmp_path: Path) -> None:
    from edgekit.export.tflite import op_names

    fused = export(tmp_path / "a", "float32", formats=("tflite",))
    loose = export(tmp_path / "b", "float32", formats=("tflite",), fuse=False)
    assert op_names(fused.files["tflite"].read_bytes()).count("RELU6") == 0
    assert op_names(loose.files["tflite"].read_bytes()).count("RELU6") == 35
    assert names(tmp_path / "a") == [
        "mobilenet_v2_0.35_32_10classes_fp32.json",
        "mobilenet_v2_0.35_32_10classes_fp32.tflite",
    ]
    quantized = export(tmp_path / "c", fuse=False)
    assert quantized.verification.with_float["tflite"].mean_cosine > 0.9


def test_equalization_and_bias_correction_can_be_left_out(tmp_path: Path) -> None:
    model = ModelRequest("mobilenet_v2", SMALL, weights="none")
    plain = Int8Settings(4, equalize=False, options=QuantizeOptions(bias_correction=False, range_method="min-max"))
    result = export_model(ExportRequest(model, "int8", formats=("onnx",), int8=plain, out=tmp_path))
    step = result.metadata["steps"][-1]
    assert (step["equalized_channels"], step["bias_correction"], step["range_method"]) == (0, False, "min-max")


@pytest.mark.parametrize(("line", "poor"), [(0.9, False), (0.9999, True)])
def test_poor_int8_agreement_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: float, poor: bool
) -> None:
    monkeypatch.setattr("edgekit.pipeline.export_model.POOR_COSINE", line)
    result = export(tmp_path)
    assert 0.9 < result.verification.with_float["tflite"].mean_cosine < 0.9999
    told = [warning for warning in result.warnings if "agrees poorly with the float model (cosine 0.9" in warning]
    assert len(told) == poor
    assert json.loads(result.manifest.read_text("utf-8"))["warnings"] == list(result.warnings)


def test_a_wrong_option_is_told_before_anything_else(tmp_path: Path) -> None:
    reporter = SilentReporter()
    request = ExportRequest(ModelRequest("mobilenet_v2", {"alpha": 0}), "int8", out=tmp_path)
    with pytest.raises(ModelError, match="option alpha is 0"):
        export_model(request, reporter)
    assert reporter.warnings == []


def test_at_most_so_many_images_are_used(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 7)
    result = export(tmp_path / "out", images=3, calibration=str(photos))
    assert result.metadata["steps"][-1]["calibration"]["used"] == 3
    assert result.verification.images == 3


@pytest.mark.parametrize("formats", [(), ("tflite", "pb"), ("TFLITE",)])
def test_unknown_formats_are_refused(tmp_path: Path, formats: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="is none of tflite, onnx"):
        export(tmp_path, formats=formats)


@pytest.mark.parametrize("deeper", ["", "a/b"])
def test_a_file_in_the_folders_place_is_refused_before_the_work(tmp_path: Path, deeper: str) -> None:
    blocker = tmp_path / "blocker"
    blocker.write_text("mine")
    reporter = SilentReporter()
    request = ExportRequest(ModelRequest("mobilenet_v2", SMALL), "int8", out=blocker / deeper)
    with pytest.raises(OutputError, match=r"blocker is a file, not a folder; choose another --out"):
        export_model(request, reporter)
    assert reporter.warnings == []
    assert blocker.read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which not even root can make files")
@pytest.mark.parametrize("deeper", ["", "a/b"])
def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(deeper: str) -> None:
    reporter = SilentReporter()
    request = ExportRequest(ModelRequest("mobilenet_v2", SMALL), "int8", out=Path("/proc") / deeper)
    with pytest.raises(OutputError, match=r"^cannot write /proc: .*choose"):
        export_model(request, reporter)
    assert reporter.warnings == []


@pytest.mark.parametrize(("precision", "factor"), [("float32", 1.01), ("float16", 1.5)])
def test_a_float_file_that_disagrees_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, factor: float
) -> None:
    import edgekit.pipeline.export_model as module

    genuine = module.apply_passes

    def spoil(graph: Any, *args: Any, **more: Any) -> Any:
        done, reports = genuine(graph, *args, **more)
        kernel = next(t for t in done.constants() if t.name.startswith("Conv1/"))
        done.set_tensor(kernel.with_data(kernel.array * kernel.array.dtype.type(factor)))
        return done, reports

    monkeypatch.setattr(module, "apply_passes", spoil)
    with pytest.raises(
        EdgekitError, match=r"the tflite file differs from the model \(signal to noise .* nothing written"
    ):
        export(tmp_path / "out", precision)
    assert names(tmp_path / "out") == []


def test_older_files_are_replaced_and_stay_where_the_job_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = export(tmp_path, "float32", formats=("onnx",))
    before = first.files["onnx"].read_bytes()
    other = ModelRequest("mobilenet_v2", SMALL, weights="none", seed=1)
    export(tmp_path, "float32", formats=("onnx",), model=other)
    after = first.files["onnx"].read_bytes()
    assert before != after
    monkeypatch.setattr("edgekit.pipeline.export_model.FLOAT_SQNR_DB", 1e9)
    with pytest.raises(EdgekitError, match="nothing written"):
        export(tmp_path, "float32", formats=("onnx",))
    assert first.files["onnx"].read_bytes() == after

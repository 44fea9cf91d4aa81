"""`models`, `info`, `inspect`, `evaluate`, `compare` and `bench`, on the zoo and on exported files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, refused, run, write_photos

INT8, FLOAT = "mobilenet_v2_0.35_96_int8", "mobilenet_v2_0.35_96_fp32"


def documents(*args: object) -> Any:
    done = run(*args, "--json")
    assert done.code == 0, done.err

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(done.out, parse_constant=refuse)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos in one folder a class."""
    folder = tmp_path_factory.mktemp("classes")
    for i, name in enumerate(("ant", "bee", "cat")):
        write_photos(folder / name, 2, seed=i)
    return folder


def test_models_lists_every_variant_with_the_papers_numbers() -> None:
    rows = documents("models")
    assert isinstance(rows, list)
    row = next(r for r in rows if r["model"] == "mobilenet_v2" and r["options"] == {"alpha": 0.75, "resolution": 224})
    assert (row["parameters"], row["published"]["top1_percent"]) == (2_636_424, 69.8)


def test_info_counts_a_zoo_model() -> None:
    told = documents("info", "mobilenet_v1", "--alpha", "0.5", "--rho", "0.714")
    assert isinstance(told, dict)
    assert told["input"] == [1, 160, 160, 3]
    assert told["parameters"] == 1_331_592  # Keras's count of trained parameters
    assert "nodes" not in told
    layered = documents("info", "mobilenet_v1", "--layers")
    assert isinstance(layered, dict)
    assert sum(node["macs"] for node in layered["nodes"]) == layered["macs"]


def test_info_of_a_file_is_that_of_its_model(labelled: Path) -> None:
    told = documents("info", labelled / f"{FLOAT}.onnx")
    assert isinstance(told, dict)
    assert told["input"] == [1, 96, 96, 3]
    assert told["macs"] == documents("info", "mobilenet_v2", "--alpha", "0.35", "--resolution", "96")["macs"]  # type: ignore[index,call-overload]  # a document
    done = run("info", labelled / f"{FLOAT}.onnx")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("name", [f"{INT8}.tflite", f"{INT8}.onnx", f"{FLOAT}.tflite", f"{FLOAT}.onnx"])
def test_inspect_tells_what_the_file_is(labelled: Path, name: str) -> None:
    path = labelled / name
    told = documents("inspect", path)
    assert isinstance(told, dict)
    assert told["format"] == path.suffix[1:]
    assert told["file_bytes"] == path.stat().st_size
    assert told["zipped_bytes"] < told["file_bytes"]
    entry = told["inputs"][0]
    assert sorted(entry["shape"]) == [1, 3, 96, 96]
    assert entry["dtype"] == ("float32" if "fp32" in name else "int8")
    assert told["metadata"]["model"]["alpha"] == 0.35
    assert sum(told["ops"].values()) >= 60
    printed = run("inspect", path).out
    assert "labels" in printed
    assert "1000, from 'class 0' to 'class 999'" in printed
    assert "..." not in printed
    if name == f"{INT8}.tflite":
        assert told["xnnpack"]["delegated"] == told["xnnpack"]["total"]
        assert "step quantize" in printed
        assert f"scale {entry['scale']:.6g}, zero point {entry['zero_point']}" in printed
        assert entry["scale"] == pytest.approx(1 / 127, rel=1e-6)


def test_inspect_of_somebody_elses_file(tmp_path: Path) -> None:
    from small_models import onnx_classifier

    (tmp_path / "foreign.onnx").write_bytes(onnx_classifier())
    told = documents("inspect", tmp_path / "foreign.onnx")
    assert isinstance(told, dict)
    assert told["metadata"] is None
    assert "made by edgekit" not in run("inspect", tmp_path / "foreign.onnx").out


def test_evaluate_counts_the_hits_of_each_file(labelled: Path, classes: Path) -> None:
    files = [labelled / f"{FLOAT}.onnx", labelled / f"{INT8}.tflite", labelled / f"{INT8}.onnx"]
    results = documents("evaluate", *files, "--data", classes)
    assert isinstance(results, list)
    assert [Path(r["path"]) for r in results] == files
    assert {r["samples"] for r in results} == {6}
    assert results[0]["agreement"] is None
    assert results[1]["agreement"]["mean_cosine"] > 0.9
    done = run("evaluate", *files, "--data", classes, "--limit", "3")
    assert all(line.rstrip().endswith(" 3") for line in done.out.splitlines()[1:])


def test_evaluate_says_what_it_skipped(labelled: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos" / "ant", 3)
    (tmp_path / "photos" / "ant" / "000.png").write_bytes(b"no picture")
    done = run("evaluate", labelled / f"{FLOAT}.onnx", "--data", tmp_path / "photos")
    assert done.code == 0
    assert "1 image could not be read and was skipped: ant/000.png" in done.err


def test_evaluate_needs_labels(labelled: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 2)
    refused(run("evaluate", labelled / f"{FLOAT}.onnx", "--data", photos), "no label", "edgekit compare")


def test_files_made_for_other_images_are_not_mixed(labelled: Path, tmp_path: Path, classes: Path) -> None:
    small = run("export", *TINY, "--calibration-images", "2", "--format", "onnx", "--out", tmp_path)
    assert small.code == 0
    other = tmp_path / "mobilenet_v2_0.35_32_10classes_fp32.onnx"
    for args in (
        ("evaluate", labelled / f"{FLOAT}.onnx", other, "--data", classes),
        ("compare", other, labelled / f"{FLOAT}.onnx"),
    ):
        refused(run(*args), "takes images prepared in another way than", "run them one by one")


def test_compare_layer_by_layer(labelled: Path) -> None:
    first, second = labelled / f"{INT8}.tflite", labelled / f"{INT8}.onnx"
    told = documents("compare", first, second, "--limit", "2")
    assert isinstance(told, dict)
    assert told["output"]["samples"] == 2
    assert told["quantized"]["equal_share"] > 0.99
    assert len(told["layers"]) > 50
    assert run("compare", first, second, "--limit", "2").out.count("\n") > 50


def test_compare_of_a_file_with_itself_finds_nothing(labelled: Path) -> None:
    path = labelled / f"{INT8}.onnx"
    told = documents("compare", path, path, "--limit", "1")
    assert isinstance(told, dict)
    assert told["output"]["max_abs_difference"] == 0
    assert told["quantized"]["equal_share"] == 1
    printed = run("compare", path, path, "--limit", "1").out
    assert "raw outputs: 100.00% equal, largest difference 0 steps" in printed


def test_a_file_that_does_not_say_is_taken_as_a_preset_with_a_warning(tmp_path: Path) -> None:
    from small_models import onnx_classifier

    path = tmp_path / "foreign.onnx"
    path.write_bytes(onnx_classifier())
    assert "taken as --preprocessing torch" in run("compare", path, path, "--limit", "1").err
    assert run("compare", path, path, "--limit", "1", "--preprocessing", "unit").err == ""
    refused(run("compare", path, path, "--preprocessing", "nonsense"), "'nonsense' is none of")


def test_bench_measures_side_by_side(labelled: Path) -> None:
    files = [labelled / f"{INT8}.tflite", labelled / f"{INT8}.onnx"]
    document = documents("bench", *files, "--seconds", "0.05")
    results = document["files"]
    assert [Path(r["path"]) for r in results] == files
    assert document["device"]["name"] == "host"
    assert all(0 < r["summary"]["min_ms"] <= r["summary"]["median_ms"] <= r["summary"]["p90_ms"] for r in results)
    done = run("bench", files[0], "--seconds", "0.05")
    assert done.out.splitlines()[0].split()[:5] == ["file", "runs", "on", "median", "ms"]
    assert "leave the machine alone" in done.err
    assert "leave the machine alone" not in run("bench", *files, labelled / "missing.onnx").err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["inspect", "{missing}"], "cannot be read: No such file"),
        (["bench", "{missing}"], "cannot be read"),
        (["bench", "{good}", "--threads", "0"], "give at least 1"),
        (["bench", "{good}", "--seconds", "0"], "measure nothing"),
        (["bench", "{good}", "--seconds", "nan"], "measure nothing"),
        (["compare", "{good}", "{missing}"], "cannot be read"),
        (["compare", "{good}", "{good}", "--limit", "0"], "limit of 0"),
        (["compare", "{good}", "{good}", "--data", "{missing}"], "does not exist"),
        (["evaluate", "{missing}", "--data", "synthetic"], "cannot be read"),
        (["inspect", "{cut}"], "cut.onnx: not a whole ONNX file"),
        (["inspect", "{text}"], "neither a .tflite nor an .onnx"),
        (["inspect", "{folder}"], "cannot be read: Is a directory"),
        (["info", "{tflite}"], "is quantized"),
        (["info", "{int8}"], "is quantized"),
    ],
)
def test_files_that_cannot_be_are_one_line(args: list[str], words: str, labelled: Path, tmp_path: Path) -> None:
    good = labelled / f"{INT8}.tflite"
    (tmp_path / "cut.onnx").write_bytes((labelled / f"{FLOAT}.onnx").read_bytes()[:1000])
    (tmp_path / "text.txt").write_text("no model")
    paths = {
        "missing": tmp_path / "missing.onnx",
        "cut": tmp_path / "cut.onnx",
        "text": tmp_path / "text.txt",
        "folder": tmp_path,
        "tflite": good,
        "good": good,
        "int8": labelled / f"{INT8}.onnx",
    }
    refused(run(*(arg.format(**paths) for arg in args)), words)


def test_the_numbers_of_evaluate_are_those_of_the_runtime(labelled: Path, tmp_path: Path) -> None:
    """Labels are chosen so that the first half is right: by onnxruntime and Pillow alone."""
    import onnxruntime
    from PIL import Image

    session = onnxruntime.InferenceSession(str(labelled / f"{FLOAT}.onnx"), providers=["CPUExecutionProvider"])
    photos = write_photos(tmp_path / "photos", 4, size=96)
    pixels = np.stack([np.asarray(Image.open(path)) for path in sorted(photos.iterdir())])
    inputs = (pixels / 127.5 - 1).astype(np.float32).transpose(0, 3, 1, 2)
    found = [int(session.run(None, {session.get_inputs()[0].name: x[None]})[0].argmax()) for x in inputs]
    np.savez(
        tmp_path / "data.npz", x=pixels, y=np.array([found[0], found[1], (found[2] + 1) % 1000, (found[3] + 1) % 1000])
    )
    results = documents("evaluate", labelled / f"{FLOAT}.tflite", "--data", tmp_path / "data.npz")
    assert isinstance(results, list)
    assert results[0]["top1"]["share"] == 0.5

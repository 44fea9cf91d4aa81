"""What `edgekit export` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import TINY, names, run, spawn

STEM = "mobilenet_v2_0.35_32_10classes"
FEW = ("--calibration-images", "2")


def strict_json(text: str) -> object:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_int8_prints_sizes_agreement_and_files(tmp_path: Path) -> None:
    done = run("export", *TINY, *FEW, "--int8", "--out", tmp_path)
    assert done.code == 0
    assert names(tmp_path) == [f"{STEM}_int8.{kind}" for kind in ("json", "onnx", "tflite")]
    for kind in ("tflite", "onnx"):
        row = next(line for line in done.out.splitlines() if line.startswith(f"{STEM}_int8.{kind} "))
        assert f"{(tmp_path / f'{STEM}_int8.{kind}').stat().st_size / 1e3:.1f} kB" in row
        assert f"{kind} with the float model" in done.out
    assert "agreement on 2 images" in done.out
    assert "tflite with onnx: " in done.out
    assert "of the outputs equal, largest difference" in done.out
    assert f"wrote {tmp_path / STEM}_int8.tflite, " in done.out
    assert "calibrated on synthetic images" in done.err
    assert "input 32x32x3" in done.err


def test_int8_with_float_ends_still_compares_the_two_files(tmp_path: Path) -> None:
    done = run("export", *TINY, *FEW, "--int8", "--io", "float32", "--out", tmp_path)
    line = next(line for line in done.out.splitlines() if line.startswith("tflite with onnx: "))
    assert "steps" not in line
    assert "top-1" in line
    assert "cosine" in line


def test_one_format_compares_with_the_float_model_alone(tmp_path: Path) -> None:
    done = run("export", *TINY, *FEW, "--int8", "--format", "tflite", "--out", tmp_path)
    assert names(tmp_path) == [f"{STEM}_int8.json", f"{STEM}_int8.tflite"]
    assert "onnx" not in done.out


def test_json_is_the_manifest_with_paths_and_nothing_else_on_standard_output(tmp_path: Path) -> None:
    done = spawn("export", *TINY, *FEW, "--int8", "--explain", "--json", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    document = strict_json(done.stdout)
    assert isinstance(document, dict)
    assert [Path(p).name for p in document.pop("paths")] == [
        f"{STEM}_int8.{kind}" for kind in ("tflite", "onnx", "json")
    ]
    counts = {row["name"]: row["count"] for row in document.pop("passes")}
    assert counts["fold_batch_norm"] == 52
    assert [report["changed"] for report in document.pop("fusion").values()] == [False, False]
    assert document == strict_json((tmp_path / f"{STEM}_int8.json").read_text())
    assert "warning" in done.stderr


def test_explain_prints_each_pass_and_what_it_left_alone(tmp_path: Path) -> None:
    from edgekit.passes.registry import PASSES

    done = run("export", *TINY, *FEW, "--explain", "--out", tmp_path)
    for row in PASSES:
        if row.default:
            line = next(line for line in done.out.splitlines() if line.startswith(f"{row.name} "))
            assert row.what in line


def test_explain_names_refusals(tmp_path: Path) -> None:
    """A convolution whose result is also read elsewhere cannot take the batch norm behind it."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kernel = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    constants = [numpy_helper.from_array(kernel, "w")]
    constants += [
        numpy_helper.from_array(np.full(4, v, np.float32), n) for n, v in zip("gbmv", (1, 0, 0, 1), strict=True)
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("Conv", ["r", "w"], ["c"], name="conv"),
            helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], name="bn"),
            helper.make_node("Add", ["c", "n"], ["a"]),
            helper.make_node("GlobalAveragePool", ["a"], ["y"]),
        ],
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4, 1, 1))],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "twice.onnx")
    done = run("export", tmp_path / "twice.onnx", "--explain", *FEW, "--out", tmp_path)
    assert done.code == 0, done.err
    assert "left alone by fold_batch_norm: " in done.out


@pytest.mark.parametrize("seed", [0, 5])
def test_weights_none_are_named_as_random_in_the_manifest(tmp_path: Path, seed: int) -> None:
    done = run("export", *TINY, *FEW, "--seed", seed, "--out", tmp_path)
    assert "RANDOM" not in done.err
    manifest = json.loads((tmp_path / f"{STEM}_fp32.json").read_text())
    assert manifest["metadata"]["weights"] == {"source": "random", "seed": seed}
    assert manifest["warnings"] == []

"""Bad input through the whole program: one clear line, exit code 1, and no file left behind."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import TINY, names, refused, run, spawn, write_photos
from onnx import TensorProto, helper, numpy_helper

Make = Callable[[Path], list[object]]


def small_onnx(path: Path, op: str = "Relu", value: float = 0.5) -> Path:
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="first_conv"),
            helper.make_node(op, ["c"], ["r"], name="odd_one"),
            helper.make_node("GlobalAveragePool", ["r"], ["g"], name="pool"),
            helper.make_node("Flatten", ["g"], ["y"], name="flat"),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 16, 16))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.full((8, 3, 3, 3), value, np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def other_architecture(folder: Path) -> list[object]:
    from edgekit.importers.npz_weights import save_npz
    from edgekit.zoo.registry import build_model

    save_npz(build_model("mobilenet_v1", alpha=0.25, resolution=32, classes=10), folder / "v1.npz")
    return [*TINY[:-2], "--weights", folder / "v1.npz"]


def truncated(folder: Path) -> list[object]:
    data = small_onnx(folder / "whole.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(data[: len(data) // 2])
    return [folder / "cut.onnx"]


def not_onnx(folder: Path) -> list[object]:
    (folder / "page.onnx").write_text("<html>log in first</html>")
    return [folder / "page.onnx"]


def empty_calibration(folder: Path) -> list[object]:
    (folder / "photos").mkdir()
    (folder / "photos" / "readme.txt").write_text("no pictures yet")
    return [*TINY, "--calibration", folder / "photos"]


def all_corrupt(folder: Path) -> list[object]:
    photos = write_photos(folder / "photos", 2)
    for path in photos.iterdir():
        path.write_bytes(path.read_bytes()[:40])
    return [*TINY, "--calibration", photos]


def nan_sample(folder: Path) -> list[object]:
    x = np.zeros((4, 32, 32, 3), np.float32)
    x[2, 5, 5, 1] = np.nan
    np.savez(folder / "data.npz", x=x)
    return [*TINY, "--calibration", folder / "data.npz"]


def overflow(folder: Path) -> list[object]:
    return [small_onnx(folder / "huge.onnx", value=3e38)]


def nan_weights(folder: Path) -> list[object]:
    return [small_onnx(folder / "nan.onnx", value=float("nan"))]


def cut_weights(folder: Path) -> list[object]:
    (folder / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 50)
    return [*TINY[:-2], "--weights", folder / "weights.h5"]


def other_shape(folder: Path) -> list[object]:
    np.savez(folder / "data.npz", x=np.zeros((2, 48, 48, 3), np.float32))
    return [*TINY, "--calibration", folder / "data.npz"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: ["mobilnet_v3"], ["mobilnet_v3", "mobilenet_v2"]),
        (other_architecture, ["v1.npz", "another architecture", "'Conv1/kernel' (3, 3, 3, 16)"]),
        (truncated, ["cut.onnx", "damaged or truncated"]),
        (not_onnx, ["page.onnx", "no ONNX file"]),
        (lambda d: [small_onnx(d / "odd.onnx", "Erf")], ["Erf", "odd_one"]),
        (empty_calibration, ["no images in", "photos"]),
        (all_corrupt, ["none of 2 images can be read", "000.png"]),
        (nan_sample, ["data.npz", "sample 2 holds NaN"]),
        (overflow, ["NaN or infinite"]),
        (nan_weights, ["nan.onnx", "first_conv/kernel", "NaN"]),
        (cut_weights, ["weights.h5"]),
        (other_shape, ["data.npz", "(48, 48, 3)", "(32, 32, 3)"]),
        (lambda d: [d / "model.tflite"], ["model.tflite", "no such file"]),
        (lambda d: [d / "model.keras"], ["model.keras", "no such file"]),
        (lambda d: [d / "nowhere.onnx"], ["nowhere.onnx", "no such file"]),
        (lambda _: [*TINY[:-2], "--weights", "nowhere.h5"], ["nowhere.h5", "auto, imagenet, none or the path"]),
        (lambda _: ["x" * 5000], ["model"]),
    ],
)
@pytest.mark.parametrize("precision", ["--int8", None])
def test_one_line_and_no_file(make: Make, words: list[str], precision: str | None, tmp_path: Path) -> None:
    args = make(tmp_path)
    done = run("export", *args, *([precision] if precision else []), "--out", tmp_path / "out")
    line = refused(done, *words)
    assert len(line) < 6000
    assert not (tmp_path / "out").exists()


def test_a_corrupt_image_among_good_ones_is_skipped_and_counted(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    (photos / "002.png").write_bytes((photos / "002.png").read_bytes()[:50])
    done = run("export", *TINY, "--int8", "--calibration", photos, "--out", tmp_path / "out")
    assert done.code == 0
    assert "1 image could not be read and was skipped: 002.png: " in done.err
    assert "agreement on 3 images" in done.out
    assert len(names(tmp_path / "out")) == 3


@pytest.mark.skipif(os.name == "nt", reason="needs setrlimit")
@pytest.mark.parametrize("fitting", [0, 1])
def test_a_limit_on_file_sizes_leaves_nothing(tmp_path: Path, fitting: int) -> None:
    """No file fits, or one of the two."""
    import resource

    args = ("export", *TINY, "--int8", "--calibration-images", "2", "--out")
    assert run(*args, tmp_path / "unlimited").code == 0
    sizes = sorted(path.stat().st_size for path in (tmp_path / "unlimited").glob("*.[to]*"))
    room = sizes[fitting] - 1

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    done = spawn(*args, tmp_path / "out", preexec_fn=limit)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("edgekit: error: cannot write ")
    assert "larger than this system allows" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path / "out") == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:  # the first file fits, the second does not
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("edgekit.export.files.os.fsync", full)
    done = run("export", *TINY, "--calibration-images", "1", "--out", tmp_path / "out")
    refused(done, "cannot write", ".onnx", "the disk is full: free some space or choose another folder")
    assert names(tmp_path / "out") == []


@pytest.mark.skipif(os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        done = run("export", *TINY, "--calibration-images", "1", "--out", tmp_path / "out")
    finally:
        tmp_path.chmod(0o700)
    refused(done, "permission denied")


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    refused(run("export", *TINY, "--out", tmp_path / "out"), "out is a file, not a folder; choose another --out")
    assert (tmp_path / "out").read_text() == "mine"
    assert names(tmp_path) == ["out"]


def test_a_folder_in_a_files_place(tmp_path: Path) -> None:
    (tmp_path / "mobilenet_v2_0.35_32_10classes_fp32.onnx").mkdir()
    done = run("export", *TINY, "--calibration-images", "1", "--out", tmp_path)
    refused(done, "mobilenet_v2_0.35_32_10classes_fp32.onnx", "it is a folder")
    assert names(tmp_path) == ["mobilenet_v2_0.35_32_10classes_fp32.onnx"]

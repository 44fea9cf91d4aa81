"""The user's own ONNX file: from PyTorch's exporter to two int8 files, checked with onnxruntime on the file itself."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import names, run, write_photos

from edgekit.data.preprocess import PRESETS
from edgekit.data.sources import open_source
from edgekit.runtime import Session, xnnpack_coverage

SIZE = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained-looking small network of PyTorch, without a softmax at the end."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    torch.set_num_threads(1)

    def block(inputs: int, outputs: int, stride: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU6(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.Hardswish(),
        )

    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        block(16, 24, 2),
        block(24, 32, 1),
        nn.MaxPool2d(2),
        block(32, 48, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(48, 7),
    )
    net.train()
    with torch.no_grad():
        for _ in range(60):  # batch norms learn their statistics
            net(torch.randn(8, 3, SIZE, SIZE))
        net[-1].weight.mul_(8)
    path = tmp_path_factory.mktemp("torch") / "my model.onnx"
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), torch.zeros(1, 3, SIZE, SIZE), data, opset_version=17, dynamo=False)
    path.write_bytes(data.getvalue())
    return path


def reference(model: Path, photos: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """The images, (1, 64, 64, 3), and what onnxruntime gives for them on the user's own file."""
    import onnxruntime

    images = [s.array for s in open_source(photos).samples(PRESETS["torch"].with_size(SIZE, SIZE))]
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return images, np.stack([session.run(None, {name: x.transpose(0, 3, 1, 2)})[0][0] for x in images])


def outputs(path: Path, images: list[np.ndarray]) -> np.ndarray:
    with Session.open(path) as session:
        return np.stack([session.run_float(x)[0] for x in images])


def test_int8_with_the_users_images(model: Path, tmp_path: Path) -> None:
    photos, out = write_photos(tmp_path / "photos", 8, size=80), tmp_path / "out"
    done = run("export", model, "--int8", "--preprocessing", "torch", "--calibration", photos, "--out", out)
    assert done.code == 0, done.err
    assert "warning" not in done.err
    assert names(out) == [f"my model_int8.{kind}" for kind in ("json", "onnx", "tflite")]
    images, expected = reference(model, photos)
    assert expected.std() > 0.5  # the network tells images apart
    tflite, onnx = (outputs(out / f"my model_int8.{kind}", images) for kind in ("tflite", "onnx"))
    for found in (tflite, onnx):
        assert found.shape == expected.shape
        assert cosine(found, expected) > 0.995
        assert np.mean(found.argmax(1) == expected.argmax(1)) >= 7 / 8
    assert cosine(tflite, onnx) > 0.999
    # XNNPACK has no int8 hard-swish: they are computed in float, inside it.
    assert not xnnpack_coverage(out / "my model_int8.tflite").left
    manifest = json.loads((out / "my model_int8.json").read_text())
    assert manifest["metadata"]["preprocessing"] == PRESETS["torch"].with_size(SIZE, SIZE).to_metadata()
    assert manifest["metadata"]["weights"]["name"] == "my model.onnx"
    assert manifest["metadata"]["steps"][-1]["calibration"]["used"] == 8
    assert manifest["warnings"] == []
    assert str(tmp_path) not in json.dumps(manifest)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("precision", [None, "--fp16"])
def test_float_files_give_what_the_users_file_gives(model: Path, tmp_path: Path, precision: str | None) -> None:
    photos, out = write_photos(tmp_path / "photos", 4), tmp_path / "out"
    done = run("export", model, *([precision] if precision else []), "--calibration", photos, "--out", out)
    assert done.code == 0, done.err
    assert "my model.onnx does not say how its images are normalized: taken as --preprocessing torch" in done.err
    images, expected = reference(model, photos)
    suffix = "fp16" if precision else "fp32"
    for kind in ("tflite", "onnx"):
        found = outputs(out / f"my model_{suffix}.{kind}", images)
        np.testing.assert_allclose(found, expected, rtol=0, atol=(2e-2 if precision else 1e-4) * np.abs(expected).max())


def test_its_own_exports_are_read_again(model: Path, tmp_path: Path) -> None:
    """A float ONNX file that edgekit wrote is a model like any other."""
    few = ("--calibration-images", "2", "--preprocessing", "unit")
    assert run("export", model, *few, "--format", "onnx", "--out", tmp_path).code == 0
    again = run("export", tmp_path / "my model_fp32.onnx", *few, "--int8", "--out", tmp_path / "again")
    assert again.code == 0, again.err
    assert names(tmp_path / "again")[0] == "my model_fp32_int8.json"

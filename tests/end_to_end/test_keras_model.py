"""A user's own Keras model through the command line: from `.keras` and `.h5` to int8 files."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run

from edgekit.runtime.session import Session


@pytest.fixture(scope="module", params=[("keras", ".keras"), ("tf_keras", ".h5")], ids=lambda p: p[0])
def saved(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A model that scales its pixels itself, with a shared layer, a shuffle and a model inside; and its file."""
    name, suffix = request.param
    pytest.importorskip("tensorflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        k = importlib.import_module(name)
    k.utils.set_random_seed(3)
    la = k.layers
    inside = k.Sequential(
        [la.Input((16, 16, 12)), la.DepthwiseConv2D(3), la.BatchNormalization(), la.ReLU(6.0)], name="in"
    )
    entry = la.Input((32, 32, 3), name="image")
    x = la.Conv2D(12, 3, 2, padding="same", name="stem")(la.Rescaling(1 / 127.5, offset=-1, name="scale")(entry))
    x = la.Reshape((16, 16, 12))(la.Permute((1, 2, 4, 3))(la.Reshape((16, 16, 3, 4))(x)))
    x = inside(x)
    twice = la.Conv2D(12, 1, activation="relu", name="twice")
    x = la.Add(name="sum")([twice(x), twice(la.MaxPooling2D(3, 1, padding="same")(x))])
    x = la.Dense(10, name="classes", kernel_initializer="random_normal")(la.Flatten()(x))
    model = k.Model(entry, la.Softmax(name="softmax")(x * 8.0))
    path = tmp_path_factory.mktemp(name) / f"mine{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return model, path


def test_export_writes_int8_files_that_agree(saved: tuple[Any, Path], tmp_path: Path) -> None:
    _, path = saved
    done = run("export", path, "--int8", "--out", tmp_path, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["metadata"]["preprocessing"]["mean"] == [0.0, 0.0, 0.0]
    assert not any("normalized" in warning for warning in document["warnings"])
    for fmt in ("tflite", "onnx"):
        assert document["agreement"]["with_float"][fmt]["mean_cosine"] > 0.99
        assert (tmp_path / f"mine_int8.{fmt}").stat().st_size == document["files"][fmt]["bytes"]


def test_export_of_a_float_file_computes_what_keras_does(saved: tuple[Any, Path], tmp_path: Path) -> None:
    model, path = saved
    assert run("export", path, "--out", tmp_path).code == 0
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    want = np.asarray(model(image, training=False))
    assert want.std() > 0.01
    for fmt in ("tflite", "onnx"):
        with Session.open(tmp_path / f"mine_fp32.{fmt}") as session:
            np.testing.assert_allclose(session.run_float(image), want, atol=1e-5)


def test_info_counts_what_keras_counts(saved: tuple[Any, Path]) -> None:
    model, path = saved
    done = run("info", path, "--json", "--layers")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    rows = {row["name"]: row["parameters"] for row in document["nodes"]}
    for name in ("stem", "twice", "classes"):
        assert rows[name] == model.get_layer(name).count_params()
    assert document["input"] == [1, 32, 32, 3]


def test_files_are_read_without_tensorflow(saved: tuple[Any, Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from edgekit.importers.keras import import_keras; "
        "import_keras(Path(sys.argv[1])); print({'tensorflow', 'keras', 'tf_keras', 'h5py'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, saved[1]], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_options_that_a_keras_file_cannot_have(saved: tuple[Any, Path]) -> None:
    done = run("export", saved[1], "--alpha", "0.5")
    assert (done.code, done.err.count("--alpha shapes zoo models")) == (1, 1)
    done = run("info", saved[1], "--input-shape", "1,3,32,32")
    assert done.code == 1
    assert "input 'image' has shape (?, 32, 32, 3): input_shape=(1, 3, 32, 32) does not fit" in done.err

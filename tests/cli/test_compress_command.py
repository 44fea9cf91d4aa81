"""`compress`, `decompress` and `inspect` of containers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import TINY, names, refused, run
from onnx import numpy_helper

from edgekit.compress.container import Content, write_container
from edgekit.pipeline.container_file import lossless_bytes
from edgekit.runtime.session import Session


def document(*args: object) -> dict[str, object]:
    done = run(*args, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    assert run("export", *TINY, "--int8", "--out", folder).code == 0
    return folder


@pytest.mark.parametrize("suffix", ["tflite", "onnx", "json"])
def test_a_file_comes_back_under_its_own_name(files: Path, tmp_path: Path, suffix: str) -> None:
    source = next(files.glob(f"*.{suffix}"))
    told = document("compress", source, "--out", tmp_path / "m.ekz")
    assert told["file_bytes"] == source.stat().st_size
    assert told["ekz_bytes"] == (tmp_path / "m.ekz").stat().st_size < told["file_bytes"]
    if suffix != "json":
        assert told["ekz_bytes"] < told["zipped_bytes"]
        assert 0 < told["memory_bytes"] < told["file_bytes"]
    assert run("decompress", tmp_path / "m.ekz").code == 0
    assert names(tmp_path) == sorted(["m.ekz", source.name])
    assert (tmp_path / source.name).read_bytes() == source.read_bytes()


def test_inspect_shows_every_tensor(files: Path, tmp_path: Path) -> None:
    source = next(files.glob("*.tflite"))
    run("compress", source, "--out", tmp_path / "m.ekz")
    told = document("inspect", tmp_path / "m.ekz")
    coded = sum(row["coded_bytes"] for row in told["tensors"])
    assert coded + told["rest_bytes"] == pytest.approx(told["ekz_bytes"], abs=1)
    assert {row["method"] for row in told["tensors"]} <= {"raw", "deflate", "huffman", "adaptive"}
    assert all(0 <= row["sparsity"] <= 1 and row["ratio"] > 0.9 for row in told["tensors"])
    printed = run("inspect", tmp_path / "m.ekz")
    assert printed.code == 0
    for words in ("zeros", "ratio", "all else", "beside AlexNet's 240 MB", "holds", "tflite"):
        assert words in printed.out


def test_a_model_of_the_zoo_becomes_a_graph_that_gives_both_files(tmp_path: Path) -> None:
    done = run("compress", *TINY, "--out", tmp_path / "g.ekz", "--embed", "tflite")
    assert done.code == 0, done.err
    assert "float TFLite file" in done.out
    for kind in ("tflite", "onnx"):
        assert run("decompress", tmp_path / "g.ekz", "--to", kind, "--out", tmp_path / f"g.{kind}").code == 0
    image = np.random.default_rng(0).standard_normal((1, 32, 32, 3)).astype(np.float32)
    with Session.open(tmp_path / "g.tflite") as one, Session.open(tmp_path / "g.onnx") as other:
        np.testing.assert_allclose(one.run_float(image), other.run_float(image), atol=1e-5)
    refused(run("decompress", tmp_path / "g.ekz"), "say --to tflite or --to onnx")


def test_indexed_files_run_without_a_decoder(tmp_path: Path) -> None:
    run("export", *TINY, "--format", "onnx", "--out", tmp_path)
    source = next(tmp_path.glob("*.onnx"))
    model = onnx.load(source)
    for entry in model.graph.initializer:
        array = numpy_helper.to_array(entry)
        if array.dtype == np.float32 and array.size > 100:
            step = np.abs(array).max() / 7 or 1
            entry.CopyFrom(numpy_helper.from_array((np.rint(array / step) * step).astype(np.float32), entry.name))
    shared = tmp_path / "shared.onnx"
    onnx.save(model, shared)
    told = document("compress", shared, "--indexed", "--out", tmp_path / "small.onnx")
    assert told["four"] > 30
    assert told["indexed_bytes"] < 0.25 * told["file_bytes"]
    image = np.random.default_rng(0).standard_normal((1, 32, 32, 3)).astype(np.float32)
    with Session.open(shared) as one, Session.open(tmp_path / "small.onnx") as other:
        assert (one.run_float(image) == other.run_float(image)).all()


def test_what_cannot_be_done_is_told_in_one_line(files: Path, tmp_path: Path) -> None:
    tflite = next(files.glob("*.tflite"))
    refused(run("compress", tmp_path / "none.tflite"), "none.tflite cannot be read", "give the path of a file")
    refused(run("compress", tflite, "--embed", "onnx"), "--embed is for graphs")
    refused(run("compress", *TINY, "--embed", "png"), "'png' is none of tflite, onnx")
    refused(run("compress", tflite, "--alpha", "0.5"), "keeps its network", "--graph")
    refused(run("compress", tflite, "--weights", "none"), "keeps its network", "--graph")
    refused(run("compress", tflite, "--force"), "--force is for --indexed")
    refused(run("compress", tflite, "--indexed"), "at each inference", "--force")
    refused(run("decompress", tflite), "not an .ekz file")
    run("compress", tflite, "--out", tmp_path / "m.ekz")
    refused(run("decompress", tmp_path / "m.ekz", "--to", "onnx"), "holds a tflite file, no onnx file")
    data = bytearray((tmp_path / "m.ekz").read_bytes())
    data[-len(data) // 2] ^= 1
    (tmp_path / "bad.ekz").write_bytes(data)
    for command in ("decompress", "inspect"):
        line = refused(run(command, tmp_path / "bad.ekz"), "bad.ekz")
        assert "tensor" in line or "coded" in line


def test_no_other_file_is_overwritten(files: Path, tmp_path: Path) -> None:
    """A container's name for its file is the maker's; what lies under that name may be the user's."""
    source = next(files.glob("*.tflite"))
    mine, packed = tmp_path / source.name, tmp_path / "m.ekz"
    mine.write_bytes(source.read_bytes())
    refused(run("compress", mine, "--out", mine), "over the file that is read")
    document("compress", mine, "--out", packed)
    assert Path(document("decompress", packed)["path"]) == mine  # the same bytes
    mine.write_bytes(b"other")
    refused(run("decompress", packed), "is there already and is another file", "--out")
    refused(run("decompress", packed, "--out", packed), "over the file that is read")
    assert mine.read_bytes() == b"other"
    document("decompress", packed, "--out", mine)
    assert mine.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("told", ["..", "/tmp/x/..", "a\0b", "C:", ""])
def test_names_that_are_none_are_not_taken(tmp_path: Path, told: str) -> None:
    packed = tmp_path / "m.ekz"
    packed.write_bytes(lossless_bytes(b"text", told))
    assert Path(document("decompress", packed)["path"]) == tmp_path / "m.file"


def test_tensors_alone_are_no_file(tmp_path: Path) -> None:
    packed = tmp_path / "m.ekz"
    packed.write_bytes(write_container(Content({"w": np.zeros(3)})))
    for to in ((), ("--to", "onnx")):
        refused(run("decompress", packed, *to), "tensors alone")


def test_indexing_tells_which_file_it_cannot_take(files: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(b"hello")
    refused(run("compress", tmp_path / "text.onnx", "--indexed"), "text.onnx: not a whole ONNX file")
    model = onnx.load(next(files.glob("*.onnx")))
    apart = tmp_path / "apart.onnx"
    onnx.save_model(model, apart, save_as_external_data=True, location="weights", size_threshold=0)
    refused(run("compress", apart, "--indexed"), "apart.onnx: tensor", "lies in another file")

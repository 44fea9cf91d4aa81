"""The C decoder beside the Python one, byte for byte: the system's compiler, aarch64, damaged files."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import hostile
import numpy as np
import pytest
from containers import METHOD_SETS, container, content, damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensors import kernel, tensors

from edgekit.compress.container import Content, little_endian, write_container
from edgekit.compress.index import METHODS
from edgekit.passes.registry import apply_passes
from edgekit.pipeline.container_file import graph_bytes, lossless_bytes
from edgekit.zoo.registry import build_model

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{NATIVE}")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("no C compiler (cc, gcc or clang) is installed")
    return found


def build(out: Path, main: Path, *command: str) -> subprocess.CompletedProcess[str]:
    arguments = [*command, *FLAGS, str(NATIVE / "ekz.c"), str(main), "-o", str(out), "-lm"]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("native") / "ekz_cli"
    done = build(out, NATIVE / "ekz_cli.c", compiler())
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With sanitizers where the compiler has them."""
    out = tmp_path_factory.mktemp("native") / "fuzz"
    main = Path(__file__).with_name("ekz_fuzz.c")
    if build(out, main, compiler(), *SANITIZERS).returncode:
        done = build(out, main, compiler())
        assert done.returncode == 0, done.stderr
    return out


def decode(program: Path, folder: Path, data: bytes, *prefix: str) -> tuple[bytes, bytes | None]:
    """All tensors' bytes, and the first file's where there is one."""
    source, target = folder / "in.ekz", folder / "out.bin"
    source.write_bytes(data)
    subprocess.run([*prefix, program, source, "--tensors", target], check=True, timeout=60)
    arrays = target.read_bytes()
    restored = subprocess.run([*prefix, program, source, target], capture_output=True, timeout=60, check=False)
    return arrays, target.read_bytes() if restored.returncode == 0 else None


@pytest.mark.parametrize("methods", METHOD_SETS, ids="-".join)
def test_all_methods_decode_to_the_same_bytes(program, tmp_path, methods):
    arrays, file = decode(program, tmp_path, container(methods))
    assert arrays == b"".join(little_endian(array) for array in content().tensors.values())
    assert file == content().file_bytes(0)


@given(st.lists(tensors(), min_size=1, max_size=3), st.sampled_from([METHODS, ("adaptive",), ("huffman",)]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_tensor_decodes_to_the_same_bytes(program, tmp_path, arrays, methods):
    data = write_container(Content({f"t{k}": array for k, array in enumerate(arrays)}), methods)
    assert decode(program, tmp_path, data)[0] == b"".join(little_endian(array) for array in arrays)


@pytest.mark.parametrize("shape", [(70, 9, 3, 3), (20, 3, 7, 7), (130, 70), (1, 5, 5, 40), (4000,), (2, 300_000)])
def test_kernels_of_every_arrangement(program, tmp_path, shape):
    array = kernel(shape)
    assert decode(program, tmp_path, write_container(Content({"k": array}), ("adaptive",)))[0] == array.tobytes()


def test_several_segments_and_lower_bits(program, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"w{k}": rng.standard_normal((600, 1000)).astype(np.float32) for k in range(3)}
    data = write_container(Content(arrays), ("adaptive",))
    assert decode(program, tmp_path, data)[0] == b"".join(array.tobytes() for array in arrays.values())


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_files_of_graphs_and_lossless_files(program, tmp_path, kind):
    """The Python exporter's bytes, out of a container in which weights are kept once, in the graph's own layout."""
    from edgekit.export.onnx import onnx_bytes
    from edgekit.export.tflite import tflite_bytes

    graph = apply_passes(build_model("lenet5"))[0]
    plain = tflite_bytes(graph) if kind == "tflite" else onnx_bytes(graph)
    packed = graph_bytes(graph, embed=(kind,))
    assert len(packed) < 0.9 * len(plain)
    assert decode(program, tmp_path, packed)[1] == plain
    assert decode(program, tmp_path, lossless_bytes(plain, "m"))[1] == plain


def outcomes(fuzzer: Path, cases: list[bytes]) -> list[tuple[int, str, str]]:
    stdin = b"".join(len(case).to_bytes(4, "little") + case for case in cases)
    done = subprocess.run([fuzzer], input=stdin, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    lines = [line.split(" ", 2) for line in done.stdout.decode(errors="replace").splitlines()]
    assert len(lines) == len(cases)
    return [(int(status), total, text) for status, total, text in lines]


@pytest.mark.parametrize("methods", METHOD_SETS, ids="-".join)
def test_damaged_containers_neither_crash_nor_give_wrong_weights(fuzzer, methods):
    whole = container(methods)
    names, cases = zip(*damaged(whole, 1000, seed=2), strict=True)
    (status, right, _), *found = outcomes(fuzzer, [whole, *cases])
    assert status == 0
    for name, (status, total, text) in zip(names, found, strict=True):
        assert total == right if status == 0 else text, name
    refused = [text for status, _, text in found if status]
    assert len(refused) > 900
    assert any("tensor 'kernel'" in text for text in refused)
    assert any("newer version" in text for text in refused)


@pytest.mark.parametrize("model", ["int8", "float"])
def test_damaged_lossless_containers(fuzzer, model):
    from small_models import tflite_models

    whole = lossless_bytes(tflite_models()[model], model)
    names, cases = zip(*damaged(whole, 800, seed=3), strict=True)
    (status, right, _), *found = outcomes(fuzzer, [whole, *cases])
    assert status == 0
    for name, (status, total, text) in zip(names, found, strict=True):
        assert total == right if status == 0 else text, name


def test_lies_are_refused(fuzzer):
    sound = outcomes(fuzzer, list(hostile.SOUND.values()))
    assert [status for status, _, _ in sound] == [0] * len(sound)
    found = outcomes(fuzzer, [data for data, _ in hostile.LIES.values()])
    for (name, (_, message)), (status, _, text) in zip(hostile.LIES.items(), found, strict=True):
        assert status == 1, name
        assert re.search(message, text), (name, text)


def test_many_small_parts_take_little_memory_and_time(program, tmp_path):
    """Tables of 128 KB for each of 20,000 streams would not fit; they are given back in between."""
    for name, data in {"tensors": hostile.many_tensors(20_000), "blocks": hostile.many_blocks(200_000)}.items():
        source = tmp_path / name
        source.write_bytes(data)
        limited = ["sh", "-c", 'ulimit -v 200000 && exec "$@"', "sh", program, source]
        done = subprocess.run(limited, capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, b""), name


def test_the_program_tells_what_it_cannot_read_or_write(program, tmp_path):
    source = tmp_path / "m.ekz"
    source.write_bytes(container())

    def run(*arguments: Path | str) -> tuple[int, str]:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    status, message = run(source, tmp_path / "none" / "out")
    assert (status, message.count("\n")) == (4, 1)
    assert "none/out" in message
    assert run(source, tmp_path / "out", "7") == (1, f"{tmp_path / 'out'}: the container has no such file\n")
    assert run(tmp_path / "none.ekz") == (64, f"{tmp_path / 'none.ekz'}: cannot be read\n")
    assert run()[0] == 64


@functools.cache
def zig() -> list[str]:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang, which cross-compiles, is not installed: pip install ziglang")
    return [sys.executable, "-m", "ziglang", "cc"]


@pytest.mark.slow
def test_aarch64_program_is_built_and_decodes_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", os.environ.get("ZIG_GLOBAL_CACHE_DIR", str(tmp_path / "zig")))
    program = tmp_path / "ekz_aarch64"
    cross = (*zig(), "-target", "aarch64-linux-musl")
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if emulator is None:  # without linking: zig would first build its C library for minutes
        command = [*cross, *FLAGS, "-c", str(NATIVE / "ekz.c"), "-o", str(program)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    else:
        done = build(program, NATIVE / "ekz_cli.c", *cross, "-static")
    assert done.returncode == 0, done.stderr
    head = program.read_bytes()[:20]
    assert head[:4] == b"\x7fELF"
    assert int.from_bytes(head[18:20], "little") == 183  # EM_AARCH64
    if emulator is None:
        pytest.skip("compiled; not run, for qemu-aarch64-static is not installed")
    arrays, file = decode(program, tmp_path, container(), emulator)
    assert arrays == b"".join(little_endian(array) for array in content().tensors.values())
    assert file == content().file_bytes(0)


def test_the_decoder_stays_small():
    lines = len((NATIVE / "ekz.c").read_text().splitlines())
    assert lines < 800

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import OutputError
from edgekit.export.files import require_writable, write_all, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*"))


def test_writes_and_makes_the_folder(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "model.onnx"
    write_atomically(target, b"bytes")
    assert target.read_bytes() == b"bytes"
    assert names(tmp_path) == ["a", "b", "model.onnx"]


def test_a_bare_name_goes_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomically(Path("model.onnx"), b"bytes")
    assert (tmp_path / "model.onnx").read_bytes() == b"bytes"


def test_replaces_a_file_and_keeps_usual_permissions(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(b"an older and longer file")
    write_atomically(target, b"new")
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_longest_name_still_gets_a_temporary_one(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    write_atomically(target, b"bytes")
    assert target.read_bytes() == b"bytes"


def test_too_long_a_name(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*n: the name is too long: choose a shorter one"):
        write_atomically(tmp_path / ("n" * 256), b"bytes")
    assert names(tmp_path) == []


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    for target in (tmp_path / "out" / "model.onnx", tmp_path / "out" / "deeper" / "model.onnx"):
        with pytest.raises(
            OutputError, match=r"cannot write .*model\.onnx: a part of the path is a file, not a folder"
        ):
            write_atomically(target, b"bytes")
    assert names(tmp_path) == ["out"]


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*model\.onnx: it is a folder"):
        write_atomically(tmp_path / "model.onnx", b"bytes")
    assert names(tmp_path) == ["model.onnx"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full: free some space"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "permission denied: choose a folder that you may write to"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EIO, "Input/output error: choose another folder"),
    ],
)
def test_a_failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")

    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=rf"cannot write .*model\.onnx: {message}"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["model.onnx"]


SMALL_DISK = """
import resource, signal, sys
from pathlib import Path
from edgekit.errors import OutputError
from edgekit.export.files import write_all

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
folder = Path(sys.argv[1])
try:
    write_all({folder / "small": b"s", folder / "large": b"l" * 8192})
except OutputError as problem:
    sys.exit(str(problem))
"""
"""Lets no file grow beyond 4096 bytes, as a full disk would; in a process of its own, which the limit cannot leave."""


def test_a_write_that_stops_half_way_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SMALL_DISK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.match(r"cannot write .*large: the file is larger than this system allows", done.stderr)
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OutputError, match="permission denied"):
            write_atomically(tmp_path / "model.onnx", b"bytes")
    finally:
        tmp_path.chmod(0o755)
    assert names(tmp_path) == []


def test_all_files_or_none(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "taken").mkdir()
    files = {tmp_path / "new": b"1", tmp_path / "old": b"2", tmp_path / "taken": b"3"}
    with pytest.raises(OutputError, match="taken: it is a folder"):
        write_all(files)
    assert names(tmp_path) == ["old", "taken"]
    assert (tmp_path / "old").read_bytes() == b"old"
    del files[tmp_path / "taken"]
    write_all(files)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == {"new": b"1", "old": b"2"}


def test_a_failing_rename_takes_new_files_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.replace

    def replace(self: Path, target: Any) -> Path:
        if Path(target).name == "second":
            raise OSError(errno.EACCES, "denied")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OutputError, match="second: permission denied"):
        write_all({tmp_path / "first": b"1", tmp_path / "second": b"2", tmp_path / "third": b"3"})
    assert names(tmp_path) == []


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "model.onnx", b"bytes")
    assert names(tmp_path) == []


def test_trying_a_folder_leaves_nothing(tmp_path: Path) -> None:
    require_writable(tmp_path)
    assert names(tmp_path) == []


def test_a_folder_that_is_none_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a file")
    with pytest.raises(OutputError, match=r"cannot write .*file: a part of the path is a file, not a folder"):
        require_writable(tmp_path / "file")


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_an_interrupt_between_two_files_leaves_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """At the first or the second rename, which has been done by then, or while the folder's names are made durable."""
    genuine, calls = Path.replace, []

    def interrupted(*args: Any) -> Any:
        calls.append(args)
        if len(args) == 2:
            genuine(*args)
        if len(calls) == moment:
            raise KeyboardInterrupt
        return args[-1]

    monkeypatch.setattr(Path, "replace", interrupted)
    monkeypatch.setattr("edgekit.export.files._sync_folder", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_all({tmp_path / "a.tflite": b"one", tmp_path / "a.onnx": b"two"})
    assert len(calls) == moment
    assert names(tmp_path) == []

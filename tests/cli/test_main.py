"""The entry point: what it imports, exit codes, streams that go away, interrupts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from command_line import PROGRAM, TINY, names, refused, run, spawn

from edgekit import __version__
from edgekit.cli.main import COMMANDS, cli
from edgekit.errors import DataError

HEAVY = ("onnx", "onnxruntime", "tensorflow", "ai_edge_litert", "numpy", "PIL", "h5py", "rich", "pydantic")


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["export", "--help"], ["bench", "--help"]])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    program = (
        "import json, sys\n"
        "from edgekit.cli.main import main\n"
        f"sys.argv = ['edgekit', *{args!r}]\n"
        "try:\n    main()\nexcept SystemExit as leaving:\n    code = leaving.code\n"
        f"print(json.dumps([code, [name for name in {HEAVY!r} if name in sys.modules]]), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stderr) == [0, []]
    assert done.stdout


def test_help_lists_every_command_and_version_is_the_packages() -> None:
    listed = spawn("--help")
    assert listed.returncode == 0
    assert all(f"  {name}" in listed.stdout for name in COMMANDS)
    assert spawn("--version").stdout == f"edgekit, version {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_of_its_own(name: str) -> None:
    done = run(name, "--help")
    assert done.code == 0
    assert f"Usage: edgekit {name}" in done.out
    assert cli.get_command(click.Context(cli), name) is not None


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["exprot", "mobilenet_v2"], "did you mean export"),
        (["frobnicate"], "no command 'frobnicate'"),
        (["export"], "Missing argument 'MODEL'"),
        (["export", "mobilenet_v2", "--frob"], "No such option"),
        (["export", "mobilenet_v2", "--io", "int4"], "'int4' is not one of"),
        (["export", "mobilenet_v2", "--ranges", "widest"], "'widest' is not one of"),
        (["evaluate", "a.tflite"], "Missing option '--data'"),
        (["bench"], "Missing argument"),
    ],
)
def test_wrong_usage_leaves_with_2(args: list[str], words: str) -> None:
    done = run(*args)
    assert (done.code, done.out) == (2, "")
    assert words in done.err


def test_no_arguments_show_the_help() -> None:
    done = run()
    assert "Commands:" in done.out + done.err
    assert done.code in (0, 2)  # as click's version has it


def test_user_errors_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DataError("first line\n   second line")

    monkeypatch.setattr("edgekit.zoo.rows.model_rows", fail)
    done = run("models")
    assert (done.code, done.out, done.err) == (1, "", "edgekit: error: first line second line\n")


def test_errors_of_the_system_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "some/file")

    monkeypatch.setattr("edgekit.zoo.rows.model_rows", fail)
    done = run("models")
    assert (done.code, done.err) == (1, "edgekit: error: some/file: Permission denied\n")


def test_an_interrupt_leaves_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgekit.zoo.rows.model_rows", interrupt)
    done = run("models")
    assert (done.code, done.out) == (130, "")
    assert "interrupted; nothing was written" in done.err


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_sigint_in_calibration_leaves_130_and_no_file(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [PROGRAM, "export", "mobilenet_v2", "--int8", "--weights", "none", "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("passes"):  # calibration follows, for seconds
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    printed, complaints = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    assert complaints.strip() == "edgekit: error: interrupted; nothing was written"
    assert names(tmp_path) == []


@pytest.mark.parametrize("args", [["info", "mobilenet_v1"], ["info", "mobilenet_v1", "--json"], ["--help"]])
def test_a_reader_that_goes_away_is_no_error(args: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [PROGRAM, *args], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("args", [["info", "mobilenet_v1"], ["info", "mobilenet_v1", "--json"], ["--version"]])
def test_output_that_cannot_be_written_is_one_line(args: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([PROGRAM, *args], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "edgekit: error: input or output failed: No space left on device\n"


def test_names_that_the_terminal_cannot_write_are_escaped(tmp_path: Path) -> None:
    done = spawn("export", *TINY, "--out", tmp_path / "é", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "\\xe9" in done.stdout
    assert "mobilenet_v2_0.35_32_10classes_fp32.tflite" in names(tmp_path / "é")


def test_a_command_that_does_not_exist_in_the_table_is_not_imported() -> None:
    refusal = run("main")
    assert refusal.code == 2
    assert refused(run("info", "mobilenet"), "mobilenet_v1", "mobilenet_v2")

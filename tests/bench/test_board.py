"""Boards through the real ssh client and a real sshd on loopback: the agent runs the real runtimes of this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import refused, run
from small_models import onnx_quantized, tflite_models, with_op_version
from sshd import Board, serve_board

from edgekit.bench import bench_on
from edgekit.bench.board import BoardDevice
from edgekit.bench.board_setup import setup_board
from edgekit.bench.check import expect
from edgekit.bench.connect import open_device
from edgekit.bench.process import TimedOutError
from edgekit.bench.protocol import make_plan
from edgekit.bench.run import BrokenOffError
from edgekit.bench.ssh import CONFIG_VARIABLE, Ssh
from edgekit.devices.schema import Profile
from edgekit.errors import DeviceError

PLAN = make_plan(quick=True, seconds=0.05, min_runs=16)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    with serve_board(tmp_path_factory.mktemp("sshd") / "board") as board:
        yield board


@pytest.fixture
def board(served: Board, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    monkeypatch.setenv(CONFIG_VARIABLE, str(served.config))
    monkeypatch.setenv("PYTHONPATH", "")
    yield served
    for program in served.bin.iterdir():
        program.unlink()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.tflite", tmp_path / "b.onnx"]
    paths[0].write_bytes(tflite_models()["int8"])
    paths[1].write_bytes(onnx_quantized())
    return paths


def device(**more: object) -> BoardDevice:
    return BoardDevice("pi5", Ssh("board"), **{"python": sys.executable, **more})


def left_on(board: Board) -> list[str]:
    return sorted(path.name for path in board.home.glob("edgekit-*"))


def agents() -> list[str]:
    told = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in told.splitlines() if re.match(r"\S*python\S* -u agent\.py .*/board/home/edgekit-", line)]


def test_files_of_both_formats(board: Board, files: list[Path]) -> None:
    report = bench_on(device(), files, PLAN)
    first, second = report.files
    assert first.opened.runtime.startswith("litert ")
    assert second.opened.runtime.startswith("onnxruntime ")
    for own in report.files:
        assert (own.check.sqnr_db, own.check.largest_step) == (None, 0)
        assert own.summary.basis == "samples"
        assert own.summary.runs == sum(len(block.samples_ns) for block in own.blocks) >= 4
        assert own.opened.load_ms > 0
        assert own.opened.first_ms > 0
    assert first.opened.peak_memory_bytes > 10e6
    assert (report.transport, report.facts["host"], len(report.cpus)) == ("ssh", "board", 1)
    assert report.facts["python"].startswith("3.")
    assert "runtimes" not in report.facts
    assert left_on(board) == []
    assert agents() == []


def test_the_pi_s_firmware_says_that_it_throttles(board: Board, files: list[Path]) -> None:
    board.program("vcgencmd", '[ "$1" = get_throttled ] && echo throttled=0x50005')
    report = bench_on(device(), files[:1], PLAN)
    assert report.states[0].throttled == 0x50005
    assert any("reports under-voltage: check its power supply" in problem for problem in report.problems)


def test_emulated_boards_rank_nothing(board: Board, files: list[Path]) -> None:
    report = bench_on(device(emulated=True), files, PLAN)
    assert not report.valid
    assert report.verdict(report.files[1]) == "not ranked"


def test_login_files_that_print(board: Board, files: list[Path]) -> None:
    """What a shell's start-up prints comes before our answers and is passed over."""
    board.program("mkdir", 'echo "Welcome to your board!"; exec /bin/mkdir "$@"')
    assert bench_on(device(), files[:1], PLAN).files[0].check.sqnr_db is None


# Nothing below may measure anything.


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("stranger", "stranger has a host key that is not known yet: log in once by hand, `ssh stranger`"),
        ("keyless", "keyless denies access: copy your key there, `ssh-copy-id keyless`"),
        ("no-such-host.invalid", "is a name that does not resolve: give its address with --host"),
    ],
)
def test_hosts_that_cannot_be_reached(board: Board, files: list[Path], host: str, words: str) -> None:
    with pytest.raises(DeviceError) as caught:
        bench_on(BoardDevice("pi5", Ssh(host)), files, PLAN)
    assert words in str(caught.value)


def test_a_port_where_no_ssh_is(board: Board, files: list[Path]) -> None:
    with pytest.raises(DeviceError, match="board answers, but not to ssh: enable its ssh server"):
        bench_on(BoardDevice("pi5", Ssh("board", port=1)), files, PLAN)


def test_a_host_key_that_has_changed(board: Board, files: list[Path], tmp_path: Path) -> None:
    known = board.known_hosts.read_text()
    other = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True, timeout=20
    )
    assert other.returncode == 0
    try:
        board.known_hosts.write_text(f"[127.0.0.1]:{board.port} {(tmp_path / 'other.pub').read_text()}")
        with pytest.raises(DeviceError, match=r"board has another host key than before: .*`ssh-keygen -R board`"):
            bench_on(device(), files, PLAN)
    finally:
        board.known_hosts.write_text(known)


@pytest.mark.parametrize("host", ["-oProxyCommand=touch injected", "-l"])
def test_a_host_that_is_an_option(host: str) -> None:
    with pytest.raises(DeviceError, match="is no host name: it begins with a dash"):
        Ssh(host)


def test_a_full_disk(board: Board, files: list[Path]) -> None:
    board.program("cat", "echo 'cat: write error: No space left on device' >&2; exit 1")
    with pytest.raises(DeviceError, match=r"board has no room left: delete files there \(cat: write error: No space"):
        bench_on(device(), files, PLAN)
    assert left_on(board) == []


def test_no_such_python(board: Board, files: list[Path]) -> None:
    with pytest.raises(DeviceError, match=r"pi5 has no such Python \(.*\): `edgekit devices setup pi5` installs one"):
        bench_on(device(python="/opt/no python"), files, PLAN)
    assert left_on(board) == []


def test_a_python_without_a_runtime(board: Board, files: list[Path], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # no site-packages
    bare.chmod(0o755)
    with pytest.raises(DeviceError, match=r"numpy is not installed there: `edgekit devices setup pi5` installs one"):
        bench_on(device(python=str(bare)), files, PLAN)
    assert left_on(board) == []


def test_a_runtime_too_old_for_the_file(board: Board, files: list[Path]) -> None:
    """The host can open what the board cannot: the file changes between the two."""
    new = with_op_version(tflite_models()["float"], 99)
    with device() as opened:
        files[0].write_bytes(new)
        with pytest.raises(DeviceError, match=r"'CONV_2D' version '99'.*: take a newer runtime there, or export"):
            opened.open(files[0], ())
    assert left_on(board) == []


def test_a_damaged_file(board: Board, files: list[Path]) -> None:
    with device() as opened:
        files[0].write_bytes(files[0].read_bytes()[:200])
        with pytest.raises(DeviceError, match=r"a\.tflite: litert .* refuses the file: "):
            opened.open(files[0], ())


class Interrupted(BoardDevice):
    """Something happens to the board in the second round of two files."""

    countdown = 6
    what = staticmethod(lambda device: None)

    def block(self, index: int, *, lead: int = 0, **more: object):
        self.countdown -= lead  # 0 while warming up, 1 while measuring
        if lead and self.countdown == 0:
            self.what(self)
        return super().block(index, lead=lead, **more)


def test_the_agent_is_killed_while_measuring(board: Board, files: list[Path]) -> None:
    """As the system does where memory runs out."""
    killed = Interrupted("pi5", Ssh("board"), python=sys.executable)
    killed.what = lambda device: os.kill(device.facts()["pid"], signal.SIGKILL)
    with pytest.raises(
        BrokenOffError, match=r"the agent ended \(killed, or the connection broke off\).*finished block"
    ):
        bench_on(killed, files, PLAN, clock=lambda: 0)  # on a busy machine, one round may use up the real time
    assert left_on(board) == []


def test_the_connection_breaks_off_and_the_board_tidies_up_itself(board: Board, files: list[Path]) -> None:
    """Everything of ssh on this side is killed: nobody is left to remove the folder but the agent."""

    def cut(device: BoardDevice) -> None:
        masters = subprocess.run(["pgrep", "-f", f"ControlPath={device._ssh._folder}"], capture_output=True, text=True)
        for pid in masters.stdout.split():
            os.kill(int(pid), signal.SIGKILL)

    gone = Interrupted("pi5", Ssh("board"), python=sys.executable)
    gone.what = cut
    with pytest.raises(DeviceError, match=r"the agent ended|broke off the connection"):
        bench_on(gone, files, PLAN, clock=lambda: 0)
    for _ in range(100):
        if not left_on(board) and not agents():
            break
        time.sleep(0.05)
    assert (left_on(board), agents()) == ([], [])


def test_a_time_out_leaves_nothing_running(board: Board, files: list[Path]) -> None:
    """The agent is deep in a block of an hour when we lose patience."""
    with device() as slow:
        slow.open(files[0], expect(files[0]).feeds[0])
        slow._session._timeout_s = 1.0
        with pytest.raises(TimedOutError, match="pi5 gave no answer within 1 s"):
            slow.block(0, runs=1, seconds=3600.0)
        assert len(agents()) == 1
    assert (left_on(board), agents()) == ([], [])


def test_hostile_names_reach_no_shell(board: Board, tmp_path: Path) -> None:
    hostile = "$(touch injected) `touch injected`; touch injected & '\"\n| touch injected #"
    path = tmp_path / f"{hostile}.tflite"
    path.write_bytes(tflite_models()["int8"])
    folder = board.home / hostile
    report = bench_on(device(folder=str(folder)), [path], PLAN)
    assert report.files[0].check.sqnr_db is None
    assert list(board.home.rglob("injected")) + list(tmp_path.rglob("injected")) == []
    assert list(folder.iterdir()) == []
    folder.rmdir()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("nonsense", r"pi5 answers with nonsense \(nonsense\)"),
        ('{"id": 7, "ok": 1}', "answers with nonsense"),
        ('{"id": 1, "ok": []}', "answers without top_khz: is its Python sound"),
        ("[" * 100_000, "answers with nonsense"),
        ('{"id": 1, "ok": NaN}', "answers with nonsense"),
        ('{"id": 1, "error": {"kind": "x", "text": "\\u001b[2Jevil\\nline"}}', r"^evil line$"),
    ],
)
def test_hostile_answers(board: Board, files: list[Path], tmp_path: Path, said: str, words: str) -> None:
    (tmp_path / "said").write_text(f"EDGEKIT {said}\n")
    (tmp_path / "liar").write_text(f"#!/bin/sh\n/bin/cat '{tmp_path}/said'; read line; read line\n")
    (tmp_path / "liar").chmod(0o755)
    with pytest.raises(DeviceError, match=words) as caught:
        bench_on(device(python=str(tmp_path / "liar")), files, PLAN)
    assert str(caught.value).isprintable()
    assert left_on(board) == []


# Profiles and setting up.


def profile(**more: object) -> Profile:
    given = {"name": "pi5", "title": "A board", "kind": "board", "transport": "ssh", "reach": {"host": "board"}, **more}
    return Profile.model_validate(given, strict=False)


def test_a_profile_opens_its_board(board: Board, files: list[Path]) -> None:
    opened = open_device(profile(programs={"python": sys.executable}, emulated=True))
    report = bench_on(opened, files[:1], PLAN)
    assert (report.device, report.emulated) == ("pi5", True)


def test_profiles_that_cannot_be_measured() -> None:
    with pytest.raises(DeviceError, match="pi5 names no host to reach by ssh: give --host"):
        open_device(profile(reach={}))
    with pytest.raises(DeviceError, match="--delegate is for phones; pi5 is reached by ssh: leave it out"):
        open_device(profile(), delegate="gpu")
    rules = {"rules": "gpu_delegate"}
    with pytest.raises(DeviceError, match=r"pi5 is not measured but estimated or checked \(its transport is none\)"):
        open_device(profile(kind="accelerator", transport="none", reach={}, accelerator=rules))


def test_phones_are_not_set_up() -> None:
    refused(run("devices", "setup", "pixel6"), "pixel6 names no host to reach by ssh")


def test_the_command_reaches_a_board_by_its_options(board: Board, files: list[Path]) -> None:
    words = ["--device", "pi5", "--host", "board", "--python", sys.executable, "--seconds", "0.05"]
    done = run("bench", *files, *words)
    assert done.code == 0, done.err
    assert done.out.startswith("pi5: ")
    assert ", board, 1 thread" in done.out.splitlines()[0]
    refused(run("bench", *files, "--device", "pi5", "--host", "-oProxyCommand=x"), "cannot be used with pi5")


def wheel(folder: Path, name: str, version: str) -> None:
    """An empty package."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{module}/__init__.py", f"__version__ = '{version}'\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.slow
def test_setting_a_board_up(board: Board, files: list[Path], tmp_path: Path) -> None:
    """From a folder of packages instead of the network; ai-edge-litert is missing there, as for 32-bit boards."""
    for name in ("numpy", "tflite-runtime"):
        wheel(tmp_path, name, "9.9")
    options = ["--no-index", "--find-links", str(tmp_path)]
    assert setup_board(profile(), base_python=sys.executable, pip_options=options) == [
        "numpy 9.9",
        "tflite-runtime 9.9",
    ]
    python = board.home / ".local" / "share" / "edgekit" / "board" / "bin" / "python"
    assert python.is_file()
    with pytest.raises(DeviceError, match=r"AttributeError|numpy"):  # found by itself; the empty numpy is no use
        bench_on(BoardDevice("pi5", Ssh("board")), files[:1], PLAN)
    empty = tmp_path / "empty"
    empty.mkdir()
    options[-1] = str(empty)
    with pytest.raises(DeviceError, match="no virtual environment can be made there"):
        setup_board(profile(), base_python="/bin/false", pip_options=options)

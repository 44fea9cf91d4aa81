"""Programs that hang, flood or are not there; answers that count only with their last line."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from edgekit.bench.process import Guarded, TimedOutError, clean, run_program
from edgekit.errors import DeviceError


def test_output_and_code() -> None:
    told = run_program(["sh", "-c", "printf 'a\\377b'; echo no >&2; exit 3"], timeout_s=30)
    assert (told.code, told.out, told.err) == (3, "a\ufffdb", "no\n")


def test_a_hanging_program_is_killed_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(TimedOutError, match=r"sh gave no answer within 0\.5 s"):
        run_program(["sh", "-c", script], timeout_s=0.5)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes():
            return  # gone, or dead and not yet collected by init
        time.sleep(0.05)
    os.kill(pid, 9)
    pytest.fail("the child outlived its parent")


def test_a_child_that_outlives_the_program_does_not_keep_us_waiting() -> None:
    told = run_program(["sh", "-c", "sleep 300 & echo $!"], timeout_s=100)
    os.kill(int(told.out), 9)
    assert told.code == 0


def test_a_flood_is_stopped() -> None:
    with pytest.raises(DeviceError, match="sh was stopped: more than 16777216 bytes of output"):
        run_program(["sh", "-c", "yes"], timeout_s=100)


def test_a_program_that_is_not_installed() -> None:
    with pytest.raises(DeviceError, match=r"no-such-program cannot be run \(No such file or directory\): install it"):
        run_program(["no-such-program"], timeout_s=5, remedy="install it")


@pytest.mark.parametrize(
    ("command", "code", "text"), [("true", 0, ""), ("echo a; exit 7", 7, "a\n"), ("printf a", 0, "a")]
)
def test_guarded_commands_in_a_real_shell(command: str, code: int, text: str) -> None:
    guarded = Guarded(command)
    out = subprocess.run(["sh", "-c", guarded.line], capture_output=True, text=True, check=True).stdout
    assert guarded.read(out) == (code, text)
    assert guarded.read(out.replace("\n", "\r\n")) == (code, text)


def test_answers_without_their_last_line() -> None:
    guarded = Guarded("true")
    whole = f"text\n\n{guarded.mark}0\n"
    assert guarded.read(whole) == (0, "text\n")
    for broken in ("", "text\n", whole[:-4], whole + "more\n", whole.replace("0", "0x1"), Guarded("true").mark + "0\n"):
        assert guarded.read(broken) is None


def test_words_for_messages() -> None:
    assert clean("a\x1b[31mb\x00c\n\td\x9b é手") == "ab c d é手"
    assert len(clean("x" * 1000)) == 300

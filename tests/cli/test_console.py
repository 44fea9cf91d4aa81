"""Tables, JSON and numbers as text; terminals of any width."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import PROGRAM, TINY, spawn

from edgekit.cli.console import ConsoleReporter, print_json, print_table, share_text, size_text


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [
        (1.0, 1, "100.0%"),
        (0.99996, 1, "99.9%"),
        (0.999999, 2, "99.99%"),
        (0.0, 1, "0.0%"),
        (0.57, 2, "57.00%"),
        (2 / 3, 1, "66.6%"),
    ],
)
def test_only_what_is_whole_reads_100_percent(share: float, decimals: int, text: str) -> None:
    assert share_text(share, decimals) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (138_240, "138.2 kB"), (2_500_000, "2.50 MB")]
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_lines_that_no_terminal_shows_do_not_end_in_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "what"], [("a", "x"), ("b", "a much longer text"), ("c", "")], text=("what",))
    assert capsys.readouterr().out == "name  what\na     x\nb     a much longer text\nc\n"


def test_brackets_colons_and_backslashes_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    odd = "[bold]a :smile: [/x] C:\\"
    print_table(["file", odd], [(odd, "1")])
    ConsoleReporter().warn(odd)
    ConsoleReporter().step("title", odd)
    printed = capsys.readouterr()
    assert printed.out.count(odd) == 2
    assert printed.err == f"warning     {odd}\ntitle       {odd}\n"


def test_columns_of_text_are_on_the_left(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "count", "kind"], [("a", "1", "x"), ("bb", "100", "yy")], text=("kind",))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["name  count  kind", "a         1  x", "bb      100  yy"]


def test_json_refuses_what_json_has_no_word_for() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        print_json({"value": float("nan")})


def test_progress_is_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(ConsoleReporter().track(range(3), "counting", 3)) == [0, 1, 2]
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_tables_in_a_pipe_are_never_cut() -> None:
    piped = spawn("info", "mobilenet_v2", "--layers", env={"COLUMNS": "20", "LINES": "5"}).stdout
    assert "…" not in piped
    row = next(line for line in piped.splitlines() if line.startswith("block_16_project_BN"))
    assert row.split() == ["block_16_project_BN", "batch_norm", "7x7x320", "7x7x320", "640", "-", "130.6"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("columns", [72, 200])
def test_a_narrow_terminal_wraps_texts_and_leaves_numbers_whole(columns: int) -> None:
    lines = in_terminal(["info", "mobilenet_v2", "--layers"], columns)
    assert max(map(len, lines)) <= columns
    assert not any("…" in line or "..." in line for line in lines)
    assert any({"409,600", "20.07"} <= set(line.split()) for line in lines)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_too_narrow_for_the_numbers_shows_them_all_the_same() -> None:
    joined = "".join(in_terminal(["info", "mobilenet_v2", "--layers"], 30))
    assert "409,600" in joined
    assert "20.07" in joined


def in_terminal(args: list[str], columns: int, code: int = 0) -> list[str]:
    """The lines that `edgekit ARGS` shows in a terminal of so many columns, without colours."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update({"COLUMNS": str(columns), "TERM": "xterm"})
        os.execv(PROGRAM, [PROGRAM, *args])
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", shown.decode()).replace("\r", "").splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_in_a_terminal_an_error_stands_below_the_progress_bar(tmp_path: Path) -> None:
    np.savez(tmp_path / "nan.npz", x=np.full((3, 32, 32, 3), np.nan, np.float32))
    args = ["export", *TINY, "--int8", "--calibration", str(tmp_path / "nan.npz")]
    *_, last = in_terminal(args, 200, code=1)
    assert last.startswith("edgekit: error: ")

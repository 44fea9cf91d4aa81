"""Runs the command line inside the test's process or as the installed program, and makes small inputs for it."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PROGRAM = str(Path(sys.executable).with_name("edgekit"))
TINY = ("mobilenet_v2", "--alpha", "0.35", "--resolution", "32", "--classes", "10", "--weights", "none")
"""The smallest network that has all the parts of the main job; an export of it takes a fraction of a second."""


@dataclass(frozen=True)
class Result:
    """code: exit code. out, err: what was printed."""

    code: int
    out: str
    err: str


def run(*args: object) -> Result:
    """`edgekit ARGS` in this process, through the same entry point as the installed program."""
    from edgekit.cli import main as module

    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["edgekit", *map(str, args)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            module.main()
    except SystemExit as leaving:
        return Result(int(leaving.code or 0), out.getvalue(), err.getvalue())
    finally:
        sys.argv = before
    raise AssertionError("main() always leaves with an exit code")


def spawn(*args: object, env: Mapping[str, str] | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    """`edgekit ARGS` as a process of its own."""
    return subprocess.run(
        [PROGRAM, *map(str, args)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )


def refused(result: Result, *words: str) -> str:
    """The one line of a user error: exit code 1, nothing on standard output, all `words` in it."""
    assert result.code == 1, result
    assert result.out == ""
    line = result.err.splitlines()[-1]
    assert line.startswith("edgekit: error: ")
    assert "Traceback" not in result.err
    for word in words:
        assert word in line, line
    return line


def write_photos(folder: Path, count: int, *, seed: int = 0, size: int = 40) -> Path:
    """Smooth random PNG pictures, 000.png and so on."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(folder / f"{i:03}.png")
    return folder


def names(folder: Path) -> list[str]:
    """What lies in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

"""Standard error of native code: greetings are dropped, everything else passes."""

from __future__ import annotations

import os

import pytest

from edgekit.runtime.quiet import is_greeting, quiet_native_stderr


def test_only_greetings_are_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_native_stderr():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nERROR: this matters\n")
        os.write(2, b"last words without a newline")
    os.write(2, b"; afterwards\n")
    assert capfd.readouterr().err == "ERROR: this matters\nlast words without a newline; afterwards\n"


def test_lines_pass_when_the_block_raises(capfd: pytest.CaptureFixture[str]) -> None:
    def fall() -> None:
        with quiet_native_stderr():
            os.write(2, b"before the fall\n")
            raise KeyError

    with pytest.raises(KeyError):
        fall()
    assert capfd.readouterr().err == "before the fall\n"


def test_onnxruntime_s_device_discovery_is_a_greeting() -> None:
    assert is_greeting(b"\x1b[0;93m2025 [W:onnxruntime:Default, device_discovery.cc:164 Discover] no GPU\x1b[m\n")
    assert not is_greeting(b"2025 [W:onnxruntime:, graph.cc:99 Clean] initializer is not used\n")


def test_a_process_without_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(number: int) -> int:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(os, "dup", closed)
    ran = []
    with quiet_native_stderr():
        ran.append(True)
    assert ran == [True]

"""The doctor finds what is missing and names what mends it, and never hangs; the tools are stand-ins in the PATH."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from edgekit.devices import doctor as module
from edgekit.devices import find_profile
from edgekit.devices.calibration import calibration_file
from edgekit.devices.doctor import examine, run_tool
from edgekit.devices.examine_all import examine_devices


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """No tools, no address of this machine's user, no calibrations."""
    monkeypatch.setenv("EDGEKIT_DEVICES", str(tmp_path / "devices"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    (tmp_path / "bin").mkdir()


def tool(tmp_path: Path, name: str, script: str) -> None:
    path = tmp_path / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def found(device: str, **given: object) -> dict[str, tuple[str, str, str]]:
    return {f.what: (f.state, f.detail, f.remedy) for f in examine(find_profile(device, given))}


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_the_host_has_its_runtimes():
    rows = found("host")
    assert rows["onnxruntime"][0] == rows["TFLite runtime"][0] == "ok"
    assert rows["coefficients"] == ("note", "the default ones", "edgekit devices calibrate host")
    assert all(remedy for state, _, remedy in rows.values() if state != "ok")


def test_a_missing_runtime_and_a_damaged_calibration_are_found(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    calibration_file("host").parent.mkdir(parents=True)
    calibration_file("host").write_text("device: host\n")
    rows = found("host")
    assert (rows["onnxruntime"][0], rows["onnxruntime"][2]) == ("missing", "pip install onnxruntime")
    state, detail, remedy = rows["coefficients"]
    assert state == "missing"
    assert "host.yaml:1: made: is missing" in detail
    assert remedy == f"remove {calibration_file('host')}"


def test_without_an_ssh_client_the_address_is_still_tried(listener):
    rows = found("pi5", host="127.0.0.1", port=listener)
    assert rows["ssh"] == ("missing", "no ssh in the PATH", "sudo apt-get install openssh-client")
    assert rows["address"] == ("ok", f"127.0.0.1 answers on port {listener}", "")
    assert "login" not in rows


def test_an_address_where_nobody_listens():
    state, detail, remedy = found("pi5", host="127.0.0.1", port=free_port())["address"]
    assert (state, "Connection refused" in detail) == ("missing", True)
    assert "export EDGEKIT_PI5_HOST=ADDRESS" in remedy


def test_a_name_that_does_not_resolve(monkeypatch):
    def refuse(*args: object, **more: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert found("pi5", host="nosuch.invalid")["address"][:2] == ("missing", "nosuch.invalid is no known name")


def test_an_address_that_swallows_everything_does_not_hang(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.05)
    monkeypatch.setattr(socket, "create_connection", lambda *args, **more: time.sleep(0.5))
    assert "does not answer on port 22 within" in found("pi5", host="10.255.255.1")["address"][1]


@pytest.mark.parametrize(
    ("told", "state", "remedy"),
    [
        ("echo edgekit-is-in", "ok", ""),
        ("echo 'pi@h: Permission denied (publickey).' >&2; exit 255", "missing", "ssh-copy-id -p {port} pi@127.0.0.1"),
        (
            "echo 'Host key verification failed.' >&2; exit 255",
            "missing",
            "log in once by hand: ssh -p {port} pi@127.0.0.1",
        ),
        ("exit 255", "missing", "log in once by hand: ssh -p {port} pi@127.0.0.1"),
    ],
)
def test_logging_in(tmp_path, listener, told, state, remedy):
    tool(tmp_path, "ssh", f'[ "$1" = -G ] && exit 0\n{told}')
    rows = found("pi5", host="127.0.0.1", port=listener, user="pi")
    assert rows["ssh"][0] == rows["address"][0] == "ok"
    assert (rows["login"][0], rows["login"][2]) == (state, remedy.format(port=listener))


def test_the_users_own_ssh_configuration_counts(tmp_path, listener):
    tool(tmp_path, "ssh", f'[ "$1" = -G ] && printf "hostname 127.0.0.1\\nport {listener}\\n"\necho edgekit-is-in')
    rows = found("pi5", host="alias")
    assert rows["address"][1] == f"127.0.0.1 answers on port {listener}"
    tool(tmp_path, "ssh", 'printf "hostname board\\nproxyjump gate\\n"')
    assert found("pi5", host="alias")["address"][0] == "note"


@pytest.mark.parametrize(
    ("listing", "serial", "state", "detail", "remedy"),
    [
        ("", None, "missing", "adb sees none", "USB debugging"),
        ("A1\\tdevice\\n", None, "ok", "A1", ""),
        ("* daemon started successfully\\nA1\\tdevice\\n", None, "ok", "A1", ""),
        ("A1\\tdevice\\nB2\\tdevice\\n", None, "missing", "several: A1, B2", "export EDGEKIT_PIXEL6_SERIAL=SERIAL"),
        ("A1\\tdevice\\nB2\\tdevice\\n", "B2", "ok", "B2", ""),
        ("A1\\tdevice\\n", "B2", "missing", "B2 is not among A1", "plug it in"),
        ("A1\\tunauthorized\\n", None, "missing", "A1 is unauthorized", "allow this computer's key"),
        ("A1\\toffline\\n", None, "missing", "A1 is offline", "unplug it"),
        ("A1\\tno permissions (udev)\\n", None, "missing", "A1 is no permissions (udev)", "apt-get install"),
        ("A1\\trecovery\\n", None, "missing", "A1 is recovery", "adb reconnect"),
    ],
)
def test_phones(tmp_path, listing, serial, state, detail, remedy):
    tool(tmp_path, "adb", f'printf "List of devices attached\\n{listing}\\n"')
    row = found("pixel6", serial=serial)["phone"]
    assert row[:2] == (state, detail)
    assert remedy in row[2]


def test_adb_that_fails_or_is_missing(tmp_path):
    rows = found("pixel6")
    assert rows["adb"] == ("missing", "no adb in the PATH", "sudo apt-get install adb")
    assert "phone" not in rows
    tool(tmp_path, "adb", "echo 'cannot bind to port' >&2; exit 1")
    assert found("pixel6")["phone"][:2] == ("missing", "cannot bind to port")


def test_benchmark_model(tmp_path):
    assert found("pixel6")["benchmark_model"][2] == "export EDGEKIT_PIXEL6_BENCHMARK_MODEL=PATH"
    assert found("pixel6", benchmark_model="/nowhere/b")["benchmark_model"][:2] == ("missing", "no file /nowhere/b")
    (tmp_path / "b").write_bytes(b"")
    assert found("pixel6", benchmark_model=str(tmp_path / "b"))["benchmark_model"][0] == "ok"


def test_accelerators(tmp_path):
    assert found("gpu_delegate")["rules"][1] == "gpu_delegate: a set of rules, nothing to reach"
    tool(tmp_path, "vela", "true")
    assert found("ethos_u55_256")["vela"][0] == "ok"


def test_a_tool_that_hangs_is_ended(tmp_path):
    tool(tmp_path, "adb", "exec /bin/sleep 60")
    start = time.monotonic()
    ran = run_tool([str(tmp_path / "bin" / "adb")], seconds=0.2)
    assert (ran.code, ran.err) == (None, "no answer within 0.2 s")
    assert time.monotonic() - start < 30
    assert run_tool([str(tmp_path / "nosuch")]).err == "No such file or directory"


def test_all_devices_at_once_each_address_once(monkeypatch):
    def refuse(*args: object, **more: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    groups = {tuple(names): rows for names, rows in examine_devices(None, {})}
    assert ("pi3bplus", "pi4", "pi5", "pi_zero2w") in groups
    assert {name for names in groups for name in names} >= {"host", "pixel6", "ethos_u65_512"}
    assert not {name for names in groups for name in names} & {"nnapi", "gpu_delegate"}
    assert all(rows for rows in groups.values())

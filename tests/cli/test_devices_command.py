"""`edgekit devices` and its commands."""

from __future__ import annotations

import json
import socket

import pytest
from command_line import refused, run
from made_up_prices import MadeUpTimer

from edgekit.pipeline import calibrate_device as module


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_DEVICES", str(tmp_path / "devices"))


def test_the_list_names_every_device_and_the_users_folder(tmp_path):
    done = run("devices")
    assert done.code == 0
    assert any(line.split()[0] == "pi5" and "raspberrypi.local" in line for line in done.out.splitlines()[1:] if line)
    assert f"your own profiles: {tmp_path / 'devices'}" in done.out
    rows = {row["name"]: row for row in json.loads(run("devices", "--json").out)}
    assert rows["pixel6"]["transport"] == "adb"
    assert rows["host"]["calibrated"] is None


def test_show_prints_what_counts(monkeypatch):
    monkeypatch.setenv("EDGEKIT_PI5_HOST", "10.0.0.5")
    assert "host: 10.0.0.5" in run("devices", "show", "pi5").out
    assert "host: other" in run("devices", "show", "pi5", "--host", "other").out
    assert "# Cortex-X1: mask c0" in run("devices", "show", "pixel6").out
    assert json.loads(run("devices", "show", "pi5", "--json").out)["reach"]["host"] == "10.0.0.5"
    refused(run("devices", "show", "pi55"), "no device 'pi55'", "did you mean pi5")
    refused(run("devices", "show", "pi5", "--port", "x"), "--port 'x' is not an integer")


def test_doctor_exits_with_1_where_something_is_missing():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = run("devices", "doctor", "pi5", "--host", "127.0.0.1", "--port", port)
    assert done.code == 1
    assert "Connection refused" in done.out
    assert "EDGEKIT_PI5_HOST" in done.out
    host = run("devices", "doctor", "host", "--json")
    assert host.code == 0
    (entry,) = json.loads(host.out)
    assert entry["devices"] == ["host"]
    assert {"what", "state", "detail", "remedy"} == set(entry["findings"][0])


def test_calibrate_prints_each_coefficient_with_its_error(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "measure_here", MadeUpTimer())
    monkeypatch.setattr(module, "file_bytes", lambda fmt, graph: bytes(1000))  # nobody reads them
    done = run("devices", "calibrate", "--format", "onnx", "--dry-run")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines() if line}
    assert "±" in done.out
    assert "outputs_step" in lines
    assert "shufflenet_v2 unit, 116" in done.out
    assert not (tmp_path / "devices").exists()
    kept = run("devices", "calibrate", "--format", "onnx", "--json")
    assert json.loads(kept.out)["path"].endswith("calibrations/host.yaml")
    assert json.loads(run("devices", "show", "host", "--json").out)["calibration"]["runtimes"] == {"onnx": "a clock"}
    refused(run("devices", "calibrate", "edge_tpu"), "edge_tpu is reached by none")

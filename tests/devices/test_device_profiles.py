"""Device profiles: those that are shipped, the user's own, and what is refused, by file and line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgekit.devices import Profile, find_profile, profile_files, read_profile
from edgekit.devices.catalog import SHIPPED
from edgekit.errors import DeviceError

NEEDED = {
    *("host", "pi3bplus", "pi4", "pi5", "pi_zero2w", "pixel4", "pixel6", "pixel8", "galaxy_s21", "galaxy_s24"),
    *("android", "ethos_u55_128", "ethos_u55_256", "ethos_u65_512", "ethos_u85_256", "gpu_delegate", "nnapi"),
    *("edge_tpu", "qualcomm_htp"),
}
BOARD = "name: mine\ntitle: My board\nkind: board\ntransport: ssh\n"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_DEVICES", str(tmp_path / "devices"))
    for name in [n for n in os.environ if n.startswith("EDGEKIT_PI5_")]:
        monkeypatch.delenv(name)


def written(folder: Path, text: str | bytes, name: str = "mine.yaml") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_every_device_is_shipped_and_reads():
    assert set(profile_files()) >= NEEDED
    for name in profile_files():
        profile = find_profile(name)
        assert (profile.transport == "vela") == name.startswith("ethos_")
        assert (profile.accelerator is not None) == (profile.kind == "accelerator")


@pytest.mark.parametrize(
    ("name", "fastest_mask", "big"),
    [("pixel4", 0x80, (4, 5, 6, 7)), ("pixel6", 0xC0, (6, 7)), ("pixel8", 0x100, (4, 5, 6, 7, 8))],
)
def test_masks_are_those_that_are_used_on_these_phones(name, fastest_mask, big):
    cpu = find_profile(name).cpu
    assert cpu.clusters[-1].mask == fastest_mask
    assert cpu.big == big
    assert sum(1 << n for n in cpu.fastest) == fastest_mask


def test_published_latencies_name_their_source():
    rows = [(r.model, r.precision, r.ms) for r in find_profile("pi4").references]
    assert ("mobilenet_v1", "int8", 24.0) in rows
    for name in profile_files():
        assert all(len(r.source) > 20 for r in find_profile(name).references)


def test_the_schema_that_editors_use_is_the_programs_own():
    schema = Path(__file__).parents[2] / "docs" / "device_profile.schema.json"
    assert json.loads(schema.read_text()) == Profile.model_json_schema()


def test_every_key_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()
    for part in [Profile.model_json_schema(), *Profile.model_json_schema()["$defs"].values()]:
        for key in part["properties"]:
            assert f"`{key}`" in page, key


def test_own_profiles_by_path_and_by_name(tmp_path):
    path = written(tmp_path / "devices", BOARD)
    assert find_profile("mine").title == "My board"
    assert find_profile(str(path)).title == "My board"
    written(tmp_path / "devices", BOARD.replace("mine", "pi5"), "pi5.yaml")
    assert find_profile("pi5").title == "My board"
    assert read_profile(SHIPPED / "pi5.yaml").title == "Raspberry Pi 5"


def test_environment_and_command_line_go_before_the_file(monkeypatch):
    assert find_profile("pi5").reach.host == "raspberrypi.local"
    monkeypatch.setenv("EDGEKIT_PI5_HOST", "10.0.0.5")
    monkeypatch.setenv("EDGEKIT_PI5_PORT", "2222")
    monkeypatch.setenv("EDGEKIT_PI5_PYTHON", "~/venv/bin/python")
    profile = find_profile("pi5")
    assert (profile.reach.host, profile.reach.port, profile.programs.python) == ("10.0.0.5", 2222, "~/venv/bin/python")
    assert find_profile("pi5", {"host": "other", "serial": None}).reach.host == "other"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"host": "-oProxyCommand=x"}, "--host '-oProxyCommand=x' cannot be used with pi5"),
        ({"host": "a;reboot"}, "--host 'a;reboot' cannot be used"),
        ({"port": 70000}, "--port 70000 cannot be used with pi5: Input should be less than or equal to 65535"),
        ({"port": "ssh"}, "--port 'ssh' cannot be used"),
        ({"serial": "emulator-5554"}, "reach.serial means nothing to transport ssh"),
        ({"python": "../python"}, "is neither an absolute path nor one that begins with ~/"),
    ],
)
def test_overrides_that_cannot_be(given, told):
    with pytest.raises(DeviceError) as caught:
        find_profile("pi5", given)
    assert told in str(caught.value)


def test_an_environment_that_cannot_be_is_named(monkeypatch):
    monkeypatch.setenv("EDGEKIT_PI5_HOST", "a b")
    with pytest.raises(DeviceError, match="EDGEKIT_PI5_HOST 'a b' cannot be used with pi5"):
        find_profile("pi5")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOARD + "colour: red\n", "mine.yaml:5: colour: no such key; docs/devices.md lists the keys"),
        (BOARD + "cpu:\n  clusters:\n    - core: A\n      count: '4'\n", "mine.yaml:8: cpu.clusters.0.count: "),
        (BOARD + "cpu:\n  isa: [neon,\n    avx]\n", "mine.yaml:7: cpu.isa.1: "),
        (BOARD + "cpu:\n  clusters:\n    - {core: A}\n", "mine.yaml:7: cpu.clusters.0.count: is missing"),
        (BOARD + "emulated: yes\n", "mine.yaml:5: emulated: Input should be a valid boolean (got 'yes')"),
        (BOARD + "cpu: {bandwidth_gb_s: .inf}\n", "mine.yaml:5: cpu.bandwidth_gb_s: "),
        (BOARD + "reach: {serial: x1}\n", "mine.yaml:1: reach.serial means nothing to transport ssh"),
        (BOARD + "reach:\n  host: $(reboot)\n", "mine.yaml:6: reach.host: "),
        (BOARD + "title: twice\n", "mine.yaml:5: key 'title' is given twice"),
        (BOARD + "soc: &a [x]\nnotes: *a\n", "mine.yaml:6: not YAML as device profiles have it: references"),
        (BOARD + "soc: !!python/name:os.system\n", "mine.yaml:5: not YAML as device profiles have it: could not"),
        (BOARD + "notes: [open\n", "mine.yaml:6: not YAML as device profiles have it: "),
        (BOARD + "? [a]\n: b\n", "mine.yaml:5: "),
        ("name: other\n" + BOARD[11:], "name is 'other'; a profile is called like its file, 'mine'"),
        ("- a\n", "mine.yaml is no device profile: it must be a mapping"),
        ("", "mine.yaml is no device profile: it must be a mapping"),
        (b"name: \xff\xfe\n", "mine.yaml: not a text file: "),
        ("a: " + "[" * 20000, "mine.yaml: not YAML as device profiles have it: too many brackets"),
        ("#" * 1_000_001, "it is larger than 1,000,000 bytes"),
        (
            "name: mine\ntitle: T\nkind: accelerator\ntransport: vela\naccelerator: {rules: ethos_u}\n",
            "transport vela needs accelerator.config",
        ),
        (
            BOARD + "cpu:\n  clusters:\n    - {core: A, count: 2, cpus: [0]}\n",
            "mine.yaml:7: cpu.clusters.0: 2 cores cannot be CPUs 0",
        ),
        (
            BOARD + "cpu:\n  clusters:\n    - {core: A, count: 1, ghz: 2}\n    - {core: B, count: 1, ghz: 1}\n",
            "mine.yaml:5: cpu: clusters are not listed from the slowest to the fastest",
        ),
    ],
)
def test_refused_by_file_and_line(tmp_path, text, told):
    with pytest.raises(DeviceError) as caught:
        read_profile(written(tmp_path / "x", text))
    message = str(caught.value)
    assert told in message
    assert "\n" not in message


def test_all_errors_are_counted(tmp_path):
    with pytest.raises(DeviceError, match="; 2 more errors in the file"):
        read_profile(written(tmp_path / "x", BOARD + "a: 1\nb: 2\nc: 3\n"))


def test_an_unknown_device_names_its_neighbours(tmp_path):
    with pytest.raises(DeviceError, match="no device 'pixel5': did you mean pixel"):
        find_profile("pixel5")
    with pytest.raises(DeviceError, match=r"cannot read device profile .*gone\.yaml: No such file"):
        find_profile(str(tmp_path / "gone.yaml"))

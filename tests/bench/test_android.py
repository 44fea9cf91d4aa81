"""Phones through the real adb client: a loopback device of our own executes a scripted benchmark_model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from adb_device import Phone, serve_phone
from command_line import refused, run
from phones import adb_server, make_phone, set_thermal, teach_outputs  # noqa: F401 - a fixture
from small_models import onnx_classifier, tflite_models

from edgekit.bench import Report
from edgekit.bench import bench_on as bench_with_clock
from edgekit.bench.android import AndroidDevice
from edgekit.bench.check import expect
from edgekit.bench.delegates import DelegateChoice, describe
from edgekit.bench.process import TimedOutError
from edgekit.bench.protocol import Plan, make_plan
from edgekit.bench.run import BrokenOffError
from edgekit.errors import DeviceError

pytestmark = pytest.mark.usefixtures("adb_server")

PLAN = make_plan(quick=True, seconds=0.04, min_runs=8)


def bench_on(device: AndroidDevice, files: list[Path], plan: Plan, **more: bool) -> Report:
    """On a clock that stands still: the plan ends by what the phone says, however long adb takes."""
    return bench_with_clock(device, files, plan, clock=lambda: 0, **more)


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Phone]:
    with serve_phone(make_phone(tmp_path / "phone")) as phone:
        yield phone
        assert phone.running() == []


@pytest.fixture
def files(tmp_path: Path, phone: Phone) -> list[Path]:
    paths = [tmp_path / "a.tflite", tmp_path / "b.tflite"]
    for path, kind in zip(paths, ("int8", "float"), strict=True):
        path.write_bytes(tflite_models()[kind])
    teach_outputs(phone, *paths)
    return paths


def android(phone: Phone, **more: object) -> AndroidDevice:
    given = {"serial": phone.serial, "benchmark_model": phone.root / "tool", "folder": str(phone.root / "data"), **more}
    return AndroidDevice("pixel6", **given)


def left_on(phone: Phone) -> list[str]:
    return sorted(path.name for path in (phone.root / "data").iterdir())


def test_two_files_side_by_side(phone: Phone, files: list[Path]) -> None:
    report = bench_on(android(phone), files, PLAN)
    first, second = report.files
    assert report.valid
    assert (first.check.sqnr_db, second.check.sqnr_db) == (None, None)
    assert (first.summary.median_ms, first.summary.basis) == (pytest.approx(5.0, rel=1e-3), "quantiles")
    assert report.verdict(second) == "slower"
    assert second.ratio.value == 7 / 5
    assert first.complete
    assert first.summary.runs == sum(block.runs for block in first.blocks) >= 8
    assert (first.opened.load_ms, first.opened.first_ms) == (87.639, 5.09)
    assert first.opened.peak_memory_bytes == 14_816_400
    assert first.opened.runtime.startswith("benchmark_model ")
    assert {block.clock_khz for block in first.blocks} == {2802000}
    facts = report.facts
    assert (facts["model"], facts["abi"], facts["mask"], facts["serial"]) == (
        "Pixel 6",
        "arm64-v8a",
        "80",
        phone.serial,
    )
    state = report.states[-1]
    assert (state.thermal_status, state.battery_percent, state.charging) == (0, 87, True)
    assert state.temperatures_c == {"cpu/AP": 25.6, "skin/LRB": 24.7}
    assert state.governors["7"] == "sched_pixel"
    assert left_on(phone) == []


def test_threads_of_all_big_cores(phone: Phone, files: list[Path]) -> None:
    report = bench_on(android(phone, threads="big"), files[:1], PLAN)
    assert (report.threads, report.cpus, report.facts["mask"]) == (2, (6, 7), "c0")
    assert set((phone.root / "masks").read_text().split()) == {"c0"}
    assert "--num_threads=2 " in (phone.root / "calls").read_text()


@pytest.mark.parametrize(
    ("choice", "flag", "said", "told"),
    [
        ("xnnpack", "--use_xnnpack=true", "", "not told"),
        ("cpu", "--use_xnnpack=false", "", "not told"),
        (
            "gpu",
            "--use_gpu=true",
            "INFO: Replacing 29 out of 31 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 2 partitions.",
            "CPU and GPU (29 of 31 ops in 2 pieces)",
        ),
        (
            "nnapi:google-edgetpu",
            "--use_nnapi=true --nnapi_accelerator_name=google-edgetpu",
            "Explicitly applied NNAPI delegate, and the model graph will be completely executed by the delegate.",
            "NNAPI google-edgetpu",
        ),
        (
            "nnapi",
            "--use_nnapi=true",
            "Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.",
            "CPU (NNAPI took nothing)",
        ),
    ],
)
def test_delegates(phone: Phone, files: list[Path], choice: str, flag: str, said: str, told: str) -> None:
    (phone.root / "said").write_text(said + "\n")
    with android(phone, delegate=DelegateChoice.parse(choice)) as device:
        opened = device.open(files[0], expect(files[0]).feeds[0])
    assert flag in (phone.root / "calls").read_text()
    assert describe(opened.delegation) == told


def test_an_external_delegate_is_brought_there(phone: Phone, files: list[Path], tmp_path: Path) -> None:
    library = tmp_path / "lib vendor's.so"
    library.write_bytes(b"\x7fELF vendor")
    (phone.root / "before").write_text('cp delegate.so "$PHONE/got"\n')
    with android(phone, delegate=DelegateChoice.parse(f"external:{library}")) as device:
        device.open(files[0], expect(files[0]).feeds[0])
    assert "--external_delegate_path=delegate.so" in (phone.root / "calls").read_text()
    assert (phone.root / "got").read_bytes() == library.read_bytes()


HEATING = 'case "$*" in *warmup_runs=3*num_runs=1\\ *) sed -i "s/Status: 0/Status: 3/" "$PHONE/thermal" ;; esac\n'


def test_heat_spoils_a_measurement(phone: Phone, files: list[Path]) -> None:
    (phone.root / "before").write_text(HEATING)
    report = bench_on(android(phone), files, PLAN)
    assert "the thermal status rose from 0 (none) to 3 (severe)" in report.problems[0]
    assert report.verdict(report.files[1]) == "not ranked"


def test_a_phone_before_android_10_tells_no_heat(phone: Phone, files: list[Path]) -> None:
    (phone.root / "thermal").write_text("Can't find service: thermalservice\n")
    (phone.root / "props" / "ro.soc.model").unlink()
    report = bench_on(android(phone), files[:1], PLAN)
    assert (report.states[0].thermal_status, report.states[0].temperatures_c, report.facts["soc"]) == (None, {}, None)
    assert report.valid


def test_an_older_adbd_whose_shell_always_ends_with_0(tmp_path: Path) -> None:
    with serve_phone(make_phone(tmp_path / "old", features="cmd")) as phone:
        path = tmp_path / "a.tflite"
        path.write_bytes(tflite_models()["int8"])
        teach_outputs(phone, path)
        assert bench_on(android(phone), [path], PLAN).valid
        (phone.root / "before").write_text("echo ERROR: Benchmarking failed. >&2; exit 1\n")
        with pytest.raises(DeviceError, match=r"failed on .*a\.tflite with --delegate xnnpack: Benchmarking failed"):
            bench_on(android(phone), [path], PLAN)


def test_non_ascii_names(phone: Phone, tmp_path: Path) -> None:
    (phone.root / "props" / "ro.product.model").write_text("Téléphone 手机\x1b[31m\n")
    path = tmp_path / "modèle 模型.tflite"
    path.write_bytes(tflite_models()["int8"])
    teach_outputs(phone, path)
    report = bench_on(android(phone), [path], PLAN)
    assert report.facts["model"] == "Téléphone 手机"
    assert report.files[0].path == str(path)


# Nothing below may measure anything.


def test_wrong_outputs_are_found_before_any_time_is_taken(phone: Phone, files: list[Path]) -> None:
    for stored in (phone.root / "outputs").iterdir():
        stored.write_bytes(bytes(reversed(stored.read_bytes())))
    with pytest.raises(DeviceError, match="pixel6 computes something else"):
        bench_on(android(phone), files, PLAN)
    assert "--num_runs=10 " not in (phone.root / "calls").read_text()
    assert left_on(phone) == []


def test_outputs_of_another_size(phone: Phone, files: list[Path]) -> None:
    for stored in (phone.root / "outputs").iterdir():
        stored.write_bytes(b"abc")
    with pytest.raises(DeviceError, match="outputs have 3 bytes, not 10: is it the same file"):
        bench_on(android(phone), files[:1], PLAN)


def test_a_tool_that_cannot_write_outputs(phone: Phone, files: list[Path]) -> None:
    (phone.root / "outputs").rename(phone.root / "elsewhere")
    with pytest.raises(DeviceError, match=r"does not know --output_filepath.*or measure unchecked with --no-check"):
        bench_on(android(phone), files[:1], PLAN)
    assert bench_on(android(phone), files[:1], PLAN, check=False).files[0].check is None


def test_no_device(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(tflite_models()["int8"])
    with pytest.raises(
        DeviceError, match=r"no device with serial 'nosuch' is connected|no Android device is connected"
    ):
        bench_on(AndroidDevice(serial="nosuch"), [path], PLAN)


def test_a_refused_connection(files: list[Path]) -> None:
    with pytest.raises(
        DeviceError, match=r"cannot connect to 127\.0\.0\.1:1 \(failed to connect .*Connection refused\)"
    ):
        bench_on(AndroidDevice(serial="127.0.0.1:1"), files[:1], PLAN)


def test_an_unauthorized_device(tmp_path: Path, files: list[Path]) -> None:
    with (
        serve_phone(make_phone(tmp_path / "locked", mode="unauthorized")) as locked,
        pytest.raises(
            DeviceError, match=r"is not authorized( yet)?: unlock it and allow this computer's debugging key"
        ),
    ):
        bench_on(android(locked), files[:1], PLAN)


def test_an_offline_device(tmp_path: Path, files: list[Path]) -> None:
    with serve_phone(make_phone(tmp_path / "gone")) as gone, android(gone):
        serial = gone.serial
    with pytest.raises(DeviceError, match=r"is offline: replug its cable, or `adb reconnect offline`"):
        bench_on(AndroidDevice(serial=serial), files[:1], PLAN)


def test_two_devices_and_no_serial(phone: Phone, tmp_path: Path, files: list[Path]) -> None:
    with serve_phone(make_phone(tmp_path / "second")) as second, android(phone), android(second):
        with pytest.raises(DeviceError, match=r"\d+ devices are connected \(.*\): choose with --serial"):
            bench_on(AndroidDevice(), files[:1], PLAN)
        with pytest.raises(DeviceError, match=r"no device with serial 'other' is connected; there is 127"):
            bench_on(AndroidDevice(serial="other"), files[:1], PLAN)


def test_the_cable_is_pulled_while_measuring(phone: Phone, files: list[Path]) -> None:
    phone.drop_at, phone.drops = "--warmup_runs=3", 2 * 2 + 7  # windows of the warm-up, then a round and a block
    with pytest.raises(BrokenOffError, match=r"broke off the connection.* finished blocks a file are kept") as caught:
        bench_on(android(phone), files, PLAN)
    assert [len(own.blocks) > 0 for own in caught.value.report.files] == [True, True]


def test_the_cable_is_pulled_before_any_block(phone: Phone, files: list[Path]) -> None:
    phone.drop_at = "--graph=m0"
    with pytest.raises(
        DeviceError, match=rf"device {phone.serial} broke off the connection: check its cable"
    ) as caught:
        bench_on(android(phone), files, PLAN)
    assert not isinstance(caught.value, BrokenOffError)


def test_a_full_disk(phone: Phone, files: list[Path]) -> None:
    phone.full = True
    with pytest.raises(DeviceError, match=r"has no room left: delete files there \(adb: .*No space left on device"):
        bench_on(android(phone), files, PLAN)
    assert left_on(phone) == []


def test_a_folder_that_cannot_be_written(phone: Phone, files: list[Path]) -> None:
    with pytest.raises(DeviceError, match="refuses: mkdir: cannot create"):
        bench_on(android(phone, folder="/proc/nothing"), files, PLAN)


def test_a_runtime_too_old_for_the_file(phone: Phone, files: list[Path]) -> None:
    said = "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'. An older version of this builtin might be"
    (phone.root / "before").write_text(f'echo "{said} supported." >&2; exit 1\n')
    with pytest.raises(DeviceError, match=r"too old for .*a\.tflite: it has no CONV_2D of version 6"):
        bench_on(android(phone), files, PLAN)


def test_a_tool_for_another_processor(phone: Phone, files: list[Path]) -> None:
    (phone.root / "tool").write_bytes(b"\x7fELF\x02\x01\x01 of another processor" + bytes(100))
    with pytest.raises(DeviceError, match=r"benchmark_model is not made for this device's processor|failed on"):
        bench_on(android(phone), files, PLAN)


def test_a_time_out_leaves_nothing_running(phone: Phone, files: list[Path]) -> None:
    (phone.root / "before").write_text('echo $$ > "$PHONE/hanging"; exec sleep 300\n')
    with pytest.raises(TimedOutError, match=r"gave no answer within 1 s: is it awake"):
        bench_on(android(phone, timeout_s=1.0), files, PLAN)
    pid = int((phone.root / "hanging").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or not phone.running():
            break
        time.sleep(0.05)
    assert phone.running() == []
    assert left_on(phone) == []


def test_a_malformed_log(phone: Phone, files: list[Path]) -> None:
    (phone.root / "before").write_text("echo INFO: count=3 median=nonsense; exit 0\n")
    with pytest.raises(DeviceError, match=r"output holds no timings \(count=3 median=nonsense\)"):
        bench_on(android(phone), files, PLAN)


def test_a_flood_of_output(phone: Phone, files: list[Path]) -> None:
    (phone.root / "before").write_text("head -c 20000000 /dev/zero | tr '\\0' x; exit 0\n")
    with pytest.raises(DeviceError, match=r"adb was stopped: more than 16777216 bytes of output"):
        bench_on(android(phone), files, PLAN)


def test_an_onnx_file(phone: Phone, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(onnx_classifier())
    with pytest.raises(DeviceError, match=r"a\.onnx: phones run \.tflite files: `edgekit export --format tflite`"):
        bench_on(android(phone), [path], PLAN)
    assert left_on(phone) == []


HOSTILE = "$(touch injected) `touch injected`; touch injected & '\"\n| touch injected #"


def test_no_name_reaches_a_shell(phone: Phone, tmp_path: Path) -> None:
    """File names, folders, accelerators: all of them in one hostile form, run by a real shell."""
    path = tmp_path / (HOSTILE.replace("/", "") + ".tflite")
    path.write_bytes(tflite_models()["int8"])
    teach_outputs(phone, path)
    folder = phone.root / "data" / HOSTILE
    device = android(phone, folder=str(folder), delegate=DelegateChoice.parse(f"nnapi:{HOSTILE}"))
    assert bench_on(device, [path], PLAN).files[0].check.sqnr_db is None
    assert HOSTILE.split("\n", 1)[0] in (phone.root / "calls").read_text()
    assert list(tmp_path.rglob("injected")) == []
    assert list(folder.iterdir()) == []


def test_a_device_that_tells_lies_of_itself(phone: Phone, files: list[Path]) -> None:
    """Hostile answers are data: they end up neither in commands nor raw in messages."""
    (phone.root / "props" / "ro.product.model").write_text("x$(touch injected)\x1b]0;title\x07" + "y" * 1000)
    (phone.root / "sys" / "cpu7" / "cpufreq" / "cpuinfo_max_freq").write_text("9;touch injected\n")
    (phone.root / "said").write_text("EDGEKIT_0=0\nEDGEKIT_CLOCKS\n$(touch injected)\n")
    report = bench_on(android(phone), files[:1], PLAN)
    assert report.cpus == (6,)
    assert report.facts["model"].isprintable()
    assert len(report.facts["model"]) <= 300
    assert list(phone.root.rglob("injected")) == []


def test_set_thermal_is_what_the_phone_says(phone: Phone) -> None:
    set_thermal(phone.root, 2)
    with android(phone) as device:
        assert device.state().thermal_status == 2


# The command.


def command(phone: Phone, *files: Path) -> list[object]:
    profile = phone.root / "loop.yaml"
    profile.write_text(
        f"name: loop\ntitle: A loopback phone\nkind: phone\ntransport: adb\n"
        f"programs: {{benchmark_model: {phone.root / 'tool'}, folder: {phone.root / 'data'}}}\n"
    )
    return ["bench", *files, "--device", profile, "--seconds", "0.04"]


def test_the_command_prints_and_saves(phone: Phone, files: list[Path], tmp_path: Path) -> None:
    (phone.root / "said").write_text(
        "Explicitly applied NNAPI delegate, and the model graph will be partially executed by the delegate w/ 2 "
        "delegate kernels.\n"
    )
    saved = tmp_path / "saved.json"
    words = ["--serial", phone.serial, "--delegate", "nnapi", "--save", saved]
    done = run(*command(phone, *files), *words)
    assert done.code == 0, done.err
    assert f"loop: Pixel 6, {phone.serial}, 1 thread" in done.out
    assert "CPU and NNAPI (part in 2 pieces)" in done.out
    document = json.loads(saved.read_text())
    assert document["device"]["facts"]["delegate"] == "nnapi"
    assert "--use_nnapi=true" in document["files"][0]["command"]


def test_two_phones_at_once(phone: Phone, files: list[Path], tmp_path: Path) -> None:
    with serve_phone(make_phone(tmp_path / "second")) as second:
        teach_outputs(second, *files)
        (second.root / "props" / "ro.product.model").write_text("Another")
        words = ["--serial", f"{phone.serial},{second.serial}", "--json", "--no-check"]
        line = command(phone, files[0])
        done = run(*line, *words)
        assert done.code == 0, done.err
        documents = json.loads(done.out)
    assert [told["device"]["facts"]["model"] for told in documents] == ["Pixel 6", "Another"]
    assert [told["device"]["facts"]["serial"] for told in documents] == [phone.serial, second.serial]
    refused(run(*line, "--serial", "a,a"), "a serial number is given twice")


def test_a_broken_off_command_keeps_its_blocks(phone: Phone, files: list[Path], tmp_path: Path) -> None:
    phone.drop_at, phone.drops = "--warmup_runs=3", 3 + 3  # windows of the warm-up, then a round and a block
    saved = tmp_path / "saved.json"
    words = ["--seconds", "0.5", "--serial", phone.serial, "--save", saved]
    refused(run(*command(phone, files[0]), *words), "finished block", f"in {saved}")
    document = json.loads(saved.read_text())
    assert "broke off the connection" in document["failure"]
    assert (document["valid"], len(document["files"][0]["blocks"]) >= 1) == (False, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--threads", "many"], "--threads 'many' is neither a number nor `big`"),
        (["--delegate", "npu"], "--delegate 'npu' is none: xnnpack, cpu, gpu"),
        (["--delegate", "external:/nowhere.so"], "there is no file /nowhere.so"),
        (["--serial", "-s; touch injected"], "cannot be used with loop"),
        (["--benchmark-model", "/nowhere"], "there is no benchmark_model at /nowhere"),
    ],
)
def test_refused_words(phone: Phone, files: list[Path], words: list[str], told: str) -> None:
    serial = [] if "--serial" in words else ["--serial", phone.serial]
    refused(run(*command(phone, files[0]), *serial, *words), told)


def test_a_phone_s_options_on_this_machine(files: list[Path]) -> None:
    refused(run("bench", files[0], "--delegate", "gpu"), "--delegate is for phones; host is reached by host")

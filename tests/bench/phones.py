"""Loopback phones with a scripted benchmark_model, and the real adb client that talks to them."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from adb_device import Phone

from edgekit.bench.check import expect

PROPERTIES = {
    "ro.product.model": "Pixel 6",
    "ro.product.manufacturer": "Google",
    "ro.soc.model": "Tensor",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.build.version.sdk": "34",
}
PIXEL_6_KHZ = (1803000,) * 4 + (2253000,) * 2 + (2802000,) * 2
TOOL = """#!/bin/sh
# Says what TFLite's benchmark_model says, and copies outputs that were worked out before.
echo "$*" >> "$PHONE/calls"
runs=1 out= feed= graph= secs=0
for word in "$@"; do
  case "$word" in
    --num_runs=*) runs=${word#*=} ;;
    --min_secs=*) secs=${word#*=} ;;
    --output_filepath=*) out=${word#*=} ;;
    --input_layer_value_files=*) feed=${word##*:} ;;
    --graph=*) graph=${word#*=} ;;
  esac
done
us=$(cat "$PHONE/us_$graph")
[ "$secs" = 0 ] || runs=$(awk "BEGIN { n = int($secs * 1000000 / $us) + 1; print (n > $runs ? n : $runs) }")
[ -f "$PHONE/before" ] && . "$PHONE/before"
if [ -n "$out" ] && [ -d "$PHONE/outputs" ]; then
  cp "$PHONE/outputs/$(sha256sum "$feed" | cut -c1-16)" "$out" || exit 1
fi
cat "$PHONE/said" 2>/dev/null
echo "INFO: Graph: [$graph]"
echo "INFO: Initialized session in 87.639ms."
first=$((us + 90)) mean=$((us + 30))
echo "INFO: count=3 first=$first curr=$us min=$us max=$first avg=$mean std=40 p5=$us median=$us p95=$first"
low="min=$((us - 10)) max=$((us + 60)) avg=$us std=9 p5=$((us - 5)) median=$us p95=$((us + 20))"
echo "INFO: count=$runs first=$us curr=$us $low"
echo "INFO: Inference timings in us: Init: 87639, First inference: $first, Warmup (avg): $mean, Inference (avg): $us"
echo "INFO: Memory footprint delta from the start of the tool (MB): init=14.4414 overall=14.8164"
"""
GETPROP = '#!/bin/sh\ncat "$PHONE/props/$1" 2>/dev/null\n'
TASKSET = '#!/bin/sh\necho "$1" >> "$PHONE/masks"; shift; exec "$@"\n'
DUMPSYS = """#!/bin/sh
[ "$1" = battery ] && printf 'Current Battery Service state:\\n  AC powered: false\\n  USB powered: true\\n'
[ "$1" = battery ] && printf '  level: 87\\n'
[ "$1" = thermalservice ] && cat "$PHONE/thermal"
"""
THERMAL = """IsStatusOverride: false
Thermal Status: {status}
Cached temperatures:
\tTemperature{{mValue=99.0, mType=0, mName=OLD, mStatus=0}}
HAL Ready: true
Current temperatures from HAL:
\tTemperature{{mValue=25.6, mType=0, mName=AP, mStatus=0}}
\tTemperature{{mValue=24.7, mType=3, mName=LRB, mStatus=0}}
Current cooling devices from HAL:
"""


def make_phone(root: Path, khz: tuple[int, ...] = PIXEL_6_KHZ, **more: object) -> Phone:
    """A Pixel 6 whose files lie below `root`."""
    for name in ("bin", "props", "sys", "data"):
        (root / name).mkdir(parents=True)
    for name, content in (("getprop", GETPROP), ("taskset", TASKSET), ("dumpsys", DUMPSYS)):
        program = root / "bin" / name
        program.write_text(content)
        program.chmod(0o755)
    for name, value in PROPERTIES.items():
        (root / "props" / name).write_text(value)
    for cpu, top in enumerate(khz):
        folder = root / "sys" / f"cpu{cpu}" / "cpufreq"
        folder.mkdir(parents=True)
        for name, text in (("cpuinfo_max_freq", top), ("scaling_cur_freq", top), ("scaling_governor", "sched_pixel")):
            (folder / name).write_text(f"{text}\n")
    set_thermal(root, 0)
    (root / "tool").write_text(TOOL)
    (root / "us_m0.tflite").write_text("5000")
    (root / "us_m1.tflite").write_text("7000")
    return Phone(root, **more)


def set_thermal(root: Path, status: int) -> None:
    (root / "thermal").write_text(THERMAL.format(status=status))


def teach_outputs(phone: Phone, *files: Path) -> None:
    """Let the scripted tool know what these files compute for the fixed inputs."""
    folder = phone.root / "outputs"
    folder.mkdir(exist_ok=True)
    for file in files:
        expected = expect(file)
        for feeds, outputs in zip(expected.feeds, expected.outputs, strict=True):
            name = hashlib.sha256(feeds[-1].tobytes()).hexdigest()[:16]
            (folder / name).write_bytes(b"".join(values.tobytes() for values in outputs))


@pytest.fixture(scope="module")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An adb server of our own, on a free port, with a key of its own."""
    if shutil.which("adb") is None:
        pytest.skip("adb is not installed: apt-get install adb")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("ANDROID_SERIAL", raising=False)
        yield
        subprocess.run(["adb", "kill-server"], capture_output=True, timeout=20, check=False)

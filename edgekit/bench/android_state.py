"""What a phone tells of itself: properties, cores, heat, battery. Every number is checked; texts are cleaned."""

from __future__ import annotations

import re
from typing import Any

from edgekit.bench.device import DeviceState
from edgekit.bench.process import clean

PROPERTIES = {
    "model": "ro.product.model",
    "manufacturer": "ro.product.manufacturer",
    "soc": "ro.soc.model",
    "soc_manufacturer": "ro.soc.manufacturer",
    "abi": "ro.product.cpu.abi",
    "sdk": "ro.build.version.sdk",
    "build": "ro.build.fingerprint",
}
_FREQUENCIES = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"
FACTS_COMMAND = (
    f'for p in {" ".join(PROPERTIES.values())}; do echo "EDGEKIT_PROP $p=$(getprop $p)"; done; '
    f'for f in {_FREQUENCIES}/cpuinfo_max_freq; do echo "EDGEKIT_FILE $f $(cat $f)"; done 2>/dev/null'
)
STATE_COMMAND = (
    f"for f in {_FREQUENCIES}/scaling_cur_freq {_FREQUENCIES}/scaling_governor; "
    'do echo "EDGEKIT_FILE $f $(cat $f)"; done 2>/dev/null; '
    "dumpsys thermalservice 2>/dev/null; dumpsys battery 2>/dev/null; true"
)
_FILE = re.compile(r"^EDGEKIT_FILE \S*/cpu(\d{1,3})/cpufreq/(\w+) (\S{1,40})$", re.MULTILINE)
_TEMPERATURE = re.compile(
    r"Temperature\{mValue=(-?\d{1,4}(?:\.\d{1,9})?), mType=(-?\d{1,3}), mName=([^,}]{1,60}), mStatus=\d+\}"
)
_KINDS = {0: "cpu", 1: "gpu", 2: "battery", 3: "skin"}


def parse_facts(text: str) -> dict[str, Any]:
    """The properties by our names (None where empty), and `top_khz`, the top clock rate by core."""
    told = dict(re.findall(r"^EDGEKIT_PROP ([\w.]+)=(.*)$", text, re.MULTILINE))
    facts: dict[str, Any] = {name: clean(told.get(key, "")) or None for name, key in PROPERTIES.items()}
    facts["top_khz"] = {int(cpu): int(value) for cpu, value in _files(text, "cpuinfo_max_freq") if value.isdigit()}
    return facts


def parse_state(text: str) -> DeviceState:
    """Heat, clocks and battery; what is missing (before Android 10: all heat) is None."""
    status = re.search(r"^\s*Thermal Status: (\d{1,2})\s*$", text, re.MULTILINE)
    level = re.search(r"^\s*level: (\d{1,3})\s*$", text, re.MULTILINE)
    powered = re.findall(r"^\s*(?:AC|USB|Wireless|Dock) powered: (true|false)\s*$", text, re.MULTILINE)
    return DeviceState(
        thermal_status=int(status[1]) if status else None,
        temperatures_c=_temperatures(text),
        governors={cpu: clean(value) for cpu, value in _files(text, "scaling_governor")},
        clocks_khz={cpu: int(value) for cpu, value in _files(text, "scaling_cur_freq") if value.isdigit()},
        battery_percent=int(level[1]) if level else None,
        charging=("true" in powered) if powered else None,
    )


def _files(text: str, name: str) -> list[tuple[str, str]]:
    return [(cpu, value) for cpu, file, value in _FILE.findall(text) if file == name]


def _temperatures(text: str) -> dict[str, float]:
    """Those that the hardware reports now; the cached ones above them may be old."""
    _, _, block = text.partition("Current temperatures from HAL:")
    found = {}
    for line in block.splitlines()[1:]:
        match = _TEMPERATURE.search(line)
        if match is None:
            break
        found[f"{_KINDS.get(int(match[2]), match[2])}/{clean(match[3])}"] = float(match[1])
    return found

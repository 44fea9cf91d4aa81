"""Reads what TFLite's `benchmark_model` prints, in the forms that its versions and the Android app have."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgekit.bench.block import Block
from edgekit.bench.device import Delegation
from edgekit.bench.process import clean
from edgekit.errors import DeviceError

_PREFIX = re.compile(
    r"^(?:\d\d-\d\d \d\d:\d\d:\d\d\.\d+\s+\d+\s+\d+ [VDIWEF] [^:]*: ?)?"  # the app writes to Android's log
    r"(?:(?:INFO|WARN|WARNING|ERROR|VERBOSE): )?"  # missing in older builds
)
_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,3})?"
_FIELD = re.compile(rf"\b(count|first|curr|min|max|avg|std|p5|median|p95)=({_NUMBER})(?![0-9A-Za-z.])")
_TIMINGS = (
    re.compile(
        rf"^Inference timings in us: Init: (?P<init>{_NUMBER}), First inference: (?P<first>{_NUMBER}), "
        rf"Warmup \(avg\): (?:{_NUMBER}|-?nan), Inference \(avg\): (?P<avg>{_NUMBER})"
    ),
    re.compile(
        rf"^Average inference timings in us: Warmup: (?:{_NUMBER}|-?nan), Init: (?P<init>{_NUMBER}), "
        rf"Inference: (?P<avg>{_NUMBER})"
    ),
)
_MEMORY = re.compile(
    rf"(?:delta from the start of the tool|Peak memory footprint) \(MB\): init={_NUMBER} overall=({_NUMBER})"
)
_PEAK = re.compile(rf"^Overall peak memory footprint \(MB\) via periodic monitoring: ({_NUMBER})")
_REPLACING = re.compile(
    r"Replacing (\d{1,9}) out of (\d{1,9}) node\(s\) with delegate \(([^)]*)\) node, yielding (\d{1,9}) partitions"
)
_HEXAGON = re.compile(r"(Hexagon) delegate: (\d{1,9}) nodes delegated out of (\d{1,9}) nodes with (\d{1,9}) partitions")
_APPLIED = re.compile(
    r"Explicitly applied (\S{1,80}) delegate, and the model graph will be (completely|partially) executed by the "
    r"delegate(?: w/ (\d{1,9}) delegate kernels)?"
)
_NOT_TAKEN = re.compile(r"Though (\S{1,80}) delegate is explicitly applied, the model graph will not be executed")
_TOO_OLD = re.compile(r"Didn't find op for builtin opcode '(\w{1,60})' version '(\d{1,4})'")
_NOT_APPLIED = re.compile(r"Failed to apply (\S{1,80}) delegate")
_MB = 1e6
_NS_PER_US = 1000.0


@dataclass(frozen=True, slots=True)
class BenchmarkLog:
    """One run of the tool. Times in microseconds; first_us is None in older builds, memory_bytes where not told."""

    init_us: float
    first_us: float | None
    runs: int
    mean_us: float
    quantiles_us: tuple[tuple[float, float], ...]
    delegation: Delegation | None
    memory_bytes: int | None

    def block(self, clock_khz: int | None) -> Block:
        """The timed runs."""
        median = dict(self.quantiles_us).get(0.5)
        return Block(
            runs=self.runs,
            total_ns=self.runs * self.mean_us * _NS_PER_US,
            center_ns=(self.mean_us if median is None else median) * _NS_PER_US,
            quantiles_ns=tuple((share, time * _NS_PER_US) for share, time in self.quantiles_us),
            clock_khz=clock_khz,
        )


def read_log(text: str) -> BenchmarkLog:
    """What a successful run printed. Raises DeviceError where times are missing or contradict each other."""
    lines = _plain_lines(text)
    timings = next((match for line in lines for form in _TIMINGS if (match := form.match(line))), None)
    counts = [line for line in lines if line.startswith("count=")]
    if timings is None or not counts:
        raise _malformed("no timings", lines)
    stats = {name: float(value) for name, value in _FIELD.findall(counts[-1])}
    told = timings.groupdict()
    mean = stats.get("avg" if "avg=" in counts[-1] else "curr", math.nan)
    quantiles = _quantiles(stats)
    if not (stats.get("count", 0) >= 1 and _is_sound(mean, quantiles, float(told["avg"]))):
        raise _malformed("times that contradict each other", [counts[-1]])
    return BenchmarkLog(
        init_us=float(told["init"]),
        first_us=float(told["first"]) if told.get("first") else None,
        runs=int(stats["count"]),
        mean_us=mean,
        quantiles_us=quantiles,
        delegation=read_delegation(text),
        memory_bytes=_memory(lines),
    )


def read_delegation(text: str) -> Delegation | None:
    """What a delegate took, as the last delegate that was named says; None where none is."""
    found: Delegation | None = None
    for line in _plain_lines(text):
        if match := _REPLACING.search(line):
            taken, total, name, partitions = int(match[1]), int(match[2]), _short(match[3]), int(match[4])
            found = Delegation(name, taken, total, partitions, taken == total and partitions == 1)
        elif match := _HEXAGON.search(line):
            taken, total, partitions = int(match[2]), int(match[3]), int(match[4])
            found = Delegation(match[1], taken, total, partitions, taken == total and partitions == 1)
        elif match := _APPLIED.search(line):
            complete = match[2] == "completely"
            found = _merged(found, match[1], 1 if complete else int(match[3] or 0), complete)
        elif match := _NOT_TAKEN.search(line):
            found = _merged(found, match[1], 0, False)
    return found


def failure_text(text: str, path: str, delegate: str) -> str:
    """Why the tool failed, in one line with the remedy."""
    if match := _TOO_OLD.search(text):
        return (
            f"benchmark_model is too old for {path}: it has no {match[1]} of version {match[2]}; "
            "take a newer benchmark_model"
        )
    if match := _NOT_APPLIED.search(text):
        return f"{path}: the {match[1]} delegate cannot be applied on this device: choose another --delegate"
    if "not executable" in text or "Exec format error" in text or "CANNOT LINK" in text:
        return "benchmark_model is not made for this device's processor or system: give one for its ABI"
    if "No space left on device" in text:
        return "the device's storage is full: make room there"
    errors = [line for line in _plain_lines(text) if line.strip()]
    return (
        f"benchmark_model failed on {path} with --delegate {delegate}: {clean(errors[-1] if errors else 'no message')}"
    )


def _plain_lines(text: str) -> list[str]:
    return [_PREFIX.sub("", line.strip()) for line in text.splitlines()]


def _quantiles(stats: dict[str, float]) -> tuple[tuple[float, float], ...]:
    """Pairs (share, time), rising in both."""
    if "avg" not in stats:  # one run, or all the same
        return tuple((share, stats["curr"]) for share in (0.0, 0.5, 1.0)) if "curr" in stats else ()
    shares = {"min": 0.0, "p5": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}
    return tuple((share, stats[name]) for name, share in shares.items() if name in stats)


def _is_sound(mean: float, quantiles: tuple[tuple[float, float], ...], told_mean: float) -> bool:
    """Whether times rise with their shares, and both places that tell the mean agree (the tool prints six digits)."""
    times = [time for _, time in quantiles]
    if len(times) < 2 or not all(math.isfinite(time) and time >= 0 for time in (*times, mean, told_mean)):
        return False
    rising = times == sorted(times)
    slack = 1.0 + 1e-3 * mean
    return rising and times[0] - slack <= mean <= times[-1] + slack and abs(mean - told_mean) <= slack


def _memory(lines: list[str]) -> int | None:
    for pattern in (_PEAK, _MEMORY):
        for line in lines:
            if match := pattern.search(line):
                return round(float(match[1]) * _MB)
    return None


def _merged(found: Delegation | None, name: str, partitions: int, complete: bool) -> Delegation:
    """What TFLite said in numbers before, and the tool's own judgement."""
    if found is None:
        return Delegation(name, partitions=partitions, complete=complete)
    return Delegation(name, found.delegated, found.total, partitions, complete)


def _short(name: str) -> str:
    """`TfLiteNnapiDelegate` is NNAPI to its users."""
    core = name.removeprefix("TfLite").removesuffix("Delegate").removesuffix("V2").removesuffix("Delegate") or name
    return {"Nnapi": "NNAPI", "Gpu": "GPU", "Xnnpack": "XNNPACK", "XNNPack": "XNNPACK"}.get(core, clean(core)[:80])


def _malformed(what: str, lines: list[str]) -> DeviceError:
    told = next((line for line in reversed(lines) if line.strip()), "nothing at all")
    return DeviceError(f"benchmark_model's output holds {what} ({clean(told)}): try another build of it")

"""A phone over adb as a device: TFLite's `benchmark_model` does the work there."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

import numpy as np

from edgekit.bench.adb import Adb, Answer, choose_device
from edgekit.bench.android_state import FACTS_COMMAND, STATE_COMMAND, parse_facts, parse_state
from edgekit.bench.benchmark_log import BenchmarkLog, failure_text, read_log
from edgekit.bench.benchmark_tool import ensure_benchmark_tool
from edgekit.bench.block import Block
from edgekit.bench.delegates import DelegateChoice
from edgekit.bench.device import DeviceState, Feeds, Opened
from edgekit.bench.masks import Threads, mask_text, pick_cores
from edgekit.bench.process import TimedOutError, clean
from edgekit.bench.remote_device import RemoteDevice
from edgekit.errors import DeviceError
from edgekit.runtime.io_spec import Array, IoSpec
from edgekit.runtime.session import Session, file_format

DEFAULT_FOLDER = "/data/local/tmp"
_TOOL = "benchmark_model"
_CPU_FOLDER = "/sys/devices/system/cpu"
_CLOCKS = "EDGEKIT_CLOCKS"
_LEAD_RUNS, _LEAD_SECONDS = 3, 0.2
"""Each block is a process of its own, which must load its weights into caches first."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file on the phone: what it is called here and there, what it takes and gives."""

    path: Path
    remote: str
    inputs: tuple[IoSpec, ...]
    outputs: tuple[IoSpec, ...]


class AndroidDevice(RemoteDevice):
    """One phone. A context manager: leaving it kills what runs there and removes every file that was brought.

    serial: None for the only phone. benchmark_model: a local file; None fetches the published one for the phone's ABI.
    folder: where files go there. timeout_s: the longest that one run of the tool may take.
    """

    transport = "adb"
    block_seconds = 4.0

    def __init__(
        self,
        name: str = "android",
        *,
        serial: str | None = None,
        threads: Threads = 1,
        delegate: DelegateChoice | None = None,
        benchmark_model: Path | None = None,
        folder: str | None = None,
        emulated: bool = False,
        timeout_s: float = 300.0,
    ) -> None:
        super().__init__(name, threads=threads, emulated=emulated, timeout_s=timeout_s)
        self._serial, self._tool = serial, benchmark_model
        self._delegate = delegate or DelegateChoice("xnnpack")
        self._folder = f"{folder or DEFAULT_FOLDER}/edgekit-{secrets.token_hex(6)}"
        self._files: list[_File] = []
        self._adb: Adb | None = None
        self._clock_khz: int | None = None

    def open(self, path: Path, feeds: Feeds) -> Opened:
        """Bring a .tflite file and its inputs there, and run it once.

        Raises DeviceError for other formats, and where the tool refuses the file.
        """
        if file_format(path) != "tflite":
            raise DeviceError(f"{path}: phones run .tflite files: `edgekit export --format tflite` writes one")
        index = len(self._files)
        with Session.open(path) as session:
            file = _File(path, f"m{index}.tflite", session.inputs, session.outputs)
        self._push(path, file.remote)
        self._files.append(file)
        self._bring(feeds, f"m{index}_in")
        log, line = self._run(index, f"m{index}_in", ["--warmup_runs=1", "--warmup_min_secs=0", *_runs(1)])
        first_us = log.first_us if log.first_us is not None else log.mean_us
        return Opened(
            runtime=self._facts["benchmark_model"],
            load_ms=log.init_us / 1000,
            first_ms=first_us / 1000,
            delegation=log.delegation,
            peak_memory_bytes=log.memory_bytes,
            command=line,
        )

    def outputs(self, index: int, feeds: Feeds) -> list[Array]:
        """Run once and bring the outputs back. Raises DeviceError where the tool cannot write them."""
        file = self._files[index]
        self._bring(feeds, "check_in")
        flags = ["--warmup_runs=0", "--warmup_min_secs=0", *_runs(1), "--output_filepath=out.bin"]
        self._shell("rm -f out.bin")
        self._run(index, "check_in", flags)
        if self._shell("test -f out.bin").code:
            raise DeviceError(
                "this benchmark_model cannot write outputs (it does not know --output_filepath): take a newer one, "
                "or measure unchecked with --no-check"
            )
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "out.bin"
            self._client.pull(f"{self._folder}/out.bin", local)
            return _split(local.read_bytes(), file)

    def block(self, index: int, *, runs: int, seconds: float = 0.0, lead: int = 0) -> Block:
        """One process of the tool, warmed up."""
        flags = [f"--warmup_runs={max(lead, _LEAD_RUNS)}", f"--warmup_min_secs={_LEAD_SECONDS}", *_runs(runs, seconds)]
        log, _ = self._run(index, f"m{index}_in", flags)
        return log.block(self._clock_khz)

    def state(self) -> DeviceState:
        """Thermal status and temperatures (Android 10 and later), clocks, governors, battery."""
        return parse_state(self._shell(STATE_COMMAND).text)

    @property
    def _client(self) -> Adb:
        if self._adb is None:
            raise DeviceError(f"{self.name} is not connected: use it as a context manager")
        return self._adb

    def _prepare(self) -> None:
        adb = self._adb = Adb(choose_device(self._serial))
        answer = adb.shell(f"mkdir -p {quote(self._folder)}")
        if answer.code:
            raise DeviceError(_device_text(adb.serial, answer))
        self._facts = parse_facts(self._shell(FACTS_COMMAND).text)
        self.threads, self.cpus = pick_cores(self._facts["top_khz"], self._wanted)
        tool = ensure_benchmark_tool(self._tool, self._facts["abi"])
        digest = hashlib.sha256(tool.read_bytes()).hexdigest()
        self._push(tool, _TOOL)
        self._shell(f"chmod 755 {_TOOL}", must=True)
        if self._delegate.library is not None:
            self._push(self._delegate.library, "delegate.so")
        self._facts |= {"serial": adb.serial, "benchmark_model": f"benchmark_model {digest[:12]}"}
        self._facts |= {"delegate": str(self._delegate), "mask": mask_text(self.cpus) if self.cpus else None}

    def _leave(self) -> None:
        """Kill and remove. A phone that is gone cannot be tidied: the user must hear of the failure before."""
        if self._adb is None:
            return
        with contextlib.suppress(DeviceError):
            self._stop_tool()
            self._adb.shell(f"rm -rf {quote(self._folder)}")
        self._adb = None

    def _stop_tool(self) -> None:
        pid = f"{quote(self._folder)}/pid"
        self._client.shell(f"test -f {pid} && kill -9 $(cat {pid})")

    def _run(self, index: int, feeds: str, flags: Sequence[str]) -> tuple[BenchmarkLog, str]:
        """One process of the tool on a file; its log and its command line."""
        file = self._files[index]
        names = [f"in{i}" for i in range(len(file.inputs))]
        line = " ".join(
            [
                *((f"taskset {mask_text(self.cpus)}",) if self.cpus else ()),
                f"./{_TOOL} --graph={file.remote} --num_threads={self.threads}",
                f"--input_layer={','.join(names)}",
                f"--input_layer_shape={':'.join(','.join(map(str, spec.shape)) for spec in file.inputs)}",
                f"--input_layer_value_files={','.join(f'{name}:{feeds}{i}.bin' for i, name in enumerate(names))}",
                *self._delegate.flags("delegate.so"),
                f"--max_secs={self._timeout_s / 3:g}",
                *flags,
            ]
        )
        clocks = " ".join(f"{_CPU_FOLDER}/cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in self.cpus)
        command = f"sh -c {quote(f'echo $$ > pid; exec {line} 2>&1')}"
        reading = f"; RC=$?; rm -f pid; echo {_CLOCKS}; {f'cat {clocks} 2>/dev/null; ' if clocks else ''}exit $RC"
        try:
            answer = self._shell(command + reading, timeout_s=self._timeout_s)
        except TimedOutError:
            with contextlib.suppress(DeviceError):
                self._stop_tool()
            raise
        text, found, told = answer.text.rpartition(f"{_CLOCKS}\n")
        if not found:  # the shell itself was killed
            text, told = answer.text, ""
        khz = [int(word) for word in told.split() if re.fullmatch("[0-9]{1,9}", word)]
        self._clock_khz = min(khz) if khz else None
        if answer.code:
            raise DeviceError(failure_text(text, str(file.path), str(self._delegate)))
        log = read_log(text)
        if log.delegation is not None:  # called by the name that the user knows
            log = replace(log, delegation=replace(log.delegation, name=self._delegate.label))
        return log, line

    def _bring(self, feeds: Feeds, stem: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for i, values in enumerate(feeds):
                local = Path(folder) / f"{i}.bin"
                local.write_bytes(np.ascontiguousarray(values).tobytes())
                self._push(local, f"{stem}{i}.bin")

    def _push(self, local: Path, name: str) -> None:
        self._client.push(local, f"{self._folder}/{name}")

    def _shell(self, command: str, *, timeout_s: float | None = None, must: bool = False) -> Answer:
        answer = self._client.shell(f"cd {quote(self._folder)} && {{ {command}\n}}", timeout_s)
        if must and answer.code:
            raise DeviceError(_device_text(self._client.serial, answer))
        return answer


def _runs(runs: int, seconds: float = 0.0) -> list[str]:
    return [f"--num_runs={runs}", f"--min_secs={seconds:g}"]


def _device_text(serial: str, answer: Answer) -> str:
    if "No space left" in answer.text:
        return f"device {clean(serial)} has no room left: delete files there"
    return f"device {clean(serial)} refuses: {clean(answer.text)}"


def _split(data: bytes, file: _File) -> list[Array]:
    """The outputs, which the tool writes one after the other. Raises DeviceError for another number of bytes."""
    sizes = [spec.dtype.itemsize * int(np.prod(spec.shape)) for spec in file.outputs]
    if len(data) != sum(sizes):
        raise DeviceError(
            f"{file.path}: the device's outputs have {len(data)} bytes, not {sum(sizes)}: is it the same file?"
        )
    found, start = [], 0
    for spec, size in zip(file.outputs, sizes, strict=True):
        found.append(np.frombuffer(data[start : start + size], spec.dtype).reshape(spec.shape))
        start += size
    return found

"""What a device profile holds; docs/devices.md explains each key. Unknown keys and unsafe values are refused."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator

from edgekit.passes.target import PRICES, STEPS, Coefficients, Target

Transport = Literal["host", "ssh", "adb", "vela", "none"]
Abi = Literal["x86_64", "aarch64", "armv7l", "arm64-v8a", "armeabi-v7a"]
Isa = Literal["neon", "fp16", "dotprod", "i8mm", "sve2"]
Rules = Literal["ethos_u", "gpu_delegate", "nnapi", "edge_tpu", "qualcomm_htp"]
Format = Literal["tflite", "onnx"]
Precision = Literal["float32", "float16", "int8"]

Positive = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,39}$")]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\[][A-Za-z0-9._:%\[\]-]{0,252}$")]
UserName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9._-]{0,63}$")]
Serial = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
"""Address parts are taken into command lines: none begins with a dash or holds blanks, quotes or other shell signs."""
Text = Annotated[str, Field(min_length=1, max_length=2000)]


class Strict(BaseModel):
    """Base of all parts: frozen, no unknown keys, no silent conversions, no infinities."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Reach(Strict):
    """Where the device is: host, user and port for ssh, serial for adb.

    What is left out comes from ssh's own configuration, or is the one phone that adb sees. The command line and
    variables such as EDGEKIT_PI5_HOST go before the file.
    """

    host: HostName | None = None
    user: UserName | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    serial: Serial | None = None


class Programs(Strict):
    """What runs models there.

    python: the interpreter on the device, by absolute path or one below the home folder (~/). benchmark_model: the file
    on this machine that is pushed to the device. folder: the device's folder for what is copied there.
    """

    python: Text | None = None
    benchmark_model: Text | None = None
    folder: Text | None = None

    @field_validator("python", "folder")
    @classmethod
    def _is_a_plain_path(cls, value: str | None) -> str | None:
        if value is not None:
            path = PurePosixPath(value.removeprefix("~/"))
            rooted = value.startswith("~/") or path.is_absolute()
            if not rooted or ".." in path.parts or any(ord(sign) < 32 for sign in value):
                raise ValueError(f"{value!r} is neither an absolute path nor one that begins with ~/")
        return value


class PeakMacs(Strict):
    """Multiply-adds per cycle of one core."""

    float32: Positive
    int8: Positive


class Cluster(Strict):
    """Equal cores. count: how many; cpus: their numbers in the system, where they are known; ghz: top clock rate."""

    core: Text
    count: Annotated[int, Field(ge=1, le=64)]
    cpus: tuple[Annotated[int, Field(ge=0, le=63)], ...] = ()
    ghz: Positive | None = None
    macs_per_cycle: PeakMacs | None = None

    @model_validator(mode="after")
    def _numbers_every_core(self) -> Cluster:
        if self.cpus and len(self.cpus) != self.count:
            raise ValueError(f"{self.count} cores cannot be CPUs {', '.join(map(str, self.cpus))}")
        return self

    @property
    def mask(self) -> int:
        """For `taskset`: bit n is CPU n; 0 where the numbers are not known."""
        return sum(1 << cpu for cpu in self.cpus)


class Cpu(Strict):
    """clusters: from the slowest to the fastest; empty where they are found on the device. isa: of all of them."""

    clusters: tuple[Cluster, ...] = ()
    isa: tuple[Isa, ...] = ()
    bandwidth_gb_s: Positive | None = None

    @model_validator(mode="after")
    def _is_in_order(self) -> Cpu:
        cpus = [cpu for cluster in self.clusters for cpu in cluster.cpus]
        if len(cpus) != len(set(cpus)):
            raise ValueError("a CPU is listed in two clusters")
        clocks = [cluster.ghz for cluster in self.clusters if cluster.ghz is not None]
        if clocks != sorted(clocks):
            raise ValueError("clusters are not listed from the slowest to the fastest")
        return self

    @property
    def fastest(self) -> tuple[int, ...]:
        """CPUs of the fastest cluster: one thread runs there. () where their numbers are not known."""
        return self.clusters[-1].cpus if self.clusters else ()

    @property
    def big(self) -> tuple[int, ...]:
        """CPUs for many threads: the fastest cluster if it has exactly two cores, else all but the slowest cluster.

        TFLite's own rule. () where numbers are not known: then they are found on the device.
        """
        if not all(cluster.cpus for cluster in self.clusters):
            return ()
        chosen = self.clusters[1:] if len(self.clusters) > 1 and len(self.fastest) != 2 else self.clusters[-1:]
        return tuple(cpu for cluster in chosen for cpu in cluster.cpus)


class Accelerator(Strict):
    """What the accelerator takes.

    rules: the rule set that checks a model. config, system_config, memory_mode: names for Vela. macs: multiply-adds per
    cycle. max_rank: the most dimensions of a tensor; static_batch: batch 1 only; precisions: of activations;
    channel_multiple: channel counts that run best.
    """

    rules: Rules
    config: Text | None = None
    system_config: Text | None = None
    memory_mode: Text | None = None
    macs: Annotated[int, Field(gt=0)] | None = None
    max_rank: Annotated[int, Field(ge=1, le=8)] | None = None
    static_batch: bool = False
    precisions: tuple[Precision, ...] = ()
    channel_multiple: Annotated[int, Field(ge=1)] | None = None
    notes: tuple[Text, ...] = ()


class Reference(Strict):
    """A latency that others have published, to print beside measurements."""

    model: Name
    precision: Precision
    processor: Literal["cpu", "gpu", "nnapi", "npu"] = "cpu"
    threads: Annotated[int, Field(ge=1)] | None = None
    ms: Positive
    estimated: bool = False
    source: Text


Prices: Any = create_model(
    "Prices",
    __base__=Strict,
    __doc__="Cost-model coefficients of one precision, as `edgekit devices calibrate` measures them.",
    **{name: (Annotated[float, Field(ge=0)], ...) for name in PRICES},
    **{name: (Annotated[int, Field(ge=1, le=256)], ...) for name in STEPS},  # type: ignore[call-overload]
)


class TargetPrices(Strict):
    """Of one runtime. concat_inputs: the most inputs of one concat that it runs fast."""

    float32: Prices
    int8: Prices
    concat_inputs: Annotated[int, Field(ge=2)]

    def target(self, name: str) -> Target:
        """As fusion takes it."""
        both = {part: Coefficients(**getattr(self, part).model_dump()) for part in ("float32", "int8")}
        return Target(name, concat_inputs=self.concat_inputs, **both)


class Measured(Strict):
    """Cost-model coefficients by file format; a format without its own takes the defaults."""

    tflite: TargetPrices | None = None
    onnx: TargetPrices | None = None

    def targets(self, device: str) -> dict[str, Target]:
        """By file format, those that are there."""
        both = {"tflite": self.tflite, "onnx": self.onnx}
        return {fmt: prices.target(f"{fmt} on {device}") for fmt, prices in both.items() if prices is not None}


class Profile(Strict):
    """A device. name: its file's name without .yaml. soc: what the device says of itself (ro.soc.model, device tree).

    emulated: it runs under an emulator, so that no time taken on it is a latency.
    """

    name: Name
    title: Text
    kind: Literal["computer", "board", "phone", "accelerator"]
    transport: Transport
    emulated: bool = False
    abi: Abi | None = None
    soc: tuple[Text, ...] = ()
    reach: Reach = Reach()
    programs: Programs = Programs()
    cpu: Cpu = Cpu()
    accelerator: Accelerator | None = None
    references: tuple[Reference, ...] = ()
    coefficients: Measured = Measured()
    notes: tuple[Text, ...] = ()
    sources: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _fits_its_transport(self) -> Profile:
        reach = self.reach.model_dump(exclude_none=True)
        allowed = {"ssh": {"host", "user", "port"}, "adb": {"serial"}}.get(self.transport, set())
        wrong = sorted(set(reach) - allowed)
        if wrong:
            raise ValueError(f"reach.{wrong[0]} means nothing to transport {self.transport}")
        if self.transport in ("vela", "none") and self.accelerator is None:
            raise ValueError(f"transport {self.transport} is for accelerators: give an accelerator")
        if self.transport == "vela" and self.accelerator is not None and self.accelerator.config is None:
            raise ValueError("transport vela needs accelerator.config")
        return self

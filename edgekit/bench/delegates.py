"""Which of TFLite's delegates a phone is asked to use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from edgekit.bench.device import Delegation
from edgekit.errors import DeviceError

LABELS = {"xnnpack": "XNNPACK", "cpu": "TFLite's own kernels", "gpu": "GPU", "nnapi": "NNAPI", "external": "external"}


@dataclass(frozen=True, slots=True)
class DelegateChoice:
    """kind: a key of LABELS. accelerator: NNAPI's name of one; library: the external delegate's local .so file."""

    kind: str
    accelerator: str | None = None
    library: Path | None = None

    @classmethod
    def parse(cls, text: str) -> DelegateChoice:
        """`xnnpack`, `cpu`, `gpu`, `nnapi`, `nnapi:NAME` or `external:PATH`. Raises DeviceError for anything else."""
        kind, _, rest = text.partition(":")
        if kind == "nnapi":
            return cls(kind, accelerator=rest or None)
        if kind == "external" and rest:
            library = Path(rest)
            if not library.is_file():
                raise DeviceError(f"--delegate {text}: there is no file {library}: give the delegate's .so file")
            return cls(kind, library=library)
        if kind not in LABELS or kind == "external" or rest:
            raise DeviceError(
                f"--delegate {text!r} is none: xnnpack, cpu, gpu, nnapi, nnapi:ACCELERATOR, external:FILE.so"
            )
        return cls(kind)

    @property
    def label(self) -> str:
        """As reports call it."""
        if self.kind == "external" and self.library is not None:
            return self.library.name
        return f"NNAPI {self.accelerator}" if self.accelerator else LABELS[self.kind]

    def flags(self, remote_library: str) -> list[str]:
        """For benchmark_model's command line, quoted; `remote_library` is where the external delegate lies there."""
        if self.kind == "gpu":
            return ["--use_gpu=true"]
        if self.kind == "nnapi":
            name = [f"--nnapi_accelerator_name={quote(self.accelerator)}"] if self.accelerator else []
            return ["--use_nnapi=true", *name]
        if self.kind == "external":
            return [f"--external_delegate_path={remote_library}"]
        return [f"--use_xnnpack={'true' if self.kind == 'xnnpack' else 'false'}"]

    def __str__(self) -> str:
        tail = self.accelerator or (self.library.name if self.library else None)
        return f"{self.kind}:{tail}" if tail else self.kind


def describe(delegation: Delegation | None) -> str:
    """What a file runs on, in a few words: an accelerator is named only where it took the file completely."""
    if delegation is None:
        return "not told"
    if delegation.complete:
        return delegation.name
    if not delegation.partitions:
        return f"CPU ({delegation.name} took nothing)"
    share = "part"
    if delegation.delegated is not None and delegation.total:
        share = f"{delegation.delegated} of {delegation.total} ops"
    pieces = f"{delegation.partitions} piece{'s' if delegation.partitions > 1 else ''}"
    return f"CPU and {delegation.name} ({share} in {pieces})"

"""What a measurement says, with everything that is needed to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgekit.bench.block import Block
from edgekit.bench.check import Check
from edgekit.bench.device import DeviceState, Opened
from edgekit.bench.protocol import Plan
from edgekit.bench.stats import Ratio, Summary

FORMAT = "edgekit-bench-1"


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of one file on the device: the time of the runtime's call alone, inputs in place and outputs not read.

    `complete` says whether the plan's runs and seconds were reached; `problems` why the numbers cannot be trusted.
    `check` is None on this machine itself, and where the user asked for none. `ratio` is to the first file; None for
    the first file itself.
    """

    path: str
    sha256: str
    file_bytes: int
    opened: Opened
    check: Check | None
    summary: Summary
    complete: bool
    problems: tuple[str, ...]
    ratio: Ratio | None
    blocks: tuple[Block, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values, raw samples included."""
        return {
            "path": self.path,
            "sha256": self.sha256,
            "file_bytes": self.file_bytes,
            **asdict(self.opened),
            "check": self.check.to_json() if self.check else None,
            "summary": asdict(self.summary),
            "complete": self.complete,
            "problems": list(self.problems),
            "ratio": self.ratio.to_json() if self.ratio else None,
            "blocks": [block.to_json() for block in self.blocks],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A device's files measured side by side.

    states: the device's before, between and after the rounds. problems: of the device, which touch every file; failure:
    what broke the measurement off, None where it went to its end. made: when, in UTC. versions: of edgekit and this
    machine's Python and numpy.
    """

    device: str
    transport: str
    emulated: bool
    facts: Mapping[str, Any]
    threads: int
    cpus: tuple[int, ...]
    plan: Plan
    states: tuple[DeviceState, ...]
    problems: tuple[str, ...]
    files: tuple[Latency, ...]
    made: str
    versions: Mapping[str, str]
    failure: str | None = None
    command: tuple[str, ...] = field(default=())

    @property
    def valid(self) -> bool:
        """Whether nothing speaks against the numbers."""
        own = any(file.problems for file in self.files)
        return not (self.problems or own or self.failure or self.emulated)

    def verdict(self, file: Latency) -> str:
        """Whether a file is faster than the first; nothing is ranked by numbers that cannot be trusted."""
        if file.ratio is None:
            return "-"
        if self.problems or self.emulated or file.problems or self.files[0].problems:
            return "not ranked"
        return file.ratio.verdict

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {
            "format": FORMAT,
            "made": self.made,
            "command": list(self.command),
            "versions": dict(self.versions),
            "device": {
                "name": self.device,
                "transport": self.transport,
                "emulated": self.emulated,
                "facts": dict(self.facts),
                "threads": self.threads,
                "cpus": list(self.cpus),
                "states": [state.to_json() for state in self.states],
            },
            "plan": asdict(self.plan),
            "valid": self.valid,
            "problems": list(self.problems),
            "failure": self.failure,
            "files": [{**file.to_json(), "verdict": self.verdict(file)} for file in self.files],
        }

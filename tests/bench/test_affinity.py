"""Pinning, where the system lets us."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit.bench.affinity import pinned, top_frequencies
from edgekit.bench.masks import fastest


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system cannot pin")
def test_pinned_for_the_block_only() -> None:
    before = os.sched_getaffinity(0)
    with pinned(1) as cpus:
        assert len(cpus) == 1
        assert os.sched_getaffinity(0) == set(cpus) <= before
    assert os.sched_getaffinity(0) == before


def test_fastest_processors_come_first(tmp_path: Path) -> None:
    for cpu, khz in enumerate(("1800000", "1800000", "2800000", "broken")):
        folder = tmp_path / f"cpu{cpu}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "cpuinfo_max_freq").write_text(khz + "\n")
    top_khz = top_frequencies({0, 1, 2, 3, 4}, tmp_path)
    assert top_khz == {0: 1800000, 1: 1800000, 2: 2800000, 3: 0, 4: 0}
    assert fastest(top_khz, top_khz) == [2, 1, 0, 4, 3]


def test_a_system_that_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, cpus: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden, raising=False)
    with pinned(1) as cpus:
        assert cpus == ()


def test_a_system_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    with pinned(2) as cpus:
        assert cpus == ()

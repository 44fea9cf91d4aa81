"""Latency: a protocol that can be repeated, and numbers that say how sure they are."""

from __future__ import annotations

from edgekit.bench.host import Latency, bench_files
from edgekit.bench.stats import Ratio, Summary

__all__ = ["Latency", "Ratio", "Summary", "bench_files"]

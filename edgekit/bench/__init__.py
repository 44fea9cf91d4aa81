"""Latency: a protocol that can be repeated, and numbers that say how sure they are."""

from __future__ import annotations

from edgekit.bench.report import Latency, Report
from edgekit.bench.run import bench_files, bench_on
from edgekit.bench.stats import Ratio, Summary

__all__ = ["Latency", "Ratio", "Report", "Summary", "bench_files", "bench_on"]

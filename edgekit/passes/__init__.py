"""Rewrites of a float graph that keep what it computes: smaller, faster, and in ops that every target runs."""

from __future__ import annotations

from edgekit.passes.registry import PASSES, PassReport, PassRow, apply_passes
from edgekit.passes.store_half import store_half

__all__ = ["PASSES", "PassReport", "PassRow", "apply_passes", "store_half"]

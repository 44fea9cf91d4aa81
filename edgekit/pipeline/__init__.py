"""Whole jobs: one call each, what the commands do."""

"""Readers of other people's files: models and weights."""

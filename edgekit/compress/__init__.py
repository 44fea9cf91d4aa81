"""Weights in few bytes: codebooks, entropy coders and the `.ekz` container."""

"""edgekit puts small convolutional networks on real devices."""

from __future__ import annotations

__version__ = "0.1.0"

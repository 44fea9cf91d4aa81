"""How large data are once they are packed."""

from __future__ import annotations

import zlib


def deflated_size(data: bytes) -> int:
    """Bytes of `data` deflated, as a zip archive or an APK stores it."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return len(deflater.compress(data)) + len(deflater.flush())

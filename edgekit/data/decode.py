"""Bytes of a picture file to an upright picture in memory, or a DataError that says why not."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import TYPE_CHECKING

import numpy as np

from edgekit.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What is read, whatever a file is called. (EPS, for one, would start a program.)"""
EXIF_ORIENTATION = 0x0112
DAMAGE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What Pillow's readers raise for damaged files."""


def decode_image(data: bytes) -> Image.Image:
    """The picture in a file's bytes, turned upright by its EXIF orientation; the first frame of an animation.

    Raises DataError, with the reason alone, for bytes that are no picture, are cut short, or unpack to more pixels
    than Pillow's limit against decompression bombs.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            image.load()
        except UnidentifiedImageError as error:
            raise DataError(f"no picture in any of {', '.join(FORMATS)}") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DataError(f"more than {Image.MAX_IMAGE_PIXELS} pixels") from error
        except DAMAGE as error:
            raise DataError(f"damaged ({_one_line(error)})") from error
        return _upright(image)


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """The picture in mode RGB (3 channels) or L (1 channel), 8 bits each; transparency is dropped.

    Raises DataError for modes without an 8-bit meaning (floating point) or without a conversion in Pillow.
    """
    mode = "RGB" if channels == 3 else "L"
    if image.mode == mode:
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bits(image).convert(mode)
    if image.mode == "F":
        raise DataError("holds floating-point pixels; save it with 8 bits a channel")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    try:
        return image.convert(mode)
    except ValueError as error:
        raise DataError(f"cannot be converted from mode {image.mode} to {mode}") from error


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits to grey of 8 bits. Pillow's own conversion would clip at 255."""
    from PIL import Image

    grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8))


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation asks; unreadable EXIF data turns nothing."""
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(image.getexif().get(EXIF_ORIENTATION, 1))
    except DAMAGE:
        return image
    return image if turn is None else image.transpose(turn)


def _one_line(error: BaseException) -> str:
    """The error's own words on one line; its type where it has none."""
    return " ".join(str(error).split())[:120] or type(error).__name__

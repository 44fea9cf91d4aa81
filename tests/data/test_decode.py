"""Decoding against Pillow: turns, modes, damage."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgekit.data.decode import decode_image, with_channels
from edgekit.errors import DataError


def small_photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (12, 20, 3), np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("orientation", range(1, 10))
def test_exif_orientation_is_pillows(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(small_photo(), "JPEG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(np.asarray(decode_image(data)), np.asarray(expected))


def test_broken_exif_data_turns_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(small_photo(), "JPEG", exif=exif)
    start = data.index(b"Exif\0\0") + 6
    broken = data[:start] + b"\xff" * 12 + data[start + 12 :]
    assert decode_image(data).size == (12, 20)
    assert decode_image(broken).size == (20, 12)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_their_pixels(kind: str) -> None:
    image = small_photo()
    np.testing.assert_array_equal(np.asarray(decode_image(encoded(image, kind))), np.asarray(image))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_truncated_file(kind: str) -> None:
    data = encoded(small_photo(), kind)
    with pytest.raises(DataError, match=r"damaged|no picture"):
        decode_image(data[: len(data) * 2 // 3])


def test_bytes_that_are_no_picture() -> None:
    with pytest.raises(DataError, match="no picture in any of JPEG, PNG"):
        decode_image(b"hello")


def test_formats_that_start_programs_are_not_read() -> None:
    with pytest.raises(DataError, match="no picture"):
        decode_image(encoded(small_photo(), "EPS"))


@pytest.mark.parametrize("limit", [200, 50])
def test_decompression_bomb(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """240 pixels: a warning of Pillow above the limit, an error above twice the limit."""
    data = encoded(small_photo())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=f"more than {limit} pixels"):
        decode_image(data)


def test_mutated_files_decode_or_say_why_in_one_line() -> None:
    generator = random.Random(3)
    reasons = []
    for kind in ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP"):
        whole = encoded(small_photo(), kind)
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(generator.choice([1, 4, 16])):
                data[generator.randrange(len(data))] = generator.randrange(256)
            try:
                with_channels(decode_image(bytes(data)), 3)
            except DataError as error:
                reasons.append(str(error))
    assert 100 < len(reasons) < 900
    assert not any("\n" in reason for reason in reasons)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "HSV"])
@pytest.mark.parametrize(("channels", "target"), [(1, "L"), (3, "RGB")])
def test_modes_convert_as_in_pillow(mode: str, channels: int, target: str) -> None:
    image = small_photo().convert("L" if mode == "LA" else "RGB").convert(mode)
    converted = with_channels(image, channels)
    assert converted.mode == target
    np.testing.assert_array_equal(np.asarray(converted), np.asarray(image.convert(target)))


def test_palette_with_transparency_keeps_its_colours() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    data = encoded(image, "PNG", transparency=b"\x00\xff")
    converted = with_channels(decode_image(data), 3)
    assert np.asarray(converted).tolist() == [[[10, 20, 30], [200, 100, 50]]]


def grey_16_png() -> Image.Image:
    return decode_image(encoded(Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16))))


def grey_32() -> Image.Image:
    return Image.fromarray(np.array([[-5, 257, 32896, 70000]], np.int32))


@pytest.mark.parametrize("make", [grey_16_png, grey_32])
def test_16_bits_are_scaled_not_clipped(make: Callable[[], Image.Image]) -> None:
    assert np.asarray(with_channels(make(), 1)).tolist() == [[0, 1, 128, 255]]
    assert np.asarray(with_channels(make(), 3)).tolist() == [[[v] * 3 for v in (0, 1, 128, 255)]]


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(DataError, match="floating-point pixels; save it with 8 bits"):
        with_channels(Image.new("F", (2, 2)), 3)


def test_modes_without_a_conversion_are_refused() -> None:
    with pytest.raises(DataError, match="cannot be converted from mode La to RGB"):
        with_channels(Image.new("La", (2, 2)), 3)

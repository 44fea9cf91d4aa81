"""Preprocessing against Pillow and hand-written numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgekit.data.preprocess import CAFFE, KERAS_TF, PRESETS, TORCH, Preprocessing
from edgekit.errors import DataError

GREY = Preprocessing(height=4, width=4, mean=(0.0,), std=(255.0,))


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def flat(colour: tuple[int, int, int], width: int = 300, height: int = 280) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def finite(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


@st.composite
def preprocessings(draw: st.DrawFn) -> Preprocessing:
    height, width = draw(st.integers(1, 64)), draw(st.integers(1, 64))
    channels = draw(st.sampled_from([1, 3]))
    crop = draw(st.booleans())
    return Preprocessing(
        height=height,
        width=width,
        mean=tuple(draw(st.lists(finite(-300, 300), min_size=channels, max_size=channels))),
        std=tuple(draw(st.lists(finite(1e-3, 300), min_size=channels, max_size=channels))),
        resize="crop" if crop else "stretch",
        short_side=max(height, width) + draw(st.integers(0, 32)) if crop else None,
        channel_order=draw(st.sampled_from(["rgb", "bgr"])),
        interpolation=draw(st.sampled_from(["bilinear", "bicubic"])),
    )


@given(preprocessings())
def test_metadata_survives_json(preprocessing: Preprocessing) -> None:
    assert Preprocessing.from_metadata(json.loads(json.dumps(preprocessing.to_metadata()))) == preprocessing


@given(preprocessings(), st.integers(1, 90), st.integers(1, 90), st.integers(0, 9))
def test_output_has_the_input_shape_and_stays_in_the_value_range(
    preprocessing: Preprocessing, width: int, height: int, seed: int
) -> None:
    array = preprocessing.apply(photo(width, height, seed))
    low, high = preprocessing.value_range()
    assert array.shape == preprocessing.input_shape
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert low <= array.min()
    assert array.max() <= high


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("keras_tf", [(10 - 127.5) / 127.5, (20 - 127.5) / 127.5, (200 - 127.5) / 127.5]),
        ("torch", [(10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (200 / 255 - 0.406) / 0.225]),
        ("caffe", [200 - 104, 20 - 117, 10 - 123]),
    ],
)
def test_preset_of_a_flat_colour(preset: str, expected: list[float]) -> None:
    array = PRESETS[preset].apply(flat((10, 20, 200)))
    np.testing.assert_allclose(array, np.broadcast_to(np.float32(expected), array.shape), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("interpolation", "resample"),
    [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)],
)
def test_stretch_is_pillows_resize(interpolation: str, resample: Image.Resampling) -> None:
    image = photo(61, 47)
    array = KERAS_TF.with_size(32, 40)
    expected = np.asarray(image.resize((40, 32), resample), np.float32)
    found = replace(array, interpolation=interpolation).apply(image)
    np.testing.assert_array_equal(found[0], (expected - np.float32(127.5)) / np.float32(127.5))


@pytest.mark.parametrize(
    ("size", "scaled", "corner"),
    [((61, 47), (41, 32), (6, 2)), ((47, 61), (32, 41), (2, 6)), ((32, 32), (32, 32), (2, 2))],
)
def test_crop_takes_the_centre_of_the_resized_picture(
    size: tuple[int, int], scaled: tuple[int, int], corner: tuple[int, int]
) -> None:
    image = photo(*size)
    preprocessing = Preprocessing(
        height=28, width=28, mean=(0.0,) * 3, std=(1.0,) * 3, resize="crop", short_side=32, channel_order="bgr"
    )
    whole = np.asarray(image.resize(scaled, Image.Resampling.BILINEAR))
    left, top = corner
    expected = whole[top : top + 28, left : left + 28, ::-1]
    np.testing.assert_array_equal(preprocessing.apply(image)[0], expected.astype(np.float32))


def test_grey_network_takes_luma() -> None:
    array = GREY.apply(flat((255, 0, 0)))
    assert array.shape == (1, 4, 4, 1)
    np.testing.assert_array_equal(array, np.float32(76) / np.float32(255))  # 0.299 * 255


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        (KERAS_TF, (-1.0, 1.0)),
        (CAFFE, (-123.0, 151.0)),
        (TORCH, (-123.675 / 58.395, (255 - 103.53) / 57.375)),
        (GREY, (0.0, 1.0)),
    ],
)
def test_value_range(preprocessing: Preprocessing, expected: tuple[float, float]) -> None:
    assert preprocessing.value_range() == pytest.approx(expected, rel=1e-6)


def test_value_range_is_reached() -> None:
    for preprocessing in PRESETS.values():
        black, white = (preprocessing.apply(flat((v, v, v))) for v in (0, 255))
        assert preprocessing.value_range() == (black.min(), white.max())


def test_with_size_keeps_the_view() -> None:
    assert TORCH.with_size(112, 112) == replace(TORCH, height=112, width=112, short_side=128)
    assert KERAS_TF.with_size(96, 64) == replace(KERAS_TF, height=96, width=64)
    assert CAFFE.with_size(227, 227) == CAFFE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "size 0x224: both must be at least 1"),
        ({"width": -3}, "size 224x-3: both must be at least 1"),
        ({"resize": "squeeze"}, "resize 'squeeze' is none of stretch, crop"),
        ({"channel_order": "gbr"}, "channel_order 'gbr' is none of rgb, bgr"),
        ({"interpolation": "nearest"}, "interpolation 'nearest' is none of bilinear, bicubic"),
        ({"short_side": 256}, "short_side is for resize 'crop'"),
        ({"resize": "crop"}, "short_side None: resize 'crop' needs at least 224"),
        ({"resize": "crop", "short_side": 223}, "short_side 223: resize 'crop' needs at least 224"),
        ({"mean": (0.0, 0.0)}, "2 means and 3 standard deviations"),
        ({"mean": (), "std": ()}, "0 means and 0 standard deviations"),
        ({"mean": (0.0, float("nan"), 0.0)}, "mean .* must be finite"),
        ({"std": (1.0, 0.0, 1.0)}, "std .* must be positive and finite"),
        ({"std": (1.0, float("inf"), 1.0)}, "std .* must be positive and finite"),
    ],
)
def test_settings_without_sense_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        replace(KERAS_TF, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "rgb"}, "unknown key 'colour'; it takes height, width"),
        ({"height": 224.0}, "height is 224.0; it must be an integer"),
        ({"width": True}, "width is True; it must be an integer"),
        ({"short_side": "256"}, "short_side is '256'; it must be an integer"),
        ({"resize": 1}, "resize is 1; it must be a string"),
        ({"mean": 127.5}, "mean is 127.5; it must be a list of numbers"),
        ({"mean": "abc"}, "mean is 'abc'; it must be a list of numbers"),
        ({"std": [1, True, 1]}, r"std is \[1, True, 1\]; it must be a list of numbers"),
        ({"std": [1, None, 1]}, r"std is \[1, None, 1\]; it must be a list of numbers"),
    ],
)
def test_foreign_metadata_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Preprocessing.from_metadata({**KERAS_TF.to_metadata(), **change})


def test_missing_metadata_is_refused() -> None:
    metadata = KERAS_TF.to_metadata()
    del metadata["std"]
    with pytest.raises(DataError, match="lacks key 'std'"):
        Preprocessing.from_metadata(metadata)


def test_strip_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(DataError, match="1x4000 pixels: too narrow to bring the short side to 256"):
        TORCH.apply(Image.new("RGB", (1, 4000)))

"""Synthetic images: determinism and the statistics that they are made for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.data.preprocess import KERAS_TF, Preprocessing
from edgekit.data.synthetic import FIELD_SIDE, SIDE, SyntheticSource, make_image, noise_field
from edgekit.errors import DataError

SMALL = KERAS_TF.with_size(32, 32)
RAW = Preprocessing(height=SIDE, width=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3)


@pytest.fixture(scope="module")
def images() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """60 images, float32 (60, SIDE, SIDE, 3) in 0..255."""
    return np.concatenate([sample.array for sample in SyntheticSource(3).samples(RAW, 60)])


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**63), st.integers(1, 4))
def test_seed_decides_everything(seed: int, count: int) -> None:
    first, second = SyntheticSource(seed), SyntheticSource(seed)
    pairs = list(zip(first.samples(SMALL, count), second.samples(SMALL, count + 1), strict=False))
    assert len(pairs) == count
    for one, other in pairs:
        assert (one.name, one.label) == (other.name, None)
        np.testing.assert_array_equal(one.array, other.array)
    other_seed = next(iter(SyntheticSource(seed + 1).samples(SMALL, 1)))
    assert (pairs[0][0].array != other_seed.array).any()


def test_the_same_pass_twice_has_the_same_hash() -> None:
    source = SyntheticSource(5)
    hashes = []
    for _ in range(2):
        for _ in source.samples(SMALL, 3):
            pass
        hashes.append(source.describe()["sha256"])
    assert hashes[0] == hashes[1]
    assert source.describe()["used"] == 3


def test_count_and_description() -> None:
    source = SyntheticSource(7)
    assert len(source) == 100
    assert source.name == "synthetic:7"
    assert source.skipped == []
    assert source.describe() == {
        "kind": "synthetic",
        "seed": 7,
        "count": 100,
        "used": 0,
        "skipped": 0,
        "skipped_first": [],
        "sha256": None,
    }
    assert sum(1 for _ in source.samples(SMALL)) == 100
    assert sum(1 for _ in source.samples(SMALL, 103)) == 103


def test_limit_below_one() -> None:
    with pytest.raises(DataError, match="a limit of 0 samples"):
        SyntheticSource().samples(SMALL, 0)


def test_image_is_uint8_of_the_given_size() -> None:
    image = make_image(np.random.default_rng(0), noise_field(np.random.default_rng(1)))
    assert image.shape == (SIDE, SIDE, 3)
    assert image.dtype == np.uint8


def test_pixels_cover_the_range(images: np.ndarray) -> None:
    """Photographs with a short side of 256 have 2.5 % of pixels below 5, 3.5 % above 250, and no eighth below 8 %."""
    shares = np.histogram(images, bins=8, range=(0, 256))[0] / images.size
    assert shares.min() > 0.06
    assert shares.max() < 0.22
    assert 0.01 < (images < 5).mean() < 0.08
    assert 0.01 < (images > 250).mean() < 0.08


def test_images_differ_in_brightness_and_contrast(images: np.ndarray) -> None:
    assert 25 < images.mean(axis=(1, 2, 3)).std() < 40
    contrasts = images.std(axis=(1, 2, 3))
    assert contrasts.min() < 40
    assert contrasts.max() > 70


def test_channels_are_correlated_as_in_photographs(images: np.ndarray) -> None:
    """Principal axes within photographs: luminance 100, red-blue 24, green-magenta 12."""
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    deviations = np.sqrt(np.linalg.eigvalsh(np.cov(centred.reshape(-1, 3).T)))
    np.testing.assert_allclose(deviations, [11.6, 24.3, 100.4], rtol=0.2)


def test_spectrum_falls_as_in_photographs(images: np.ndarray) -> None:
    """The mean amplitude falls as 1 / frequency^1.26 between 2 and 120 cycles an image in photographs."""
    window = np.outer(np.hanning(SIDE), np.hanning(SIDE))
    luminance = images.mean(axis=3)
    luminance -= luminance.mean(axis=(1, 2), keepdims=True)
    amplitude = np.abs(np.fft.fft2(luminance * window)).mean(axis=0)
    cycles = np.fft.fftfreq(SIDE) * SIDE
    rings = np.rint(np.hypot(cycles[:, None], cycles))
    frequencies = np.array([2, 4, 8, 16, 32, 64, 120])
    means = [amplitude[rings == frequency].mean() for frequency in frequencies]
    slope = np.polyfit(np.log(frequencies), np.log(means), 1)[0]
    assert slope == pytest.approx(-1.26, abs=0.12)


def test_edges_are_sharp(images: np.ndarray) -> None:
    """Differences of neighbours have the heavy tails of photographs (kurtosis 5 to 50), not those of noise (3)."""
    differences = np.diff(images.mean(axis=3), axis=2)
    kurtosis = (differences**4).mean(axis=(1, 2)) / (differences**2).mean(axis=(1, 2)) ** 2
    assert kurtosis.min() > 5
    assert np.median(kurtosis) < 50


def test_noise_field_is_normalized() -> None:
    field = noise_field(np.random.default_rng(0))
    assert field.shape == (3, FIELD_SIDE, FIELD_SIDE)
    assert field.dtype == np.float32
    np.testing.assert_allclose(field.mean(axis=(1, 2)), 0, atol=1e-5)
    assert field.mean(axis=0).std() == pytest.approx(1, abs=1e-4)

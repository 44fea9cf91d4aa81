"""Images with the statistics of photographs, made from a seed: for calibration where there are no photographs.

Two models of natural images, mixed: Gaussian noise whose amplitude falls as 1/f (D. Field, 1987, "Relations between
the statistics of natural images and the response properties of cortical cells") gives shading and texture, and dead
leaves, overlapping opaque shapes with sizes distributed as 1/r^3 (A. Lee, D. Mumford, J. Huang, 2001, "Occlusion models
for natural images"), give edges and flat regions. Colours, brightness and contrast are spread as they are measured
to be in ImageNet photographs with a short side of 256 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.data.preprocess import FloatArray, Preprocessing
from edgekit.data.samples import PassLog, Sample, check_limit

SIDE = 256
"""Images are made at this size, whatever the network's is, and preprocessed like photographs."""
DEFAULT_COUNT = 100
FIELD_SIDE = 512
"""One field of noise serves a whole pass; images take random windows of it."""
SPECTRUM_EXPONENT = 1.2
"""Amplitude falls as 1 / frequency to this power; 1.26 is measured on the same photographs, edges included."""
LEAVES = 110
LEAF_RADII = (6.0, 140.0)
"""The least and the greatest half axis, in pixels."""

SHADING = 0.5
"""Noise over the whole image, relative to the spread of the leaves' colours."""
ROUGHNESS = 0.35
"""Noise within a leaf: its mean, relative to the same; exponentially distributed, so that many leaves are smooth."""

COLOUR_AXES = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], np.float32) / np.sqrt([[3], [2], [6]], dtype=np.float32)
"""Luminance, red-blue and green-magenta: the principal axes of the colours of photographs."""
WITHIN_IMAGE = np.array([100.4, 24.3, 11.6], np.float32)
"""Standard deviations along these axes within an image."""
BETWEEN_IMAGES = np.array([54.3, 20.7, 10.9], np.float32)
"""Standard deviations along these axes of the mean colours of images."""
MEAN_COLOUR = np.array([125.4, 119.2, 106.6], np.float32)
CONTRAST, CONTRAST_SPREAD = 62.0, 0.3
"""Standard deviation of an image's pixels before they are clipped: the median, and how its logarithm is spread."""
ELLIPSE = np.exp(2j * np.pi * np.arange(24) / 24)
RECTANGLE = np.array([1 + 1j, 1 - 1j, -1 - 1j, -1 + 1j])
"""Outlines of leaves before they are stretched and turned, as complex numbers."""

Rng = np.random.Generator


class SyntheticSource:
    """An endless row of images: image i depends on the seed and on i alone.

    The same seed gives the same images wherever numpy gives the same numbers. Labels are None.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._log = PassLog()

    @property
    def name(self) -> str:
        """`synthetic:SEED`."""
        return f"synthetic:{self.seed}"

    @property
    def skipped(self) -> list[str]:
        """Always empty."""
        return self._log.skipped

    def __len__(self) -> int:
        """How many images a pass without a limit makes."""
        return DEFAULT_COUNT

    def describe(self) -> dict[str, Any]:
        """Kind, seed, number of images, and what the latest pass used (see `Source.describe`)."""
        return {"kind": "synthetic", "seed": self.seed, "count": len(self), **self._log.describe()}

    def samples(self, preprocessing: Preprocessing, limit: int | None = None) -> Iterator[Sample]:
        """Make the first `limit` images (any number; `len(self)` without a limit). Raises DataError below 1."""
        check_limit(limit)
        self._log = PassLog()
        return self._stream(preprocessing, len(self) if limit is None else limit, self._log)

    def _stream(self, preprocessing: Preprocessing, count: int, log: PassLog) -> Iterator[Sample]:
        from PIL import Image

        field = noise_field(np.random.default_rng([self.seed, 0]))
        for index in range(count):
            pixels = make_image(np.random.default_rng([self.seed, 1, index]), field)
            name = f"{self.name}[{index}]"
            log.use(name, pixels.data)
            yield Sample(preprocessing.apply(Image.fromarray(pixels)), None, name)


def noise_field(rng: Rng) -> FloatArray:
    """Colour noise with a falling spectrum, float32 (3, FIELD_SIDE, FIELD_SIDE).

    Mean 0; the luminance axis has standard deviation 1 and the two colour axes theirs in proportion.
    """
    rows = np.fft.fftfreq(FIELD_SIDE)[:, None]
    columns = np.fft.rfftfreq(FIELD_SIDE)
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    shape = (3, *frequency.shape)
    spectrum = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / frequency**SPECTRUM_EXPONENT
    planes = np.fft.irfft2(spectrum, s=(FIELD_SIDE, FIELD_SIDE))
    planes /= planes.std(axis=(1, 2), keepdims=True)
    mixed = np.einsum("aij,ac->cij", planes, _relative(WITHIN_IMAGE))
    return np.ascontiguousarray(mixed, np.float32)


def make_image(rng: Rng, field: FloatArray) -> npt.NDArray[np.uint8]:
    """One image, uint8 (SIDE, SIDE, 3), from a noise field."""
    leaves = _leaf_map(rng)
    colours = (rng.standard_normal((LEAVES + 1, 3)) @ _relative(WITHIN_IMAGE)).astype(np.float32)
    roughness = np.minimum(rng.exponential(ROUGHNESS, LEAVES + 1), 1.5).astype(np.float32)
    values = _window(rng, field) * roughness.take(leaves)
    for channel in range(3):
        values[channel] += colours[:, channel].take(leaves)
    values += _window(rng, field) * np.float32(SHADING)
    return _expose(rng, values)


def _relative(deviations: FloatArray) -> FloatArray:
    """Colour axes (3, 3) in proportion to their deviations; luminance alone gives each channel a deviation of 1."""
    scaled: FloatArray = COLOUR_AXES * (deviations * np.sqrt(3) / deviations[0])[:, None]
    return scaled


def _leaf_map(rng: Rng) -> npt.NDArray[np.uint8]:
    """Which leaf is on top at each pixel, uint8 (SIDE, SIDE); 0 where there is none.

    Leaves are ellipses (drawn as polygons) and rectangles, turned at random.
    """
    from PIL import Image, ImageDraw

    least, most = LEAF_RADII
    radii = (least**-2 - rng.random(LEAVES) * (least**-2 - most**-2)) ** -0.5
    across = radii * rng.uniform(0.4, 1.0, LEAVES)
    centres = rng.uniform(0, SIDE, (LEAVES, 2)) @ np.array([1, 1j])
    turns = np.exp(1j * rng.uniform(0, np.pi, LEAVES))
    outlines = [
        ((shape.real * radii[:, None] + 1j * shape.imag * across[:, None]) * turns[:, None] + centres[:, None])
        .view(np.float64)
        .tolist()
        for shape in (ELLIPSE, RECTANGLE)
    ]
    leaves = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(leaves)
    for index, kind in enumerate((rng.random(LEAVES) < 0.5).astype(int).tolist()):
        draw.polygon(outlines[kind][index], fill=index + 1)
    return np.asarray(leaves)


def _window(rng: Rng, field: FloatArray) -> FloatArray:
    """A random part of the field, float32 (3, SIDE, SIDE): a view, sometimes mirrored and turned."""
    top, left = rng.integers(0, FIELD_SIDE - SIDE, 2)
    window = field[:, top : top + SIDE, left : left + SIDE]
    mirror_rows, mirror_columns, turned = rng.random(3) < 0.5
    window = window[:, :: -1 if mirror_rows else 1, :: -1 if mirror_columns else 1]
    return window.swapaxes(1, 2) if turned else window


def _expose(rng: Rng, values: FloatArray) -> npt.NDArray[np.uint8]:
    """Values (3, SIDE, SIDE) of any scale to pixels (SIDE, SIDE, 3): brightness, colour cast and contrast at random."""
    coarse = values[:, ::4, ::4]
    contrast = CONTRAST * np.exp(CONTRAST_SPREAD * rng.standard_normal()) / coarse.std()
    brightness = MEAN_COLOUR + (rng.standard_normal(3) * BETWEEN_IMAGES).astype(np.float32) @ COLOUR_AXES
    offset = brightness - np.float32(contrast) * coarse.mean(axis=(1, 2))
    values *= np.float32(contrast)
    values += offset[:, None, None]
    pixels = np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))

"""How a picture becomes the array that a network takes: resize, channel order, mean and standard deviation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgekit.data.decode import with_channels
from edgekit.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

FloatArray = npt.NDArray[np.float32]

RESIZE_RULES = ("stretch", "crop")
CHANNEL_ORDERS = ("rgb", "bgr")
INTERPOLATIONS = ("bilinear", "bicubic")
MAX_RESIZED_PIXELS = 2**26
"""A strip whose short side is enlarged must not become a picture of gigabytes."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """out = (pixel - mean) / std with pixels in 0..255, for pictures brought to `height` x `width`.

    resize: "stretch" resizes to the size directly; "crop" resizes the short side to `short_side` and then cuts out the
    centre. channel_order, mean and std: mean and std have one value per channel, in that order: three, or one for a
    network that takes grey pictures. short_side is None for "stretch".
    Raises DataError for settings that make no sense.
    """

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "stretch"
    short_side: int | None = None
    channel_order: str = "rgb"
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise DataError(f"preprocessing size {self.height}x{self.width}: both must be at least 1")
        _check_choice("resize", self.resize, RESIZE_RULES)
        _check_choice("channel_order", self.channel_order, CHANNEL_ORDERS)
        _check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        self._check_short_side()
        self._check_statistics()

    def _check_short_side(self) -> None:
        if self.resize == "stretch":
            if self.short_side is not None:
                raise DataError("preprocessing short_side is for resize 'crop'; leave it out for 'stretch'")
        elif self.short_side is None or self.short_side < max(self.height, self.width):
            least = max(self.height, self.width)
            raise DataError(f"preprocessing short_side {self.short_side}: resize 'crop' needs at least {least}")

    def _check_statistics(self) -> None:
        if len(self.mean) not in (1, 3) or len(self.mean) != len(self.std):
            counts = f"{len(self.mean)} means and {len(self.std)} standard deviations"
            raise DataError(f"preprocessing has {counts}; give 3 of each, or 1 of each for grey pictures")
        if not all(math.isfinite(m) for m in self.mean):
            raise DataError(f"preprocessing mean {self.mean} must be finite")
        if not all(math.isfinite(s) and s > 0 for s in self.std):
            raise DataError(f"preprocessing std {self.std} must be positive and finite")

    @property
    def channels(self) -> int:
        """Channels of the network's input: 3, or 1 for grey pictures."""
        return len(self.mean)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of what `apply` returns: (1, height, width, channels)."""
        return (1, self.height, self.width, self.channels)

    def with_size(self, height: int, width: int) -> Preprocessing:
        """The same for another input size; `short_side` follows in proportion, so the view stays the same."""
        if self.short_side is None:
            return replace(self, height=height, width=width)
        ratio = max(height, width) / max(self.height, self.width)
        return replace(self, height=height, width=width, short_side=round(self.short_side * ratio))

    def apply(self, image: Image.Image) -> FloatArray:
        """The picture (any mode, any size) as float32 (1, height, width, channels).

        Raises DataError for pixels that have no 8-bit meaning and for strips too narrow to resize.
        """
        resized = self._resized(with_channels(image, self.channels))
        pixels = np.asarray(resized).reshape(self.input_shape)
        if self.channel_order == "bgr":
            pixels = pixels[..., ::-1]
        out: FloatArray = pixels.astype(np.float32, order="C")
        # Whole rows at a time: numpy is slow where it broadcasts over three values.
        rows = out.reshape(self.height, -1)
        rows -= np.tile(np.asarray(self.mean, np.float32), self.width)
        rows /= np.tile(np.asarray(self.std, np.float32), self.width)
        return out

    def value_range(self) -> tuple[float, float]:
        """The least and the greatest value that a pixel of any channel can take after `apply`."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        return float(np.min((np.float32(0) - mean) / std)), float(np.max((np.float32(255) - mean) / std))

    def to_metadata(self) -> dict[str, Any]:
        """All settings under their own names, as JSON can hold them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Preprocessing:
        """What `to_metadata` wrote. Raises DataError for an unknown or missing key and for a value of another type."""
        unknown = sorted(map(str, set(metadata) - set(READERS)))
        if unknown:
            raise DataError(f"preprocessing has unknown key {unknown[0]!r}; it takes {', '.join(READERS)}")
        missing = [key for key in READERS if key not in metadata]
        if missing:
            raise DataError(f"preprocessing lacks key {missing[0]!r}; it takes {', '.join(READERS)}")
        return cls(**{key: read(key, metadata[key]) for key, read in READERS.items()})

    def _resized(self, image: Image.Image) -> Image.Image:
        from PIL import Image

        filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
        resample = filters[self.interpolation]
        if self.short_side is None:
            return image.resize((self.width, self.height), resample)
        width, height = _scaled_size(image.size, self.short_side)
        left, top = (width - self.width) // 2, (height - self.height) // 2
        whole = image.resize((width, height), resample)
        return whole.crop((left, top, left + self.width, top + self.height))


def _scaled_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(width, height) with the short side at `short_side` and the long side rounded down."""
    short = min(size)
    width, height = (side * short_side // short for side in size)
    if width * height > MAX_RESIZED_PIXELS:
        raise DataError(f"{size[0]}x{size[1]} pixels: too narrow to bring the short side to {short_side}")
    return width, height


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise DataError(f"preprocessing {name} {value!r} is none of {', '.join(choices)}")


def _wrong_type(key: str, value: object, wanted: str) -> DataError:
    return DataError(f"preprocessing {key} is {value!r}; it must be {wanted}")


def _read_int(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(key, value, "an integer")
    return value


def _read_optional_int(key: str, value: object) -> int | None:
    return None if value is None else _read_int(key, value)


def _read_str(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong_type(key, value, "a string")
    return value


def _read_floats(key: str, value: object) -> tuple[float, ...]:
    if not isinstance(value, list | tuple) or any(isinstance(v, bool) for v in value):
        raise _wrong_type(key, value, "a list of numbers")
    if not all(isinstance(v, int | float) for v in value):
        raise _wrong_type(key, value, "a list of numbers")
    return tuple(float(v) for v in value)


READERS: dict[str, Callable[[str, object], Any]] = {
    "height": _read_int,
    "width": _read_int,
    "mean": _read_floats,
    "std": _read_floats,
    "resize": _read_str,
    "short_side": _read_optional_int,
    "channel_order": _read_str,
    "interpolation": _read_str,
}

KERAS_TF = Preprocessing(height=224, width=224, mean=(127.5,) * 3, std=(127.5,) * 3)
"""keras.applications' mode "tf": pixels in [-1, 1]."""

TORCH = Preprocessing(
    height=224,
    width=224,
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    resize="crop",
    short_side=256,
)
"""torchvision's ImageNet statistics (0.485, 0.456, 0.406; 0.229, 0.224, 0.225), times 255."""

CAFFE = Preprocessing(
    height=227,
    width=227,
    mean=(104.0, 117.0, 123.0),
    std=(1.0, 1.0, 1.0),
    resize="crop",
    short_side=256,
    channel_order="bgr",
)
"""Caffe's ImageNet networks: BGR minus the mean, not scaled."""

UNIT = Preprocessing(height=224, width=224, mean=(0.0,) * 3, std=(255.0,) * 3)
"""Pixels in [0, 1]."""

GREY = Preprocessing(height=28, width=28, mean=(0.0,), std=(255.0,))
"""Grey pixels in [0, 1]."""

PRESETS = {"keras_tf": KERAS_TF, "torch": TORCH, "caffe": CAFFE, "unit": UNIT, "grey": GREY}

"""What is known of one published file of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from edgekit.data.preprocess import PRESETS, Preprocessing

Value = int | float | str


@dataclass(frozen=True, slots=True)
class FileHash:
    """algorithm: hashlib's name; digits: the hex digest, or as much of its beginning as is published."""

    algorithm: str
    digits: str

    def of(self, path: Path) -> str:
        """The file's own digest, to as many digits."""
        with path.open("rb") as file:
            digest = hashlib.new(self.algorithm)
            while chunk := file.read(2**20):
                digest.update(chunk)
        return digest.hexdigest()[: len(self.digits)]


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """One file. options: of the model, all of which must hold for the weights to mean what they were trained for.

    resolution: what they were trained at (they fit any). classifier: whether the last layer is in the file. file_hash:
    None where the publisher gives none. preprocessing: a key of `edgekit.data.preprocess.PRESETS`; short_side: of the
    recipe at that resolution, where it is not the preset's.
    """

    model: str
    options: Mapping[str, Value]
    resolution: int
    classifier: bool
    url: str
    file_hash: FileHash | None
    preprocessing: str
    licence: str
    short_side: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    @property
    def file_name(self) -> str:
        """The file's name, in the cache too."""
        return self.url.rpartition("/")[2]

    def prepared_for(self, height: int, width: int) -> Preprocessing:
        """How images become an input of that size."""
        preset = PRESETS[self.preprocessing]
        if self.short_side is not None:
            preset = replace(preset.with_size(self.resolution, self.resolution), short_side=self.short_side)
        return preset.with_size(height, width)

"""What `open_source` makes of what the user typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.data import KERAS_TF, open_source
from edgekit.data.image_folder import ImageFolder
from edgekit.data.npz import NpzSource
from edgekit.data.synthetic import SyntheticSource
from edgekit.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    Image.new("RGB", (4, 4)).save(path / "n01_a.png")
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((1, 4, 4, 3), np.uint8))
    return path


def test_folder(folder: Path) -> None:
    assert isinstance(open_source(folder), ImageFolder)
    assert isinstance(open_source(str(folder)), ImageFolder)


def test_archive(archive: Path) -> None:
    assert isinstance(open_source(archive), NpzSource)
    assert isinstance(open_source(str(archive)), NpzSource)


@pytest.mark.parametrize(("spec", "name"), [("synthetic", "synthetic:0"), ("synthetic:12", "synthetic:12")])
def test_synthetic(spec: str, name: str) -> None:
    source = open_source(spec)
    assert isinstance(source, SyntheticSource)
    assert source.name == name


def test_class_file_reaches_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("n00\nn01\n")
    source = open_source(folder, classes=tmp_path / "mine.txt")
    assert [sample.label for sample in source.samples(KERAS_TF)] == [1]


@pytest.mark.parametrize("spec", ["synthetic:", "synthetic:-1", "synthetic:1.5", "synthetic:seed", "synthetic:²"])
def test_bad_seed(spec: str) -> None:
    with pytest.raises(DataError, match=f"{spec}: the seed must be a whole number, as in synthetic:7"):
        open_source(spec)


def test_nothing_there(tmp_path: Path) -> None:
    message = r"syntetic does not exist; data is a folder of images, an \.npz file, `synthetic` or `synthetic:SEED`"
    with pytest.raises(DataError, match=message):
        open_source(tmp_path / "syntetic")


def test_single_file(folder: Path) -> None:
    with pytest.raises(DataError, match=r"n01_a\.png is no \.npz file; data is a folder of images"):
        open_source(folder / "n01_a.png")


def test_class_file_with_other_sources(archive: Path, tmp_path: Path) -> None:
    classes = tmp_path / "mine.txt"
    with pytest.raises(DataError, match=r"class file .*mine\.txt is for a folder of images; synthetic images"):
        open_source("synthetic", classes=classes)
    with pytest.raises(DataError, match=r"class file .*mine\.txt is for a folder of images; an \.npz file"):
        open_source(archive, classes=classes)

"""Image folders: labels, order, damage, and the record of a pass."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.data.image_folder import ImageFolder
from edgekit.data.preprocess import Preprocessing
from edgekit.errors import DataError

TINY = Preprocessing(height=4, width=4, mean=(0.0,) * 3, std=(1.0,) * 3)


def write_image(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (value, value, value)).save(path)
    return path


def names_and_labels(source: ImageFolder, limit: int | None = None) -> list[tuple[str, int | None]]:
    return [(sample.name, sample.label) for sample in source.samples(TINY, limit)]


def test_flat_folder_is_sorted_and_unlabelled(tmp_path: Path) -> None:
    for value, name in enumerate(["b.png", "a.jpg", "C.JPEG", "10.bmp", "2.webp", ".hidden.png", "notes.txt"]):
        path = tmp_path / name
        if name.endswith("txt"):
            path.write_text("no image")
        else:
            write_image(path, value)
    source = ImageFolder(tmp_path)
    assert len(source) == 5
    assert names_and_labels(source) == [(n, None) for n in ("10.bmp", "2.webp", "C.JPEG", "a.jpg", "b.png")]


def test_samples_hold_the_preprocessed_pixels(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", 7)
    write_image(tmp_path / "b.png", 9)
    first, second = ImageFolder(tmp_path).samples(TINY)
    np.testing.assert_array_equal(first.array, np.full((1, 4, 4, 3), 7, np.float32))
    np.testing.assert_array_equal(second.array, np.full((1, 4, 4, 3), 9, np.float32))


def test_selection_is_spread(tmp_path: Path) -> None:
    for index in range(10):
        write_image(tmp_path / f"{index}.png")
    source = ImageFolder(tmp_path)
    assert [name for name, _ in names_and_labels(source, 4)] == ["0.png", "3.png", "6.png", "9.png"]
    assert len(names_and_labels(source, 99)) == 10


def test_sub_folders_are_classes_in_sorted_order(tmp_path: Path) -> None:
    write_image(tmp_path / "tulips" / "1.png")
    write_image(tmp_path / "daisy" / "2.png")
    write_image(tmp_path / "daisy" / "1.png")
    (tmp_path / "roses").mkdir()
    (tmp_path / ".cache").mkdir()
    expected = [("daisy/1.png", 0), ("daisy/2.png", 0), ("tulips/1.png", 2)]
    assert names_and_labels(ImageFolder(tmp_path)) == expected


def test_class_file_beside_the_folder_gives_labels(tmp_path: Path) -> None:
    (tmp_path / "imagenet_classes.txt").write_text("n01 tench\nn02 goldfish\nn03 shark\n")
    for name in ("n03_shark.png", "n02_gold_fish.png", "other_n01.png", "plain.png"):
        write_image(tmp_path / "photos" / name)
    expected = [("n02_gold_fish.png", 1), ("n03_shark.png", 2), ("other_n01.png", None), ("plain.png", None)]
    assert names_and_labels(ImageFolder(tmp_path / "photos")) == expected


def test_given_class_file_comes_before_the_one_beside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "imagenet_classes.txt").write_text("n01 tench\nn02 goldfish\n")
    (tmp_path / "mine.txt").write_text("n02\nn01\n")
    write_image(tmp_path / "photos" / "n02_x.png")
    assert names_and_labels(ImageFolder(tmp_path / "photos")) == [("n02_x.png", 1)]
    assert names_and_labels(ImageFolder(tmp_path / "photos", tmp_path / "mine.txt")) == [("n02_x.png", 0)]


def test_class_file_gives_the_labels_of_sub_folders(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("n01 tench\nn02 goldfish\nn03 shark\n")
    write_image(tmp_path / "photos" / "n01" / "a.png")
    write_image(tmp_path / "photos" / "n03" / "b.png")
    assert names_and_labels(ImageFolder(tmp_path / "photos")) == [("n01/a.png", 0), ("n03/b.png", 2)]
    write_image(tmp_path / "photos" / "n99" / "b.png")
    assert [label for _, label in names_and_labels(ImageFolder(tmp_path / "photos"))] == [0, 1, 2]
    with pytest.raises(DataError, match=r"sub-folder 'n99' of .* is no class of .*classes\.txt; add its row"):
        ImageFolder(tmp_path / "photos", tmp_path / "classes.txt")


def test_class_file_that_fits_no_image(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("n01 tench\n")
    write_image(tmp_path / "photos" / "a.png")
    with pytest.raises(DataError, match=r"no image in .*photos is named after a class of .*, as in n01_photo\.jpg"):
        ImageFolder(tmp_path / "photos", tmp_path / "mine.txt")


def test_damaged_files_are_skipped_counted_and_named(tmp_path: Path) -> None:
    write_image(tmp_path / "b.png")
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:600])
    (tmp_path / "c.jpg").write_text("no picture")
    (tmp_path / "d.jpg").mkdir()
    (tmp_path / "e.jpg").symlink_to(tmp_path / "nowhere.jpg")
    source = ImageFolder(tmp_path)
    assert len(source) == 5
    assert names_and_labels(source) == [("b.png", None)]
    assert [line.split(":")[0] for line in source.skipped] == ["a.png", "c.jpg", "d.jpg", "e.jpg"]
    assert source.skipped[2:] == ["d.jpg: not a file", "e.jpg: not a file"]
    described = source.describe()
    assert (described["count"], described["used"], described["skipped"]) == (5, 1, 4)
    assert described["skipped_first"] == source.skipped


def test_file_that_is_too_large_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.data.image_folder.MAX_FILE_BYTES", 2**20)
    write_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(bytes(2**20 + 1))
    source = ImageFolder(tmp_path)
    assert len(names_and_labels(source)) == 1
    assert source.skipped == ["b.png: larger than 1 MiB"]


def test_description_is_of_the_latest_pass(tmp_path: Path) -> None:
    first, second = write_image(tmp_path / "a.png", 1), write_image(tmp_path / "b.png", 2)
    source = ImageFolder(tmp_path)
    assert source.name == tmp_path.name
    assert source.describe()["sha256"] is None
    stream = source.samples(TINY)
    next(stream)
    assert source.describe()["used"] == 1
    names_and_labels(source)
    digest = hashlib.sha256()
    for path in (first, second):
        data = path.read_bytes()
        digest.update((5).to_bytes(8, "little") + path.name.encode() + len(data).to_bytes(8, "little") + data)
    assert json.loads(json.dumps(source.describe())) == {
        "kind": "image folder",
        "path": str(tmp_path),
        "count": 2,
        "used": 2,
        "skipped": 0,
        "skipped_first": [],
        "sha256": digest.hexdigest(),
    }


def test_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no images in .* nor in its sub-folders; known are \.bmp"):
        ImageFolder(tmp_path)


def test_folder_with_images_and_folders_of_images(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "class" / "a.png")
    with pytest.raises(DataError, match="holds images and also folders of images"):
        ImageFolder(tmp_path)


def test_folder_of_damaged_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "b.png").write_bytes(b"y")
    stream = ImageFolder(tmp_path).samples(TINY)
    with pytest.raises(DataError, match=r"none of 2 images can be read; the first: a\.png: no picture"):
        next(stream)


def test_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"folder .*nowhere cannot be listed \(No such file"):
        ImageFolder(tmp_path / "nowhere")


def test_limit_is_checked_before_the_first_sample(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    with pytest.raises(DataError, match="a limit of 0 samples"):
        ImageFolder(tmp_path).samples(TINY, 0)


def test_imagenet_photographs_have_their_classes(data_dir: Path) -> None:
    if not (data_dir / "imagenet500").is_dir():
        pytest.skip("imagenet500/ is missing from the real data")
    source = ImageFolder(data_dir / "imagenet500")
    assert len(source) == 500
    samples = list(source.samples(TINY, 25))
    assert [(s.name, s.label) for s in samples[:2]] == [
        ("n01440764_tench.jpg", 0),
        (samples[1].name, 2 * round(499 / 24)),
    ]
    assert samples[-1].label == 998
    assert source.skipped == []


def test_flower_folders_are_classes(data_dir: Path) -> None:
    if not (data_dir / "flowers" / "val").is_dir():
        pytest.skip("flowers/val is missing from the real data")
    labels = {(s.name.split("/")[0], s.label) for s in ImageFolder(data_dir / "flowers" / "val").samples(TINY, 50)}
    assert labels == {("daisy", 0), ("dandelion", 1), ("roses", 2), ("sunflowers", 3), ("tulips", 4)}

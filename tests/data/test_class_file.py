"""Class files: row number is class index."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.data.class_file import find_class_file, read_class_ids
from edgekit.errors import DataError


def test_rows_are_class_indices(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("n01 tench\nn02 great white shark\r\nplain\n\n")
    assert read_class_ids(path) == {"n01": 0, "n02": 1, "plain": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; it needs a row"),
        (b"\n \n", "is empty; it needs a row"),
        (b"a x\n\nb y\n", "row 2 is empty, which would shift"),
        (b"a x\nb y\na z\n", "row 3 repeats 'a' of row 1"),
        (b"\xff\xfe\x00\x81", "cannot be read as text"),
    ],
)
def test_bad_class_file(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_class_ids(path)


def test_missing_class_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt cannot be read as text \(FileNotFoundError\)"):
        read_class_ids(tmp_path / "nowhere.txt")


def test_class_file_beside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "birds"
    folder.mkdir()
    assert find_class_file(folder) is None
    for name in ("classes.txt", "imagenet_classes.txt", "birds_classes.txt"):
        (tmp_path / name).write_text("a\n")
        assert find_class_file(folder) == (tmp_path / name).resolve()


def test_imagenet_classes(data_dir: Path) -> None:
    path = data_dir / "imagenet_classes.txt"
    if not path.is_file():
        pytest.skip("imagenet_classes.txt is missing from the real data")
    ids = read_class_ids(path)
    assert len(ids) == 1000
    assert (ids["n01440764"], ids["n01443537"], ids["n15075141"]) == (0, 1, 999)

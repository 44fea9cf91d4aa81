"""`.npz` sources against numpy.savez and Pillow."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.data.npz import NpzSource
from edgekit.data.preprocess import Preprocessing
from edgekit.errors import DataError

RAW = Preprocessing(height=5, width=6, mean=(0.0,) * 3, std=(1.0,) * 3)
GREY = Preprocessing(height=5, width=6, mean=(0.0,), std=(1.0,))
Save = Callable[..., Path]


@pytest.fixture(params=[np.savez, np.savez_compressed], ids=["stored", "compressed"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Save:
    def write(**arrays: Any) -> Path:
        path = tmp_path / "data.npz"
        request.param(path, **arrays)
        return path

    return write


def save_to(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def pixels(count: int, channels: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, 5, 6, channels), np.uint8)


def jpeg_arrays(files: list[bytes]) -> dict[str, Any]:
    ends = np.cumsum([0, *map(len, files)])
    return {"jpeg": np.frombuffer(b"".join(files), np.uint8), "offsets": ends.astype(np.int64)}


def jpeg(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (value, value, value)).save(stream, "JPEG")
    return stream.getvalue()


def test_uint8_arrays_are_preprocessed(save: Save) -> None:
    x = pixels(7)
    source = NpzSource(save(x=x, y=np.arange(7) % 3))
    samples = list(source.samples(RAW))
    assert len(source) == 7
    assert [s.label for s in samples] == [0, 1, 2, 0, 1, 2, 0]
    assert [s.name for s in samples][:2] == ["x[0]", "x[1]"]
    np.testing.assert_array_equal(np.concatenate([s.array for s in samples]), x.astype(np.float32))


def test_uint8_arrays_of_another_size_are_resized(save: Save) -> None:
    x = pixels(1)
    (sample,) = NpzSource(save(x=x)).samples(RAW.with_size(3, 4))
    expected = Image.fromarray(x[0]).resize((4, 3), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(sample.array[0], np.asarray(expected, np.float32))


@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 5, 6, 1)])
def test_grey_arrays(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = pixels(2, 1).reshape(shape)
    source = NpzSource(save_to(tmp_path / "grey.npz", x=x))
    stacked = np.concatenate([s.array for s in source.samples(GREY)])
    np.testing.assert_array_equal(stacked, x.reshape(2, 5, 6, 1).astype(np.float32))
    coloured = next(iter(source.samples(RAW))).array
    np.testing.assert_array_equal(coloured, np.repeat(stacked[:1], 3, axis=3))


def test_float_arrays_pass_unchanged(save: Save) -> None:
    x = np.random.default_rng(0).normal(size=(4, 5, 6, 3)).astype(np.float32)
    samples = list(NpzSource(save(images=x)).samples(RAW))
    assert {s.label for s in samples} == {None}
    assert samples[0].array.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate([s.array for s in samples]), x)


def test_selection_is_spread_and_repeatable(save: Save) -> None:
    x = pixels(10)
    source = NpzSource(save(x=x, y=np.arange(10)))
    for _ in range(2):
        samples = list(source.samples(RAW, 4))
        assert [s.label for s in samples] == [0, 3, 6, 9]
        np.testing.assert_array_equal(samples[2].array[0], x[6].astype(np.float32))


@pytest.mark.parametrize(
    ("arrays", "chosen"),
    [(("other", "images", "x"), "x"), (("other", "images"), "images"), (("y", "second", "first"), "second")],
)
def test_which_array_holds_the_images(arrays: tuple[str, ...], chosen: str, tmp_path: Path) -> None:
    values = {name: np.zeros(3, np.int64) if name == "y" else pixels(3) for name in arrays}
    assert NpzSource(save_to(tmp_path / "a.npz", **values)).describe()["array"] == chosen


def test_jpeg_form(save: Save) -> None:
    arrays = jpeg_arrays([jpeg(10), jpeg(200), jpeg(90)])
    source = NpzSource(save(**arrays, labels=np.array([5, 6, 7], np.uint8)))
    samples = list(source.samples(RAW))
    assert [(s.name, s.label) for s in samples] == [("jpeg[0]", 5), ("jpeg[1]", 6), ("jpeg[2]", 7)]
    assert [int(s.array[0, 0, 0, 0]) for s in samples] == [10, 200, 90]


def test_damaged_jpeg_files_are_skipped(save: Save) -> None:
    source = NpzSource(save(**jpeg_arrays([jpeg(10)[:300], jpeg(20), b""])))
    assert [s.name for s in source.samples(RAW)] == ["jpeg[1]"]
    assert [line.split(":")[0] for line in source.skipped] == ["jpeg[0]", "jpeg[2]"]
    assert source.describe()["skipped"] == 2


def test_only_damaged_jpeg_files(save: Save) -> None:
    source = NpzSource(save(**jpeg_arrays([b"no", b"picture"])))
    with pytest.raises(DataError, match=r"data\.npz: none of 2 images can be read; the first: jpeg\[0\]: no picture"):
        list(source.samples(RAW))


def test_description(tmp_path: Path) -> None:
    path = save_to(tmp_path / "set.npz", x=pixels(3))
    source = NpzSource(path)
    list(source.samples(RAW, 2))
    described = source.describe()
    assert json.loads(json.dumps(described)) == described
    expected = {"kind": "npz uint8", "path": str(path), "array": "x", "count": 3, "used": 2, "skipped": 0}
    assert {key: described[key] for key in expected} == expected
    first = described["sha256"]
    list(source.samples(RAW, 3))
    assert source.describe()["sha256"] != first
    assert source.name == "set"


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_memory_does_not_grow_with_the_number_of_images(write: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    write(path, x=np.zeros((400, 64, 64, 3), np.float32))  # 20 MB
    preprocessing = Preprocessing(height=64, width=64, mean=(0.0,) * 3, std=(1.0,) * 3)
    tracemalloc.start()
    try:
        count = sum(1 for _ in NpzSource(path).samples(preprocessing))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 400
    assert peak < 2e6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_names_the_sample(bad: float, tmp_path: Path) -> None:
    x = np.zeros((5, 5, 6, 3), np.float32)
    x[3, 2, 2, 1] = bad
    source = NpzSource(save_to(tmp_path / "a.npz", x=x))
    with pytest.raises(DataError, match=r"a\.npz, array 'x': sample 3 holds NaN or infinity"):
        list(source.samples(RAW))


def test_float_arrays_of_another_shape(tmp_path: Path) -> None:
    source = NpzSource(save_to(tmp_path / "a.npz", x=np.zeros((2, 4, 4, 3), np.float32)))
    message = r"array 'x' has samples of shape \(4, 4, 3\); the network takes \(5, 6, 3\)\. Give uint8"
    with pytest.raises(DataError, match=message):
        source.samples(RAW)


OBJECTS = np.array([{}, None], dtype=object)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros(3, int)}, r"has no array of images \(only y\); add 'x': uint8 pixels"),
        ({}, r"has no array of images \(only nothing\)"),
        ({"x": np.zeros((2, 5, 6, 3))}, r"array 'x' is float64 of shape \(2, 5, 6, 3\); images are uint8 pixels"),
        ({"x": np.zeros((2, 3, 5, 6), np.uint8)}, r"array 'x' is uint8 of shape \(2, 3, 5, 6\)"),
        ({"x": np.zeros((), np.uint8)}, r"array 'x' is uint8 of shape \(\)"),
        ({"x": np.zeros((0, 5, 6, 3), np.uint8)}, "array 'x' holds no images"),
        ({"x": np.zeros((2, 0, 6, 3), np.uint8)}, r"of shape \(2, 0, 6, 3\) holds no pixels"),
        ({"x": OBJECTS}, "array 'x' holds Python objects; save numbers"),
        ({"x": np.asfortranarray(pixels(2))}, "array 'x' is in Fortran order; save numpy.ascontiguousarray"),
        ({"x": pixels(2), "y": np.zeros(3, int)}, r"array 'y' is int64 of shape \(3,\); labels are 2 integers"),
        ({"x": pixels(2), "y": np.zeros(2)}, r"array 'y' is float64 of shape \(2,\); labels are 2 integers"),
        ({"x": pixels(2), "labels": OBJECTS}, "array 'labels' holds Python objects"),
        ({"x": pixels(2), "y": np.array([4, -1])}, "array 'y': label -1 of sample 1 is negative"),
        ({"jpeg": np.zeros(9, np.uint8)}, "has an array 'jpeg' but no 'offsets'"),
        ({"jpeg": np.zeros(9), "offsets": np.array([0, 9])}, r"array 'jpeg' is float64 .* must be uint8 \(bytes,\)"),
        ({"jpeg": np.zeros(9, np.uint8), "offsets": np.array([0.0, 9.0])}, "array 'offsets' is float64"),
        ({"jpeg": np.zeros(9, np.uint8), "offsets": np.array([], int)}, r"array 'offsets' is int64 of shape \(0,\)"),
        ({"jpeg": np.zeros(9, np.uint8), "offsets": np.array([0, 10])}, "'offsets' must rise from 0 to at most 9"),
        ({"jpeg": np.zeros(9, np.uint8), "offsets": np.array([0, 5, 4])}, "'offsets' must rise from 0 to at most 9"),
        ({"jpeg": np.zeros(9, np.uint8), "offsets": np.array([-1, 4])}, "'offsets' must rise from 0 to at most 9"),
    ],
)
def test_unfit_arrays(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        NpzSource(save_to(tmp_path / "a.npz", **arrays))
    assert "a.npz" in str(caught.value)


def test_labels_in_a_column(tmp_path: Path) -> None:
    source = NpzSource(save_to(tmp_path / "a.npz", x=pixels(2), y=np.array([[3], [1]])))
    assert [s.label for s in source.samples(RAW)] == [3, 1]


def test_file_that_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"not a zip file")
    with pytest.raises(DataError, match=r"a\.npz is no readable \.npz file \(File is not a zip file\)"):
        NpzSource(path)


def test_truncated_archive(tmp_path: Path) -> None:
    path = save_to(tmp_path / "a.npz", x=pixels(20))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"a\.npz is no readable \.npz file"):
        NpzSource(path)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_damaged_pixels(write: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write(path, x=pixels(200))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = b"\xaa" * 64
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.npz, array 'x' is damaged \(.*\); write the file anew"):
        list(NpzSource(path).samples(RAW))


def test_damaged_header(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00\x10\x00this is no dict!")
    with pytest.raises(DataError, match=r"a\.npz, array 'x' is damaged"):
        NpzSource(path)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x09\x00aaaa"])
def test_array_that_is_no_array(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(DataError, match=r"a\.npz, array 'x' is damaged"):
        NpzSource(path)


def test_header_that_promises_too_much(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (9**9, 5, 6, 3)})
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", stream.getvalue() + bytes(90))
    with pytest.raises(DataError, match=r"header says \(387420489, 5, 6, 3\) uint8, which the bytes do not fill"):
        NpzSource(path)


def test_cifar_as_jpeg(data_dir: Path) -> None:
    path = data_dir / "cifar10_test5k.npz"
    if not path.is_file():
        pytest.skip("cifar10_test5k.npz is missing from the real data")
    source = NpzSource(path)
    preprocessing = Preprocessing(height=32, width=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    samples = list(source.samples(preprocessing, 50))
    with np.load(path) as arrays:
        start, stop = arrays["offsets"][4999:5001]
        expected = np.asarray(Image.open(io.BytesIO(arrays["jpeg"][start:stop].tobytes())), np.float32)
        assert samples[-1].label == arrays["labels"][4999]
    assert (len(source), len(samples), source.skipped) == (5000, 50, [])
    np.testing.assert_array_equal(samples[-1].array[0], expected)

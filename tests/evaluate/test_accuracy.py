"""Top-1 and top-5 of files, against ranks from numpy's stable sort over the runtimes' own outputs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from small_models import CLASSES, DENSE, SIZE, image, onnx_classifier, onnx_single_op, tflite_models

from edgekit.errors import DataError
from edgekit.evaluate import Share, evaluate_files
from edgekit.evaluate.accuracy import rank_of
from edgekit.runtime import Session


@dataclass
class Picture:
    array: np.ndarray
    label: int | None


def pictures(count: int = 12) -> list[Picture]:
    return [Picture(image(seed), seed % CLASSES) for seed in range(count)]


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def stable_rank(outputs: np.ndarray, label: int) -> int:
    return int(np.flatnonzero(np.argsort(-outputs, kind="stable") == label)[0])


def test_files_are_counted_in_one_pass(tmp_path: Path) -> None:
    models = {
        "a.tflite": tflite_models()["float"],
        "b.onnx": onnx_classifier(),
        "c.tflite": tflite_models()["int8"],
        "d.onnx": onnx_classifier(dense=-DENSE),
    }
    passes = []

    def stream() -> Iterator[Picture]:
        passes.append(1)
        yield from pictures()

    results = evaluate_files([write(tmp_path, name, content) for name, content in models.items()], stream())
    assert passes == [1]
    for result, content in zip(results, models.values(), strict=True):
        with Session.open(content) as session:
            outputs = [session.run_float(p.array).reshape(-1) for p in pictures()]
        ranks = [stable_rank(y, p.label) for y, p in zip(outputs, pictures(), strict=True)]
        assert (result.top1.count, result.top1.total) == (sum(r < 1 for r in ranks), 12)
        assert result.top5.count == sum(r < 5 for r in ranks)
    assert results[0].agreement is None
    assert results[1].agreement is not None
    assert results[1].agreement.mean_cosine > 1 - 1e-9
    assert results[1].agreement.top1_share == 1.0
    assert results[3].agreement is not None
    assert results[3].agreement.top1_share < 0.5
    assert results[0].top5.count + results[3].top5.count == 12  # turned upside down, the last five are the first
    assert json.loads(json.dumps(results[1].to_json(), allow_nan=False))["top5"]["total"] == 12


def test_ties_rank_by_index() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        outputs = rng.integers(0, 4, 9).astype(np.float32)
        assert [rank_of(outputs, c) for c in range(9)] == [stable_rank(outputs, c) for c in range(9)]


@pytest.mark.parametrize(("count", "total"), [(0, 10), (3, 10), (5, 10), (10, 10), (683, 1000)])
def test_wilson_interval_solves_its_equation(count: int, total: int) -> None:
    """Each end p is where |count / total - p| is z standard errors of p (or is 0 or 1)."""
    share = Share(count, total)
    low, high = share.interval
    assert 0 <= low <= share.value <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            errors = abs(share.value - end) / math.sqrt(end * (1 - end) / total)
            assert errors == pytest.approx(1.959964, abs=1e-5)


def test_wilson_interval_of_a_published_case() -> None:
    """R's prop.test(5, 10, correct = FALSE)."""
    assert Share(5, 10).interval == pytest.approx((0.2365931, 0.7634069), abs=1e-7)


def test_data_that_cannot_be_evaluated(tmp_path: Path) -> None:
    model = write(tmp_path, "a.onnx", onnx_classifier())
    other = write(tmp_path, "b.onnx", onnx_classifier(dense=DENSE[:, :7]))
    broken = write(tmp_path, "c.onnx", onnx_single_op("Log", [1, 3, SIZE, SIZE]))
    with pytest.raises(DataError, match="sample 1 has no label, and accuracy needs one: use a folder per class"):
        evaluate_files([model], [*pictures(1), Picture(image(), None)])
    with pytest.raises(DataError, match=r"a\.onnx gives 10 classes, but a sample's label is 10"):
        evaluate_files([model], [Picture(image(), 10)])
    with pytest.raises(DataError, match=r"b\.onnx gives 7 classes and the first file 10"):
        evaluate_files([model, other], pictures())
    with pytest.raises(DataError, match=r"c\.onnx gave NaN or infinity"):
        evaluate_files([broken], pictures())
    with pytest.raises(DataError, match="holds no sample to evaluate on"):
        evaluate_files([model], [])
    with pytest.raises(DataError, match="no model files were given"):
        evaluate_files([], pictures())
    with pytest.raises(DataError, match=r"a\.onnx: input 'x' takes shape \[1, 12, 12, 3\], got \[1, 9, 9, 3\]"):
        evaluate_files([model], [Picture(image(size=9), 0)])

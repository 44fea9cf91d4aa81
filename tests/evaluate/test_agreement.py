"""Agreement added up sample by sample, against formulas over all samples at once."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataError
from edgekit.evaluate import Agreement, AgreementResult, QuantizedAgreement
from edgekit.evaluate.agreement import as_signed_steps, cosine, share_a_maximum


def add_all(references: np.ndarray, candidates: np.ndarray) -> AgreementResult:
    total = Agreement()
    for reference, candidate in zip(references, candidates, strict=True):
        total.add(reference, candidate)
    return total.result()


def test_streamed_sums_equal_formulas_over_everything() -> None:
    rng = np.random.default_rng(1)
    ref = rng.standard_normal((40, 1, 7)).astype(np.float32)
    cand = (ref + rng.standard_normal(ref.shape) * 0.3).astype(np.float32)
    result = add_all(ref, cand)
    a, b = ref.reshape(40, 7).astype(np.float64), cand.reshape(40, 7).astype(np.float64)
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert result.samples == 40
    assert result.mean_cosine == pytest.approx(cosines.mean(), abs=1e-12)
    assert result.min_cosine == pytest.approx(cosines.min(), abs=1e-12)
    assert 0 < result.top1_share < 1
    assert result.top1_share == (a.argmax(1) == b.argmax(1)).mean()
    assert result.max_abs_difference == np.abs(a - b).max()
    assert result.mean_abs_difference == pytest.approx(np.abs(a - b).mean(), rel=1e-12)
    assert result.sqnr_db == pytest.approx(10 * np.log10((a**2).mean() / ((a - b) ** 2).mean()), rel=1e-12)


def test_equal_outputs_have_infinite_sqnr_which_json_writes_as_null() -> None:
    x = np.ones((2, 3), np.float32)
    result = add_all(x, x)
    assert (result.mean_cosine, result.top1_share, result.max_abs_difference) == (1.0, 1.0, 0.0)
    assert math.isinf(result.sqnr_db)
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["sqnr_db"] is None


def test_cosine_of_zero_vectors_is_settled() -> None:
    zero, one = np.zeros(3), np.array([0.0, 1.0, 0.0])
    assert [cosine(zero, zero), cosine(zero, one), cosine(one, zero), cosine(one, one), cosine(one, -one)] == [
        1.0,
        0.0,
        0.0,
        1.0,
        -1.0,
    ]
    assert add_all(np.zeros((1, 3)), np.ones((1, 3))).sqnr_db == -math.inf


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300))
def test_cosine_is_the_same_at_any_scale(p: float, q: float) -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([3.0, -1.0, 2.0])
    assert cosine(a * p, b * q) == pytest.approx(7 / 14, rel=1e-9)


def test_quantized_agreement_counts_steps() -> None:
    total = QuantizedAgreement()
    total.add(np.array([[-128, 0, 127, 5]], np.int8), np.array([[-128, 3, 127, 5]], np.int8))
    total.add(np.array([[10, 20, -3, 0]], np.int8), np.array([[20, 10, -3, 0]], np.int8))
    result = total.result()
    assert (result.samples, result.equal_share, result.max_step_difference, result.top1_share) == (2, 5 / 8, 10, 0.5)
    assert result.to_json()["max_step_difference"] == 10


def test_uint8_is_int8_shifted_by_128() -> None:
    steps = np.arange(-128, 128)
    shifted = (steps + 128).astype(np.uint8)
    total = QuantizedAgreement()
    total.add(steps.astype(np.int8), shifted)
    assert (total.result().equal_share, total.result().max_step_difference) == (1.0, 0)
    np.testing.assert_array_equal(as_signed_steps(shifted), steps)


def test_ties_agree_where_the_maxima_meet() -> None:
    assert share_a_maximum(np.array([5, 5, 1]), np.array([1, 5, 4]))
    assert share_a_maximum(np.array([5, 5, 1]), np.array([3, 9, 9]))
    assert not share_a_maximum(np.array([5, 5, 1]), np.array([1, 4, 5]))


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=6))
def test_sharing_a_maximum_is_symmetric_and_holds_for_equal_arg_max(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs).T
    assert share_a_maximum(a, b) == share_a_maximum(b, a)
    assert share_a_maximum(a, b) or a.argmax() != b.argmax()


def test_outputs_that_cannot_be_compared() -> None:
    with pytest.raises(DataError, match=r"shapes \[1, 3\] and \[1, 4\] cannot be compared"):
        Agreement().add(np.zeros((1, 3)), np.zeros((1, 4)))
    with pytest.raises(DataError, match="the candidate's output for sample 0 holds NaN or infinity"):
        Agreement().add(np.zeros(2), np.array([0.0, np.nan]))
    with pytest.raises(DataError, match="the reference's output"):
        Agreement().add(np.array([np.inf]), np.zeros(1))
    with pytest.raises(DataError, match="only where both are int8 or uint8, not float32"):
        QuantizedAgreement().add(np.zeros(2, np.int8), np.zeros(2, np.float32))
    for empty in (Agreement(), QuantizedAgreement()):
        with pytest.raises(DataError, match="no sample to compare"):
            empty.result()

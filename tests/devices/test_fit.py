"""The fit finds prices that were put in, and the steps; its least squares meet the conditions of an optimum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_prices import TRUE

from edgekit.devices.fit import Sample, check, fit_prices, non_negative_least_squares
from edgekit.errors import DeviceError
from edgekit.passes.target import PRICES, Coefficients, Target
from edgekit.pipeline.micro_models import int8_form, micro_models, whole_layers

CALL_NS = 3000.0


@pytest.fixture(scope="module")
def micro():
    return list(micro_models())


def simulated(graphs, prices: Coefficients, noise: float = 0.0) -> list[Sample]:
    target = Target("made up", prices, prices, 5)
    rng = np.random.default_rng(0)
    return [Sample(g.name, g, (target.graph_ns(g) + CALL_NS) * float(np.exp(rng.normal(0, noise)))) for g in graphs]


def test_prices_that_were_put_in_come_out(micro):
    fit = fit_prices(simulated(micro, TRUE))
    found = fit.coefficients
    assert (found.inputs_step, found.outputs_step, found.depthwise_step) == (4, 16, 8)
    for name in PRICES:
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=1e-5), name
    assert fit.call_ns == pytest.approx(CALL_NS, rel=1e-5)
    assert fit.worst_error < 1e-6


def test_int8_graphs_tell_the_same_prices_apart(micro):
    fit = fit_prices(simulated([int8_form(g) for g in micro], TRUE))
    for name in PRICES:
        assert getattr(fit.coefficients, name) == pytest.approx(getattr(TRUE, name), rel=1e-5), name


def test_noise_moves_prices_about_as_far_as_the_fit_says(micro):
    fit = fit_prices(simulated(micro, TRUE, noise=0.02))
    for name in PRICES:
        off = abs(getattr(fit.coefficients, name) / getattr(TRUE, name) - 1)
        assert off < 4 * fit.errors[name] + 1e-9 if name in fit.errors else getattr(fit.coefficients, name) == 0, name
    assert 0.005 < fit.median_error < 0.03


def test_layers_that_the_fit_has_not_seen_are_predicted(micro):
    held_out = simulated(whole_layers(), TRUE)
    rows = check(held_out, fit_prices(simulated(micro, TRUE, noise=0.02)))
    assert [c.name for c in rows] == [s.name for s in held_out]
    assert float(np.median([c.error for c in rows])) < 0.03
    assert max(c.error for c in rows) > 0


def test_a_price_that_is_nothing_stays_at_nothing(micro):
    fit = fit_prices(simulated(micro, replace(TRUE, ragged=0.0, gather_overhead=0.0), noise=0.01))
    assert fit.coefficients.ragged == pytest.approx(0, abs=0.02)
    assert all(getattr(fit.coefficients, name) >= 0 for name in PRICES)


def test_too_few_or_impossible_timings_are_refused(micro):
    samples = simulated(micro, TRUE)
    with pytest.raises(DeviceError, match="5 timings cannot tell 19 prices"):
        fit_prices(samples[:5])
    for wrong in (0.0, float("nan"), -1.0):
        with pytest.raises(DeviceError, match="the time of '1x1, 24, 56x56' is not above 0"):
            fit_prices([replace(samples[0], ns=wrong), *samples[1:]])


def test_least_squares_meet_the_conditions_of_an_optimum():
    rng = np.random.default_rng(1)
    for _ in range(50):
        rows, wanted = rng.normal(size=(30, 8)), rng.normal(size=30)
        x = non_negative_least_squares(rows, wanted)
        gradient = rows.T @ (rows @ x - wanted)
        assert (x >= 0).all()
        assert (gradient > -1e-8).all()
        np.testing.assert_allclose(gradient[x > 0], 0, atol=1e-8)

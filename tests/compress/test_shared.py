from __future__ import annotations

import numpy as np
import pytest
from calibrated_nets import small_net, smooth_images

from edgekit.compress.codebook import share_weights
from edgekit.compress.layer_problem import LayerProblem
from edgekit.compress.shared import quantize_shared, refit_values
from edgekit.compress.weights import WeightCompressor
from edgekit.graph.compensation import damped, output_error


def problem(groups: int = 1, size: int = 18, outputs: int = 30) -> LayerProblem:
    random = np.random.default_rng(0)
    x = random.standard_normal((groups, 300, size)) @ random.standard_normal((groups, size, size)) / 4
    gram = damped(x.swapaxes(1, 2) @ x / 300, 0.01)
    return LayerProblem(gram, random.laplace(size=(groups, size, outputs)), None, None)


@pytest.mark.parametrize("groups", [1, 5])
def test_refitted_values_are_the_least_squares_solution(groups):
    given = problem(groups)
    shared = share_weights(given.weights, 6)
    found = refit_values(given, shared.indices.astype(np.int64), shared.codebook)
    # The same by explicit least squares: rows are the whitened weights, columns what each value adds to them.
    root = np.linalg.cholesky(given.gram).swapaxes(1, 2)
    columns = [(root @ (shared.indices == level).astype(float)).ravel() for level in range(len(shared.codebook))]
    expected, *_ = np.linalg.lstsq(np.stack(columns, axis=1), (root @ given.weights).ravel(), rcond=None)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_zero_stays_zero_and_unused_values_stay():
    given = problem()
    values = np.array([-1.0, 0.0, 1.0, 50.0])
    indices = np.where(given.weights < -0.5, 0, np.where(given.weights > 0.5, 2, 1))
    found = refit_values(given, indices, values)
    assert found[1] == 0
    assert found[3] == 50
    assert found[0] != -1


@pytest.mark.parametrize("levels", [4, 16])
def test_it_beats_exact_k_means_of_as_many_values(levels):
    given = problem()
    layer = quantize_shared(given, levels)
    plain = share_weights(given.weights, levels)
    assert len(layer.codebook) <= levels
    assert (np.diff(layer.codebook) >= 0).all()
    assert layer.error == pytest.approx(output_error(given.weights - layer.maps(), given.gram))
    assert layer.error < 0.6 * output_error(given.weights - plain.values(), given.gram)


def test_a_network_of_sixteen_values_a_layer():
    compressor = WeightCompressor(small_net(), smooth_images(16))
    fine, coarse = compressor.with_levels(64), compressor.with_levels(16)
    assert fine.drift < coarse.drift < 0.05
    for layer in coarse.layers:
        assert layer.levels <= 16
    for name, tensor in coarse.tensors.items():
        np.testing.assert_array_equal(coarse.graph.tensor(name).array, tensor.values())
        if name.endswith("kernel"):
            assert len(np.unique(tensor.values())) <= 16

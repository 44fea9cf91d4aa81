from __future__ import annotations

import numpy as np
import pytest
from calibrated_nets import CLASSES, SIZE, small_net, smooth_images

from edgekit.compress.budget import Budget, compress_weights, search
from edgekit.compress.drift import drift, expected_drop, head_names
from edgekit.compress.layer_problem import float_outputs, layer_problem
from edgekit.compress.layer_rows import from_maps, to_maps, weight_layers
from edgekit.compress.scalar import on_grid, quantize_scalar
from edgekit.compress.walk import numpy_engine, walk
from edgekit.compress.weights import WeightCompressor, estimated_bytes
from edgekit.errors import DataError, ModelError, QuantizationError
from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.graph.validate import validate


@pytest.fixture(scope="module")
def compressor() -> WeightCompressor:
    return WeightCompressor(small_net(), smooth_images(24))


def logits(graph: Graph, images: list[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
    return [(interpret(graph, {"input": image}, keep=True)["dense"],) for image in images]


def test_the_graph_holds_exactly_the_coded_values(compressor):
    done = compressor.at(1e-4)
    validate(done.graph, "compression")
    layers = weight_layers(done.graph)
    assert set(done.tensors) == {name for node in layers for name in node.inputs[1:]}
    for name, coded in done.tensors.items():
        np.testing.assert_array_equal(done.graph.tensor(name).array, coded.values())
        assert (np.diff(coded.codebook) > 0).all()
        assert 0 in coded.codebook
    assert [layer.name for layer in done.layers] == [node.name for node in layers]


def test_the_original_stays_as_it_was():
    graph = small_net()
    before = {t.name: t.array.copy() for t in graph.constants()}
    WeightCompressor(graph, smooth_images(4)).at(1e-3)
    for name, value in before.items():
        np.testing.assert_array_equal(graph.tensor(name).array, value)


def test_images_of_one_colour_leave_nothing_to_fit_but_do_not_fail():
    images = [np.full((1, SIZE, SIZE, 3), 100.0 + i, np.float32) for i in range(2)]
    done = WeightCompressor(small_net(), images).at(1e-4)
    assert all(np.isfinite(t.array).all() for t in done.graph.constants())


def test_size_falls_and_drift_rises_with_the_price(compressor):
    curve = [compressor.at(price) for price in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)]
    sizes, drifts = [estimated_bytes(done.tensors) for done in curve], [done.drift for done in curve]
    assert sizes == sorted(sizes, reverse=True)
    assert drifts == sorted(drifts)
    assert drifts[0] < 1e-3
    assert sizes[-1] < sizes[0] / 2


def test_the_reported_drift_is_that_of_the_graph(compressor):
    done = compressor.at(1e-4)
    images = smooth_images(24)
    reference, changed = logits(small_net(), images), logits(done.graph, images)
    assert done.drift == pytest.approx(drift(reference, changed), rel=1e-5)
    assert done.expected_drop == pytest.approx(expected_drop(reference, changed), rel=1e-5, abs=1e-6)


def test_it_beats_plain_grids_of_the_same_size_on_images_that_it_did_not_see(compressor):
    images = smooth_images(40, seed=1)
    reference = logits(small_net(), images)
    done = compressor.at(1e-4)
    size, moved = estimated_bytes(done.tensors), drift(reference, logits(done.graph, images))
    plain = min((plain_grids(factor) for factor in np.geomspace(0.02, 4, 80)), key=lambda p: abs(p[1] - size))
    assert plain[1] == pytest.approx(size, rel=0.04)
    assert moved < 0.5 * drift(reference, logits(plain[0], images))


def plain_grids(factor: float) -> tuple[Graph, float]:
    """One step per layer in proportion to its standard deviation; biases as in the float network, at no cost."""
    graph, bits = small_net(), 0.0
    for node in weight_layers(graph):
        kernel = graph.tensor(node.inputs[1])
        step = factor * float(kernel.array.std())
        integers = np.rint(kernel.array / step)
        graph.set_tensor(kernel.with_data((step * integers).astype(np.float32)))
        _, counts = np.unique(integers, return_counts=True)
        bits += float(-(counts * np.log2(counts / counts.sum())).sum())
    return graph, bits / 8


def test_a_compensated_layer_has_less_error_than_a_rounded_one_on_real_activations():
    graph, images = small_net(), smooth_images(30)

    def visit(node, state):
        values = state[node.inputs[0]]
        given = layer_problem(graph, node, values, float_outputs(graph, node, values, 64), 64)
        layer = quantize_scalar(given, 1e-3 * float(np.square(given.weights).mean()))
        steps = np.geomspace(0.2, 5, 80) * float(layer.codebook[-1] - layer.codebook[0]) / len(layer.codebook)
        plain = min((on_grid(given, step, 0.0, rounds=0) for step in steps), key=lambda p: abs(p.bits - layer.bits))
        assert plain.bits == pytest.approx(layer.bits, rel=0.1)
        assert layer.error < plain.error

    walk(graph, images, numpy_engine, weight_layers(graph), visit, head_names(graph))


def test_the_bias_keeps_the_mean_outputs():
    graph, images = small_net(), smooth_images(30)

    def visit(node, state):
        if node.name != "pointwise":
            return
        values = state[node.inputs[0]]
        reference = float_outputs(graph, node, values, 64)
        given = layer_problem(graph, node, values, reference, 64)
        maps = np.rint(to_maps(graph.tensor(node.inputs[1]).array, 1) * 4) / 4
        changed = graph.copy()
        kernel, bias = (changed.tensor(name) for name in node.inputs[1:])
        changed.set_tensor(kernel.with_data(from_maps(maps, kernel.shape).astype(np.float32)))
        changed.set_tensor(bias.with_data(given.bias_for(maps).astype(np.float32)))
        outputs = float_outputs(changed, node, values, 64)
        np.testing.assert_allclose(outputs.mean(axis=(0, 2)), reference.mean(axis=(0, 2)), rtol=1e-4, atol=1e-4)

    walk(graph, images, numpy_engine, weight_layers(graph), visit, head_names(graph))


@pytest.mark.parametrize("target", [800, 1300])
def test_a_number_of_bytes_is_kept_and_used(target):
    done = compress_weights(small_net(), smooth_images(12), Budget(target_bytes=target))
    assert 0.97 * target <= estimated_bytes(done.tensors) <= target


def test_a_drop_is_kept_on_the_images_that_were_held_out():
    images = smooth_images(60)
    loose = compress_weights(small_net(), images, Budget(max_drop=3.0))
    strict = compress_weights(small_net(), images, Budget(max_drop=0.3))
    assert estimated_bytes(loose.tensors) < estimated_bytes(strict.tensors)
    assert strict.expected_drop < 0.6


def test_too_few_bytes_are_refused_with_the_least_that_was_reached():
    with pytest.raises(ModelError, match=r"20 bytes are too few: the least that was reached is \d+"):
        compress_weights(small_net(), smooth_images(4), Budget(target_bytes=20))


@pytest.mark.parametrize("budget", [{}, {"target_bytes": 1, "max_drop": 1.0}, {"target_bytes": -5}, {"max_drop": 0.0}])
def test_a_budget_is_one_limit_above_zero(budget):
    with pytest.raises(ModelError, match="either a number of bytes or a drop"):
        Budget(**budget)


def test_bad_calibration_and_networks_are_refused():
    with pytest.raises(DataError, match="at least one calibration image"):
        WeightCompressor(small_net(), [])
    with pytest.raises(ModelError, match="give at least 5, not 4"):
        compress_weights(small_net(), smooth_images(4), Budget(max_drop=1.0))
    with pytest.raises(QuantizationError, match="layer 'conv' gives NaN"):
        WeightCompressor(small_net(), [np.full((1, SIZE, SIZE, 3), np.nan, np.float32)])
    b = GraphBuilder("bare", (1, SIZE, SIZE, 3))
    with pytest.raises(QuantizationError, match="graph 'bare' has no layer with constant float weights"):
        WeightCompressor(b.finish(b.global_avg_pool("input", name="mean")), smooth_images(1))


def test_drift_and_drop_of_known_probabilities():
    sure, other = np.log(np.array([[0.7, 0.2, 0.1]])), np.log(np.array([[0.2, 0.7, 0.1]]))
    assert drift([(sure,)], [(sure,)]) == pytest.approx(0, abs=1e-12)
    assert drift([(sure,)], [(other,)]) == pytest.approx(0.5 * np.log(3.5))
    assert expected_drop([(sure,), (sure,)], [(other,), (sure,)]) == pytest.approx(25)
    assert drift([(np.ones((1, 2, 2, 1)),)], [(np.full((1, 2, 2, 1), 1.5),)]) == pytest.approx(0.25)


def test_heads_are_logits():
    graph = small_net()
    assert head_names(graph) == ("dense",)
    assert graph.shape("dense") == (1, CLASSES)


@pytest.mark.parametrize("start", [-3.0, 0.0, 17.0])
def test_the_search_ends_just_below_the_limit(start):
    calls = []

    def value(x: float) -> float:
        calls.append(x)
        return float(np.sinh((x - 5) / 4))

    found = search(value, start, 0.02, 0.3)
    assert -0.02 <= np.sinh((found - 5) / 4) <= 0
    assert len(calls) <= 12


def test_a_search_that_finds_nothing_below_says_so():
    assert search(lambda x: 1.0, 0.0, 0.01, 1.0) is None

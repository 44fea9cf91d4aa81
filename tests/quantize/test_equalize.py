from __future__ import annotations

import numpy as np
import pytest
from equalizable_nets import equalizable_nets
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from quantize_helpers import images, set_constant, statistics_of

from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.quantize.equalize import MOST, equalize_channels

UNEVEN = np.float32([1e-3, 0.03, 1, 30])


def uneven_pair(activation: str, **attrs: object) -> Graph:
    """Two convolutions; the channels between them differ by powers of ten."""
    b = GraphBuilder("pair", (1, 6, 6, 3))
    kernel = b.random("first/kernel", (3, 3, 3, 4), 0.1)
    set_constant(b, kernel, b.graph.tensor(kernel).array * UNEVEN)
    bias = b.constant("first/bias", UNEVEN * np.float32([0.5, -0.1, 0.3, 0.2]))
    x = b.op("conv2d", ["input", kernel, bias], {"padding": (1, 1, 1, 1), "activation": activation}, name="first")
    x = b.depthwise(x, 3, name="second")
    return b.finish(b.conv2d(x, 5, 1, name="third"))


def assert_same_on(samples: list[np.ndarray], before: Graph, after: Graph) -> None:
    assert after.outputs == before.outputs
    for image in samples:
        want, got = (interpret(graph, {"input": image}) for graph in (before, after))
        for name, value in want.items():
            scale = max(float(np.abs(value).max()), 1e-6)
            np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-4 * scale, err_msg=name)


def stays_in_range(graph, samples) -> bool:
    """Whether float32 holds every activation: products of products may grow beyond it."""
    with np.errstate(over="ignore", invalid="ignore"):
        runs = [interpret(graph, {"input": image}, keep=True) for image in samples]
    return all(np.abs(value).max() < 1e12 for run in runs for value in run.values())


def unevenness(seen) -> float:
    """Widest channel over the geometric mean of the living ones."""
    reach = np.maximum(np.abs(seen.low), np.abs(seen.high))
    reach = reach[reach > 0].astype(np.float64)
    return float(reach.max() / np.exp(np.log(reach).mean()))


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=equalizable_nets(), seed=st.integers(0, 999), strength=st.sampled_from([0.3, 0.5, 1.0]))
def test_equalized_graphs_compute_the_same_on_what_calibration_saw(graph, seed, strength):
    samples = images(graph, 2, seed=seed)
    assume(stays_in_range(graph, samples))
    seen = statistics_of(graph, samples)
    after, scaled, _ = equalize_channels(graph, seen, strength)
    assert_same_on(samples, graph, after)
    measured = statistics_of(after, samples)
    assert measured.keys() == scaled.keys() == seen.keys()
    for name, got in scaled.items():
        for part in ("low", "high", "mean", "positions"):
            want = getattr(measured[name], part)
            atol = 2e-4 * max(float(np.abs(measured[name].positions).max()), 1e-6)
            np.testing.assert_allclose(getattr(got, part), want, rtol=1e-3, atol=atol, err_msg=f"{name} {part}")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=equalizable_nets(), seed=st.integers(0, 99))
def test_inputs_outputs_and_shared_kernels_stay(graph, seed):
    samples = images(graph, 2, seed=seed)
    assume(stays_in_range(graph, samples))
    after, _, _ = equalize_channels(graph, statistics_of(graph, samples))
    for tensor in graph.constants():
        readers = graph.consumers(tensor.name)
        if len(readers) > 1 or readers[0].op not in ("conv2d", "dense"):
            np.testing.assert_array_equal(after.tensor(tensor.name).array, tensor.array)
    assert [n.op for n in after.nodes] == [n.op for n in graph.nodes]


@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
def test_channels_get_evener(activation):
    graph = uneven_pair(activation)
    seen = statistics_of(graph, images(graph, 4, spread=0.3))
    after, scaled, count = equalize_channels(graph, seen)
    assert count >= 3
    for name in ("first", "second"):
        assert unevenness(scaled[name]) < 0.5 * unevenness(seen[name])
    assert_same_on(images(graph, 4, spread=0.3), graph, after)


def test_full_strength_makes_ranges_equal_up_to_the_most():
    graph = uneven_pair("relu")
    seen = statistics_of(graph, images(graph))
    _, scaled, _ = equalize_channels(graph, seen, 1.0)
    factors = scaled["first"].high / seen["first"].high
    assert factors.max() == pytest.approx(MOST)
    assert factors.min() >= 1
    free = factors < MOST * 0.999
    np.testing.assert_allclose(scaled["first"].high[free], seen["first"].high.max(), rtol=1e-5)


def test_strength_zero_changes_nothing():
    graph = uneven_pair("relu")
    after, _, count = equalize_channels(graph, statistics_of(graph, images(graph)), 0.0)
    assert count == 0
    for tensor in graph.constants():
        np.testing.assert_array_equal(after.tensor(tensor.name).array, tensor.array)


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_relu6_never_clips_more_than_before(strength, spread):
    graph = uneven_pair("relu6")
    samples = images(graph, 6, spread=spread)
    seen = statistics_of(graph, samples)
    after, scaled, _ = equalize_channels(graph, seen, strength)
    # What the layer computes before its clip, scaled, stays below 6 wherever it did.
    bare = after.copy()
    bare.replace_node(node := bare.nodes[0], node.with_attrs(activation="none"))
    reach = np.max([interpret(bare, {"input": x}, keep=True)["first"].max(axis=(0, 1, 2)) for x in samples], axis=0)
    open_channels = seen["first"].high < 6
    assert open_channels.any()
    assert (reach[open_channels] <= 6 * (1 + 1e-5)).all()
    saturating = ~open_channels
    np.testing.assert_array_equal(scaled["first"].high[saturating], seen["first"].high[saturating])
    assert_same_on(samples, graph, after)


def test_dead_channels_stay():
    graph = uneven_pair("relu")
    kernel, bias = graph.tensor("first/kernel").array.copy(), graph.tensor("first/bias").array.copy()
    kernel[..., 1], bias[1] = 0, -1
    set_constant(graph, "first/kernel", kernel)
    set_constant(graph, "first/bias", bias)
    samples = images(graph)
    after, scaled, _ = equalize_channels(graph, statistics_of(graph, samples))
    assert after.tensor("first/bias").array[1] == -1
    assert scaled["first"].high[1] == 0
    assert_same_on(samples, graph, after)


def test_an_output_in_the_middle_is_untouched():
    graph = uneven_pair("relu")
    graph.outputs = (*graph.outputs, "first")
    samples = images(graph)
    after, scaled, _ = equalize_channels(graph, statistics_of(graph, samples))
    np.testing.assert_array_equal(scaled["first"].high, statistics_of(graph, samples)["first"].high)
    assert_same_on(samples, graph, after)


def test_the_given_graph_is_not_changed():
    graph = uneven_pair("relu")
    before = graph.tensor("first/kernel").array.copy()
    equalize_channels(graph, statistics_of(graph, images(graph)))
    np.testing.assert_array_equal(graph.tensor("first/kernel").array, before)

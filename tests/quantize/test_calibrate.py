from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quantize_helpers import images, numpy_runner, statistics_of

from edgekit.errors import DataError, QuantizationError
from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.pipeline.float_runner import float_runner
from edgekit.quantize.calibrate import FIRST_SHARE, TensorStatistics, calibrate, most_positions, observed_tensors


def small_net(size: int = 8, channels: int = 3) -> Graph:
    b = GraphBuilder("small", (1, size, size, channels))
    x = b.conv2d("input", 6, 3, bias=True, name="conv")
    x = b.activation(x, "relu", name="relu")
    x = b.pool(x, "max_pool", 2, stride=2, name="pool")
    x = b.conv2d(x, 4, 1, name="next")
    x = b.global_avg_pool(x, name="gap")
    return b.finish(b.dense(x, 5, name="logits"))


def identity_net(shape: tuple[int, ...]) -> Graph:
    """Its input is its only observed tensor."""
    b = GraphBuilder("one", shape)
    return b.finish(b.op("identity", ["input"], name="out"))


def numbered(count: int, size: int, channels: int = 1) -> list[np.ndarray]:
    """Images whose every value is their own number."""
    return [np.full((1, size, size, channels), i, np.float32) for i in range(count)]


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 6),
    size=st.integers(1, 9),
    channels=st.integers(1, 5),
    seed=st.integers(0, 999),
    first=st.booleans(),
)
def test_extrema_and_mean_are_exact_in_either_layout(count, size, channels, seed, first):
    graph = identity_net((1, size, size, channels))
    samples = images(graph, count, seed=seed, spread=3)
    run = (lambda x: {"input": x.transpose(0, 3, 1, 2)}) if first else (lambda x: {"input": x})
    seen = calibrate(graph, run, samples, channel_axis=1 if first else 3)["input"]
    values = np.stack(samples).reshape(-1, channels)
    np.testing.assert_array_equal(seen.low, values.min(0))
    np.testing.assert_array_equal(seen.high, values.max(0))
    np.testing.assert_allclose(seen.mean, values.mean(0, dtype=np.float64), rtol=1e-6, atol=1e-6)
    assert {v.dtype.name for v in (seen.low, seen.high, seen.mean, seen.positions)} == {"float32"}


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 30), size=st.integers(2, 20), seed=st.integers(0, 99))
def test_kept_positions_are_vectors_of_the_data(count, size, seed):
    graph = identity_net((1, size, size, 2))
    samples = images(graph, count, seed=seed)
    seen = calibrate(graph, lambda x: {"input": x.transpose(0, 3, 1, 2)}, samples)["input"]
    vectors = {tuple(v) for v in np.stack(samples).reshape(-1, 2)}
    kept = [tuple(v) for v in seen.positions]
    assert set(kept) <= vectors
    assert len(set(kept)) == len(kept) <= most_positions(2)


@pytest.mark.parametrize("size", [1, 2, 7, 14, 40])
@pytest.mark.parametrize("count", [5, 43, 100, 700, 2500])
def test_sample_is_bounded_and_even_over_the_images(size, count):
    graph = identity_net((1, size, size, 1))
    seen = calibrate(graph, lambda x: {"input": x}, numbered(count, size), channel_axis=3)["input"]
    kept = np.bincount(seen.positions[:, 0].astype(int), minlength=count)
    most = most_positions(1)
    assert most // 2 <= kept.sum() <= most or kept.sum() == count * min(size**2, most // FIRST_SHARE)
    # Halves of the images weigh alike, to within what rounding one position an image can do.
    assert kept.max() - kept.min() <= 2
    assert abs(kept[: count // 2].sum() - kept[-(count // 2) :].sum()) <= 0.05 * kept.sum() + 2


def test_sample_covers_all_places_of_the_map():
    """Thinning the sample must not leave out rows or columns, such as the borders."""
    place = np.arange(196, dtype=np.float32).reshape(1, 14, 14, 1)
    seen = calibrate(identity_net(place.shape), lambda x: {"input": x}, [place] * 200, channel_axis=3)["input"]
    kept = np.bincount(seen.positions[:, 0].astype(int), minlength=196)
    assert (kept > 0).sum() >= 190
    assert kept[np.arange(196) % 2 == 0].sum() == pytest.approx(kept.sum() / 2, rel=0.1)


def test_onnxruntime_and_numpy_see_the_same():
    graph = small_net()
    samples = images(graph, 3)
    by_numpy = statistics_of(graph, samples)
    by_onnx = calibrate(graph, float_runner(graph, observed_tensors(graph)), samples)
    assert by_numpy.keys() == by_onnx.keys()
    for name, want in by_numpy.items():
        for part in ("low", "high", "mean"):
            np.testing.assert_allclose(getattr(by_onnx[name], part), getattr(want, part), rtol=1e-5, atol=1e-5)


def test_statistics_of_every_rank():
    b = GraphBuilder("ranks", (1, 4, 4, 6))
    flat = b.reshape(b.activation("input", "sigmoid", name="s"), (1, 16, 6), name="flat")
    graph = b.finish(b.activation(flat, "relu", name="r3"))
    samples = images(graph)
    for run, axis in ((numpy_runner(graph), 3), (float_runner(graph, observed_tensors(graph)), 1)):
        seen = calibrate(graph, run, samples, channel_axis=axis)["r3"]
        values = np.concatenate([interpret(graph, {"input": x})["r3"] for x in samples]).reshape(-1, 6)
        np.testing.assert_allclose(seen.high, values.max(0), rtol=1e-6)
        np.testing.assert_allclose(seen.mean, values.mean(0), rtol=1e-5)


def test_observed_are_inputs_layer_inputs_and_whatever_has_a_scale_of_its_own():
    assert set(observed_tensors(small_net())) == {"input", "conv", "relu", "pool", "next", "gap", "logits"}
    b = GraphBuilder("moves", (1, 4, 4, 2))
    x = b.channel_shuffle(b.concat(["input", "input"], name="cat"), 2, name="shuffled")
    assert observed_tensors(b.finish(x)) == ("input",)


def test_values_that_only_a_constant_brings_are_observed():
    b = GraphBuilder("constants", (1, 2, 2, 1))
    x = b.concat(["input", b.constant("c", np.full((1, 2, 2, 1), 50, np.float32))], name="cat")
    x = b.op("pad", [x], {"before": (0, 1, 1, 0), "after": (0, 0, 0, 0), "value": -70.0}, name="pad")
    seen = statistics_of(graph := b.finish(x), images(graph))
    assert seen["cat"].high.max() == 50
    assert seen["pad"].low.min() == -70


def test_memory_does_not_grow_with_the_images():
    graph = identity_net((1, 32, 32, 16))
    image = images(graph, 1)[0]
    calibrate(graph, lambda x: {"input": x}, [image], channel_axis=3)

    def peak(count: int) -> int:
        tracemalloc.start()
        calibrate(graph, lambda x: {"input": x}, (image for _ in range(count)), channel_axis=3)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(200) <= 1.1 * peak(20)


def test_calibration_is_deterministic():
    graph = small_net()
    samples = images(graph, 20)
    first, second = statistics_of(graph, samples), statistics_of(graph, iter(samples))
    for name, seen in first.items():
        for part in ("low", "high", "mean", "positions"):
            np.testing.assert_array_equal(getattr(seen, part), getattr(second[name], part))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_name_the_first_layer(bad):
    graph = small_net()
    kernel = graph.tensor("next/kernel").array.copy()
    kernel[0, 0, 0, 2] = bad
    graph.set_tensor(graph.tensor("next/kernel").with_data(kernel))
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(QuantizationError, match="layer 'next' gives NaN or infinite values; check the weights"),
    ):
        statistics_of(graph, images(graph))


def test_nan_in_an_image_names_the_input():
    graph = small_net()
    image = images(graph, 1)[0]
    image[0, 1, 1, 1] = np.nan
    with pytest.raises(QuantizationError, match="layer 'input' gives NaN"):
        statistics_of(graph, [image])


def test_opposite_infinities_are_no_warning():
    image = np.float32([np.inf, -np.inf]).reshape(1, 1, 2, 1)
    with pytest.raises(QuantizationError, match="layer 'input' gives NaN or infinite"):
        calibrate(identity_net(image.shape), lambda x: {"input": x}, [image])


def test_no_images():
    graph = small_net()
    with pytest.raises(DataError, match="calibration needs at least one image"):
        statistics_of(graph, [])


def test_scaled_statistics():
    positions = np.float32([[1, -2], [3, 4]])
    seen = TensorStatistics(*(np.float32(v) for v in ([1, -2], [3, 4], [2, 1])), positions)
    scaled = seen.scaled(np.float32([2, 0.5]))
    assert scaled.low.tolist() == [2, -1]
    assert scaled.high.tolist() == [6, 2]
    assert scaled.mean.tolist() == [4, 0.5]
    assert scaled.positions.tolist() == [[2, -1], [6, 2]]

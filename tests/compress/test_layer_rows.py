from __future__ import annotations

import numpy as np
import pytest

from edgekit.compress.layer_rows import from_maps, rows_at, sample_positions, to_maps, weight_layers
from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import run_node


def conv(groups: int = 1, **options: object) -> Graph:
    b = GraphBuilder("net", (1, 9, 8, 6), seed=1)
    return b.finish(b.conv2d("input", 12, (3, 2), groups=groups, bias=True, name="layer", **options))


@pytest.mark.parametrize(
    "graph",
    [
        conv(),
        conv(groups=3),
        conv(groups=6),
        conv(stride=2, padding=(1, 0, 2, 1)),
        conv(dilation=2, padding="valid"),
        conv(groups=2, stride=(1, 3), padding="same"),
    ],
    ids=["plain", "grouped", "depthwise", "padded", "dilated", "strided"],
)
def test_rows_times_maps_are_the_convolution(graph):
    (layer,) = weight_layers(graph)
    x = np.random.default_rng(0).standard_normal((1, 9, 8, 6)).astype(np.float32)
    kernel, bias = (graph.tensor(name).array for name in layer.inputs[1:])
    (expected,) = run_node(graph, layer, [x, kernel, bias])
    positions = sample_positions(graph, layer, 0, 11)
    maps = to_maps(kernel, layer.attrs["groups"])
    found = rows_at(graph, layer, x.transpose(0, 3, 1, 2), positions) @ maps
    outputs = found.swapaxes(0, 1).reshape(len(positions), -1) + bias
    np.testing.assert_allclose(outputs, expected.reshape(-1, 12)[positions], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(from_maps(maps, kernel.shape), kernel)


def test_rows_times_maps_are_the_dense_layer():
    b = GraphBuilder("net", (1, 7), seed=2)
    graph = b.finish(b.dense("input", 4, bias=False, name="layer"))
    (layer,) = weight_layers(graph)
    x = np.random.default_rng(0).standard_normal((1, 7)).astype(np.float32)
    kernel = graph.tensor(layer.inputs[1]).array
    positions = sample_positions(graph, layer, 3, 2)
    found = (rows_at(graph, layer, x, positions) @ to_maps(kernel, 1))[0]
    np.testing.assert_allclose(found, x @ kernel, rtol=1e-6)


def test_positions_are_distinct_repeatable_and_differ_between_images():
    graph = conv()
    (layer,) = weight_layers(graph)
    first, again, other = (sample_positions(graph, layer, image, 20) for image in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert len(set(first.tolist())) == 20
    assert set(first.tolist()) != set(other.tolist())
    assert sorted(sample_positions(graph, layer, 0, 1000).tolist()) == list(range(72))


def test_layers_that_share_a_kernel_or_compute_it_are_left_out():
    b = GraphBuilder("net", (1, 4, 4, 3), seed=0)
    x = b.conv2d("input", 3, 3, bias=True, name="first")
    x = b.conv2d(x, 3, 3, bias=True, name="own")
    kernel = "first/kernel"
    x = b.op("conv2d", [x, kernel, b.full("zeros", 3, 0.0)], {"padding": (1, 1, 1, 1)}, name="second")
    assert [node.name for node in weight_layers(b.finish(x))] == ["own"]

from __future__ import annotations

import numpy as np
import pytest
from pass_helpers import assert_refuses, assert_same, randomise, share_kernel

from edgekit.errors import QuantizationError
from edgekit.graph import GraphBuilder
from edgekit.passes import apply_passes, store_half


def test_stores_kernels_and_nothing_else():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.depthwise(b.conv2d("input", 8, 3, bias=True, name="conv"), 3, name="dw")
    graph = randomise(b.finish(b.dense(b.global_avg_pool(x, name="pool"), 5, name="fc")))
    after, reports = apply_passes(graph, ["store_half"])
    half = [t.name for t in after.constants() if t.dtype == "float16"]
    assert half == ["conv/kernel", "dw/kernel", "fc/kernel"]
    assert reports[0].count == 3
    assert {after.tensor(n.output).dtype for n in after.nodes} == {"float32"}
    assert_same(graph, after, rtol=2e-3)
    assert store_half(after) == 0


def test_values_are_the_nearest_halves():
    b = GraphBuilder("net", (1, 4, 4, 4))
    graph = b.finish(b.conv2d("input", 8, 3, name="conv"))
    kernel = graph.tensor("conv/kernel").array
    store_half(graph)
    np.testing.assert_array_equal(graph.tensor("conv/kernel").array, kernel.astype(np.float16))


def test_a_kernel_that_two_layers_share_is_stored_once():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.conv2d("input", 4, 1, name="conv")
    graph = b.finish(share_kernel(b, x, "conv/kernel", name="twin"))
    assert store_half(graph) == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [(1e5, "'conv/kernel' holds 100000, which float16 cannot"), (np.inf, "holds inf"), (np.nan, "holds nan")],
)
def test_overflow_is_an_error(value, message):
    b = GraphBuilder("net", (1, 4, 4, 4))
    graph = b.finish(b.conv2d("input", 4, 1, name="conv"))
    kernel = graph.tensor("conv/kernel").array.copy()
    kernel[0, 0, 1, 2] = value
    graph.set_tensor(graph.tensor("conv/kernel").with_data(kernel))
    with pytest.raises(QuantizationError, match=message):
        store_half(graph)


def test_the_largest_half_is_no_overflow():
    b = GraphBuilder("net", (1, 4, 4, 4))
    graph = b.finish(b.conv2d("input", 4, 1, name="conv"))
    graph.set_tensor(graph.tensor("conv/kernel").with_data(np.full((1, 1, 4, 4), -65504, np.float32)))
    assert store_half(graph) == 1


def test_small_kernels_stay():
    b = GraphBuilder("net", (1, 4, 4, 3))
    graph = b.finish(b.conv2d("input", 5, 1, name="conv"))
    assert assert_refuses(graph, store_half) == "conv (conv2d): 'conv/kernel' has 15 elements, fewer than 16"


def test_computed_kernels_stay():
    b = GraphBuilder("net", (1, 4, 4, 4))
    graph = b.finish(b.op("conv2d", ["input", b.input("kernel", (1, 1, 4, 4))], name="conv"))
    assert "'kernel' is computed, not constant" in assert_refuses(graph, store_half)


def test_kernels_that_another_op_reads_stay():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.conv2d("input", 4, 1, name="conv")
    graph = b.finish(b.add(x, "conv/kernel", name="sum"))
    assert "'conv/kernel' is read by sum (add) too" in assert_refuses(graph, store_half)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pass_helpers import assert_rewrites

from edgekit.graph import GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.passes.lower_composites import lower_composites


@pytest.mark.parametrize("shape", [(1, 4, 4, 3), (2, 5)])
def test_swish_becomes_a_gate(shape):
    b = GraphBuilder("net", shape)
    after = assert_rewrites(
        b.finish(b.activation("input", "swish", name="act")), lower_composites, 1, ["sigmoid", "mul"]
    )
    assert after.nodes[1].inputs == ("input", "act/sigmoid")


def test_the_usual_hard_sigmoid_needs_no_factor():
    b = GraphBuilder("net", (1, 4, 4, 3))
    graph = b.finish(b.activation("input", "hard_sigmoid", name="act"))
    after = assert_rewrites(graph, lower_composites, 1, ["add", "relu6", "mul"])
    assert [t.array.tolist() for t in after.constants()] == [[3.0], [np.float32(1 / 6)]]


def test_a_slope_that_went_through_float32_needs_no_factor_either():
    b = GraphBuilder("net", (1, 4, 4, 3))
    graph = b.finish(b.op("hard_sigmoid", ["input"], {"slope": float(np.float32(1 / 6))}, name="act"))
    assert_rewrites(graph, lower_composites, 1, ["add", "relu6", "mul"])


@given(slope=st.floats(-2, 2, width=32), offset=st.floats(-2, 2, width=32), seed=st.integers(0, 2**16))
def test_any_hard_sigmoid(slope, offset, seed):
    b = GraphBuilder("net", (1, 4, 4, 3))
    graph = b.finish(b.op("hard_sigmoid", ["input"], {"slope": slope, "offset": offset}, name="act"))
    x = np.random.default_rng(seed).normal(0, 3, (1, 4, 4, 3)).astype(np.float32)
    assert lower_composites(graph) == 1
    expected = np.clip(x.astype(np.float64) * slope + offset, 0, 1)
    np.testing.assert_allclose(interpret(graph, {"input": x})["act"], expected, rtol=1e-5, atol=2e-6)


def test_other_activations_stay():
    b = GraphBuilder("net", (1, 4, 4, 3))
    graph = b.finish(b.activation(b.activation("input", "hard_swish", name="one"), "sigmoid", name="two"))
    assert lower_composites(graph) == 0

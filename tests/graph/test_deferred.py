"""Arrays that are made when they are first asked for."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.graph.builder import GraphBuilder
from edgekit.graph.cost import graph_cost
from edgekit.graph.deferred import Deferred
from edgekit.graph.ir import Tensor


def test_the_array_is_made_once_and_is_read_only():
    calls = []

    def make():
        calls.append(1)
        return np.arange(6, dtype=np.float32).reshape(2, 3)

    deferred = Deferred((2, 3), "float32", make)
    tensor = Tensor("w", (2, 3), "float32", deferred)
    assert (tensor.is_constant, tensor.size, tensor.nbytes, calls) == (True, 6, 24, [])
    twin = Tensor("other", (2, 3), "float32", deferred)
    assert tensor.array is twin.array
    assert (calls, tensor.array[1, 2], tensor.array.flags.writeable) == ([1], 5, False)


@pytest.mark.parametrize("made", [np.zeros((3, 2), np.float32), np.zeros((2, 3))])
def test_an_array_that_is_not_what_was_promised_is_refused(made):
    with pytest.raises(ValueError, match=r"got float\d+\(\d, \d\), promised float32\(2, 3\)"):
        Deferred((2, 3), "float32", lambda: made).value()


def test_building_and_counting_draw_no_weights():
    b = GraphBuilder("g", (1, 2**20))
    graph = b.finish(b.dense("input", 2**20, bias=False, name="d"))  # 4 TiB
    assert graph_cost(graph.copy()).parameters == 2**40

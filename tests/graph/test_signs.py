from __future__ import annotations

import numpy as np
import pytest

from edgekit.graph import GraphBuilder
from edgekit.graph.signs import is_non_negative


def build() -> GraphBuilder:
    b = GraphBuilder("net", (1, 4, 4, 2))
    relu = b.activation("input", "relu", name="relu")
    swish = b.activation("input", "swish", name="swish")
    b.add(relu, relu, name="sum")
    b.add(relu, swish, name="mixed_sum")
    b.mul(relu, b.constant("two", np.float32([2, 0])), name="scaled")
    b.mul(relu, b.constant("minus", np.float32([2, -1])), name="flipped")
    b.concat([relu, "sum"], name="cat")
    b.concat([relu, swish], name="mixed_cat")
    b.pool("cat", "max_pool", 2, stride=2, name="pool")
    b.op("pad", [relu], {"before": (0, 1, 0, 0), "after": (0, 0, 0, 0), "value": -1.0}, name="minus_pad")
    b.pad(relu, (1, 0, 0, 0), name="zero_pad")
    b.conv2d(relu, 2, 1, name="conv")
    b.op("conv2d", [relu, "conv/kernel"], {"activation": "relu6"}, name="fused")
    b.split("cat", (1, 3), name="pieces")
    return b


@pytest.mark.parametrize("name", ["relu", "sum", "scaled", "cat", "pool", "zero_pad", "fused", "pieces/1", "two"])
def test_knows_what_cannot_be_negative(name):
    assert is_non_negative(build().graph, name)


@pytest.mark.parametrize(
    "name", ["input", "swish", "mixed_sum", "flipped", "mixed_cat", "minus_pad", "conv", "minus", "no such tensor"]
)
def test_claims_nothing_of_the_rest(name):
    assert not is_non_negative(build().graph, name)

"""Random networks of the mobile families keep healthy activations, so that int8 has something to keep."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.graph.interpret import interpret
from edgekit.zoo import build_model

VARIANTS = [
    ("squeezenet", {}),
    ("squeezenet", {"version": "1.1"}),
    ("squeezenet", {"bypass": "simple"}),
    ("squeezenet", {"bypass": "complex"}),
    ("squeezenext", {}),
    ("squeezenext", {"version": "44", "alpha": 0.5}),
    ("mobilenet_v3_small", {}),
    ("mobilenet_v3_small", {"minimalistic": "on"}),
    ("mobilenet_v3_large", {"alpha": 0.5}),
    ("shufflenet_v1", {"groups": 8}),
    ("shufflenet_v1", {"alpha": 0.25}),
    ("shufflenet_v2", {}),
    ("shufflenet_v2", {"squeeze_excite": "on"}),
    ("shufflenet_v2", {"residual": "on", "unit": "torchvision"}),
]


@pytest.mark.parametrize(("model", "options"), VARIANTS)
def test_random_networks_keep_healthy_activations(model, options):
    """Neither dead nor saturated, neither growing nor fading by a factor of 100; a softmax that is not flat.

    What is added to a longer path is small on purpose, and left out of that factor.
    """
    graph = build_model(model, resolution=96, **options)
    image = np.random.default_rng(0).uniform(-1.5, 1.5, (1, 6, 6, 3)).repeat(16, 1).repeat(16, 2).astype(np.float32)
    values = interpret(graph, {"input": image}, keep=True)
    features = [n for n in graph.nodes if n.op in ("relu", "hard_swish") and values[n.output].size > 1000]
    path = [n for n in features if not any(reader.op == "add" for reader in graph.consumers(n.output))]
    spreads = [values[n.output].std() for n in path]
    assert max(spreads) / min(spreads) < 100
    for node in features:
        assert (values[node.output] != 0).mean() > 0.1, node.name
    for node in graph.nodes:
        if node.op in ("sigmoid", "hard_sigmoid"):
            assert 0.1 < values[node.output].mean() < 0.9, node.name
    assert values[graph.outputs[0]].max() > 10 / 1000

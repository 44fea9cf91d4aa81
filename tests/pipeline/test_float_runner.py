"""The calibration's runner gives what the numpy interpreter gives, for every activation it is asked for."""

from __future__ import annotations

import numpy as np

from edgekit.graph import GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.pipeline.float_runner import float_runner


def test_every_observed_activation_is_that_of_the_interpreter() -> None:
    b = GraphBuilder("net", (1, 9, 7, 3), seed=1)
    x = b.activation(b.conv2d("input", 8, 3, stride=2, name="conv"), "relu", name="act")
    x = b.dense(b.global_avg_pool(x, name="pool"), 4, name="fc")
    graph = b.finish(b.activation(x, "softmax", name="probabilities"))
    observed = ("input", "conv", "act", "pool", "fc", "probabilities")
    run = float_runner(graph, observed)
    rng = np.random.default_rng(0)
    for _ in range(2):  # the buffers are used again
        image = rng.standard_normal((1, 9, 7, 3)).astype(np.float32)
        expected = interpret(graph, {"input": image}, keep=True)
        found = run(image)
        for name in observed:
            wanted = expected[name].transpose(0, 3, 1, 2) if expected[name].ndim == 4 else expected[name]
            np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-6, err_msg=name)

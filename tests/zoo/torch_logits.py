"""Compares a graph's logits with those of a torch network that has the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx_run import run_logits
from torch_twin import copy_weights

from edgekit.graph.ir import Graph


def check_against_torch(graph: Graph, net: Any, tolerance: float = 1e-4) -> None:
    """The same weights, of the graph, give the same logits in torch's network; tolerance: of the largest one."""
    import torch

    copy_weights(graph, net)
    x = np.random.default_rng(0).uniform(-1, 1, graph.shape("input")).astype(np.float32)
    with torch.no_grad():
        theirs = net.eval()(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    assert np.ptp(theirs) > 0.1, "the test needs an output that is not flat"
    np.testing.assert_allclose(run_logits(graph, x), theirs, rtol=0, atol=tolerance * np.abs(theirs).max())

"""What the tests of the passes share: random constants, running, comparing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgekit.graph import Graph, GraphBuilder, Tensor
from edgekit.graph.interpret import interpret
from edgekit.graph.ir import Array
from edgekit.graph.validate import validate
from edgekit.passes.refusals import collect_refusals

Pass = Callable[[Graph], int]


def randomise(graph: Graph, seed: int = 0) -> Graph:
    """Draw batch norm statistics and biases, which the builder leaves at 0 and 1."""
    rng = np.random.default_rng(seed)
    for tensor in graph.constants():
        kind = tensor.name.rsplit("/", 1)[-1]
        if kind in ("beta", "mean", "bias"):
            graph.set_tensor(tensor.with_data(rng.normal(0, 1, tensor.shape).astype(np.float32)))
        elif kind == "gamma":
            signs = rng.choice([-1.0, 1.0], tensor.shape)
            graph.set_tensor(tensor.with_data((signs * rng.uniform(0.5, 1.5, tensor.shape)).astype(np.float32)))
        elif kind == "variance":
            graph.set_tensor(tensor.with_data(rng.uniform(0.2, 2.0, tensor.shape).astype(np.float32)))
    return graph


def random_feeds(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """One random normal array for each input."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 2, graph.shape(name)).astype(np.float32) for name in graph.inputs}


def assert_same(before: Graph, after: Graph, *, seed: int = 0, rtol: float = 1e-5) -> None:
    """Both graphs have the same ends and, for random inputs, outputs within `rtol` of the largest value."""
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    feeds = random_feeds(before, seed)
    expected, actual = interpret(before, feeds), interpret(after, feeds)
    for name, value in expected.items():
        np.testing.assert_allclose(
            actual[name], value, rtol=rtol, atol=rtol * max(1.0, float(np.abs(value).max())), err_msg=name
        )


def assert_rewrites(graph: Graph, run: Pass, count: int, ops: Sequence[str]) -> Graph:
    """`run` makes `count` rewrites, leaves `ops` in order, computes the same, and then has nothing left to do."""
    after = graph.copy()
    assert run(after) == count
    assert [n.op for n in validate(after, run.__name__).nodes] == list(ops)
    assert_same(graph, after)
    assert run(after) == 0
    return after


def assert_refuses(graph: Graph, run: Pass) -> str:
    """`run` changes nothing; returns the reasons that it gives, one a line."""
    after = graph.copy()
    with collect_refusals() as refusals:
        assert run(after) == 0
    assert after.nodes == graph.nodes
    assert dict(after.tensors) == dict(graph.tensors)
    return "\n".join(refusals.values())


def share_kernel(builder: GraphBuilder, x: str, kernel: str, *, name: str) -> str:
    """A second convolution with the kernel of another."""
    return builder.op("conv2d", [x, kernel], name=name)


def values(builder: GraphBuilder, name: str, shape: Sequence[int], *, low: float = -2, high: float = 2) -> str:
    """A constant of seeded uniform numbers."""
    rng = np.random.default_rng(len(name) + 7)
    return builder.graph.add_tensor(Tensor.constant(name, rng.uniform(low, high, tuple(shape)).astype(np.float32))).name

"""All passes together over small random graphs."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pass_helpers import assert_same, randomise, values

from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.text import graph_text
from edgekit.passes import PASSES, apply_passes

LAYERS = (
    "conv", "conv", "grouped", "depthwise", "batch_norm", "batch_norm", "relu", "relu6", "swish", "hard_sigmoid",
    "hard_swish", "pad", "max_pool", "avg_pool", "mul", "add", "sum", "gate", "concat", "split", "identity",
    "there_and_back", "turn_twice", "gather", "shuffle", "fork",
)  # fmt: skip


class RandomNet:
    """Grows a net of maps layer by layer; `fork` keeps a tensor, which a later sum, gate or output reads."""

    def __init__(self, data: st.DataObject, seed: int) -> None:
        self.data, self.builder = data, GraphBuilder("random", (1, 6, 6, 4), seed=seed)
        self.kept: list[str] = []

    def pick(self, *choices):
        return self.data.draw(st.sampled_from(choices))

    def grow(self, x: str, layer: str, name: str) -> str:
        b, (_, h, w, c) = self.builder, self.builder.shape(x)
        if layer in ("conv", "grouped", "depthwise"):
            return self.convolution(x, layer, name)
        if layer in ("batch_norm", "relu", "relu6", "swish", "hard_swish"):
            return b.batch_norm(x, name=name) if layer == "batch_norm" else b.activation(x, layer, name=name)
        if layer == "hard_sigmoid":
            attrs = {"slope": self.pick(1 / 6, 0.2, -0.5), "offset": self.pick(0.5, 0.0)}
            return b.op(layer, [x], attrs, name=name)
        if layer == "pad":
            sides = (0, self.pick(0, 1), 1, 0)
            return b.pad(x, sides, name=name)
        if layer in ("max_pool", "avg_pool"):
            kernel = (h, w) if self.pick(False, False, True) else (min(h, 2), min(w, 3))
            return b.pool(x, layer, kernel, stride=self.pick(1, 2), name=name)
        if layer in ("mul", "add"):
            return b.op(layer, [x, values(b, f"{name}/c", self.pick((), (c,), (1, 1, 1, c), (1, h, 1, 1)))], name=name)
        return self.plumbing(x, layer, name)

    def convolution(self, x: str, layer: str, name: str) -> str:
        b, c = self.builder, self.builder.channels(x)
        groups = {"conv": 1, "grouped": 2 if c % 2 == 0 else 1, "depthwise": c}[layer]
        filters = c * self.pick(1, 2 if c < 9 else 1) if layer == "depthwise" else 4
        options = {"padding": self.pick("same", "same", 0, (1, 0, 2, 1)), "stride": self.pick(1, 2)}
        size = self.pick(1, 3) if min(b.shape(x)[1:3]) >= 3 else 1
        return b.conv2d(x, filters, size, groups=groups, bias=self.pick(False, True), **options, name=name)

    def plumbing(self, x: str, layer: str, name: str) -> str:
        b, shape = self.builder, self.builder.shape(x)
        if layer in ("sum", "gate"):
            other = next((k for k in self.kept if b.shape(k) == shape), x)
            return b.op("add" if layer == "sum" else "mul", [x, other], name=name)
        if layer == "concat":
            return b.concat([x, x] if shape[3] < 9 else [x], name=name)
        if layer == "split" and shape[3] > 1:
            pieces = b.split(x, (1, shape[3] - 1), name=name)
            return pieces[self.pick(0, 1)]
        if layer == "there_and_back":
            return b.reshape(b.reshape(x, (1, int(np.prod(shape))), name=f"{name}/flat"), shape, name=name)
        if layer == "turn_twice":
            return b.transpose(b.transpose(x, (0, 3, 1, 2), name=f"{name}/t"), (0, 2, 3, 1), name=name)
        if layer == "gather":
            order = tuple(range(shape[3]))
            return b.gather(x, self.pick(order, order[::-1]), name=name)
        if layer == "shuffle":
            return b.channel_shuffle(x, self.pick(1, shape[3]), name=name)
        if layer == "fork":
            self.kept.append(x)
        return b.op(self.pick("identity", "dropout"), [x], name=name)

    def finish(self, x: str) -> Graph:
        """One to three outputs; most nets end in a classifier."""
        b = self.builder
        made = {n.output for n in b.graph.nodes}
        extra = [k for k in dict.fromkeys(self.kept) if k in made and k != x]
        if self.pick(True, True, False):
            x = b.global_avg_pool(x, keep_dims=True, name="pool")
            x = b.dense(b.reshape(x, (1, b.channels(x)), name="flat"), 3, name="fc")
        return b.finish(x, *(extra[: self.pick(0, 2)]))


@st.composite
def nets(draw: st.DrawFn) -> Graph:
    net = RandomNet(draw(st.data()), seed := draw(st.integers(0, 2**16)))
    x = "input"
    for i, layer in enumerate(draw(st.lists(st.sampled_from(LAYERS), min_size=1, max_size=12))):
        x = net.grow(x, layer, f"n{i}_{layer}")
    return randomise(net.finish(x), seed)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=nets(), seed=st.integers(0, 2**16))
def test_all_passes_keep_what_the_graph_computes(graph, seed):
    after, _ = apply_passes(graph)
    assert_same(graph, after, seed=seed, rtol=2e-5)
    assert not {n.op for n in after.nodes} & {"batch_norm", "swish", "hard_sigmoid", "dropout"} - kept_ends(after)
    again, reports = apply_passes(after)
    assert not any(r.count for r in reports)
    assert graph_text(again) == graph_text(after)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=nets(), names=st.sets(st.sampled_from([row.name for row in PASSES if row.default]), min_size=1))
def test_any_choice_of_passes_keeps_what_the_graph_computes(graph, names):
    after, _ = apply_passes(graph, names)
    assert_same(graph, after, rtol=2e-5)


def kept_ends(graph: Graph) -> set[str]:
    """Ops that may stay because they make a graph output of another output or of an input."""
    return {n.op for n in graph.nodes if n.op == "dropout" and n.output in graph.outputs}

"""Random graphs of channel moves and convolutions of every grouping, fused for targets of extreme prices."""

from __future__ import annotations

import numpy as np
from fusion_nets import assert_exact, int8_of, retargeted, tiled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.graph import Graph, GraphBuilder
from edgekit.passes import apply_passes
from edgekit.passes.fuse_channels import fuse_channels
from edgekit.passes.target import DEFAULT_ONNX, DEFAULT_TFLITE

LAYERS = (
    "conv", "grouped", "grouped", "depthwise", "doubling", "shuffle", "shuffle", "split", "slice", "concat", "gather",
    "permute", "keras_shuffle", "add", "gate", "relu", "pool", "fork", "output", "norm",
)  # fmt: skip
TARGETS = (
    DEFAULT_TFLITE,
    DEFAULT_ONNX,
    retargeted(),
    retargeted(mac=10.0),
    retargeted(mac=10.0, gather=0.0, concat_inputs=2),
    tiled(),
)


class Net:
    """Grows a net; `kept` tensors are read again by sums, gates and concats, `ends` become outputs."""

    def __init__(self, data: st.DataObject, seed: int) -> None:
        self.data, self.b = data, GraphBuilder("random", (1, 3, 3, 6), seed=seed)
        self.kept: list[str] = []
        self.ends: list[str] = []

    def pick(self, *choices):
        return self.data.draw(st.sampled_from(choices))

    def grow(self, x: str, layer: str, name: str) -> str:
        b, shape = self.b, self.b.shape(x)
        c = shape[3]
        groups = self.pick(*[g for g in range(1, c + 1) if c % g == 0])
        match layer:
            case "conv":
                return b.conv2d(x, self.pick(4, 6, 12), self.pick(1, 3), bias=True, name=name)
            case "grouped":
                return b.conv2d(
                    x, groups * self.pick(1, 2) if c > 12 else c * self.pick(1, 2), 1, groups=groups, name=name
                )
            case "depthwise":
                return b.depthwise(x, 3, name=name)
            case "doubling" if c <= 12:
                return b.conv2d(x, 2 * c, 1, groups=c, name=name)
            case "shuffle":
                return b.channel_shuffle(x, groups, name=name)
            case "keras_shuffle":
                y = b.reshape(x, (*shape[:3], groups, c // groups), name=f"{name}/apart")
                return b.reshape(b.transpose(y, (0, 1, 2, 4, 3), name=f"{name}/turned"), shape, name=name)
            case "split" if c > 1:
                pieces = b.split(x, (c // 3 + (c < 3), c - c // 3 - (c < 3)), name=name)
                self.kept.append(pieces[0])
                return pieces[1]
            case "slice" if c > 2:
                bounds = {"begin": (0, 0, 0, 1), "end": (*shape[:3], c), "strides": (1, 1, 1, self.pick(1, 2))}
                return b.op("slice", [x], bounds, name=name)
            case "gather":
                picks = self.data.draw(st.lists(st.integers(0, c - 1), min_size=2, max_size=8))
                return b.gather(x, picks, name=name)
            case "permute":
                return b.gather(x, self.data.draw(st.permutations(range(c))), name=name)
        return self.join(x, layer, name)

    def join(self, x: str, layer: str, name: str) -> str:
        b, shape = self.b, self.b.shape(x)
        like = [k for k in self.kept if b.shape(k) == shape]
        match layer:
            case "add" if like:
                return b.add(x, self.pick(*like), name=name)
            case "concat" if self.kept and sum(b.channels(k) for k in (x, *self.kept[-2:])) < 40:
                return b.concat([x, *self.kept[-2:]], name=name)
            case "gate":
                pooled = b.global_avg_pool(x, keep_dims=True, name=f"{name}/pool")
                gate = b.activation(b.conv2d(pooled, shape[3], 1, name=f"{name}/fc"), "sigmoid", name=f"{name}/sigmoid")
                return b.mul(x, gate, name=name)
            case "relu":
                return b.activation(x, "relu", name=name)
            case "norm":
                return b.batch_norm(x, name=name)
            case "pool":
                return b.pool(x, "max_pool", 3, stride=1, padding=1, name=name)
            case "output" if b.graph.producer(x):
                self.ends.append(x)
            case "fork":
                self.kept.append(x)
        return x


@st.composite
def nets(draw: st.DrawFn) -> Graph:
    net = Net(draw(st.data()), draw(st.integers(0, 99)))
    x = net.b.conv2d("input", 12, 1, bias=True, name="first")
    for i, layer in enumerate(draw(st.lists(st.sampled_from(LAYERS), min_size=3, max_size=14))):
        x = net.grow(x, layer, f"n{i}_{layer}")
    last = net.b.conv2d(x, 5, 1, bias=True, name="last")
    return net.b.finish(*dict.fromkeys((last, *net.ends)))


quiet = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@settings(quiet, max_examples=150)
@given(graph=nets(), target=st.sampled_from(TARGETS), lower=st.booleans())
def test_float_outputs_stay(graph, target, lower):
    source = apply_passes(graph)[0] if lower else graph
    fused, report = fuse_channels(source, target)
    assert_exact(source, fused)
    assert report.changed or [n.op for n in fused.nodes] == [n.op for n in source.nodes]
    assert target.graph_ns(fused) <= target.graph_ns(source)


@settings(quiet, max_examples=80)
@given(graph=nets(), target=st.sampled_from(TARGETS))
def test_int8_outputs_stay_to_the_bit(graph, target):
    source = int8_of(apply_passes(graph)[0])
    fused, _ = fuse_channels(source, target)
    assert_exact(source, fused)
    again, report = fuse_channels(fused, target)
    assert_exact(fused, again)
    assert np.isclose(target.graph_ns(again), target.graph_ns(fused)) or report.changed

"""Random float nets of all ops that channel scales can pass through, or must not, with badly scaled channels."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from edgekit.graph import Graph, GraphBuilder

MAPS = (
    "conv", "conv", "grouped", "depthwise", "relu", "relu", "relu6", "max_pool", "avg_pool", "concat", "concat_rows",
    "split", "split_rows", "slice", "gather", "gather_rows", "shuffle", "add", "add_vector", "add_constant", "mul",
    "mul_constant", "square", "gate", "pad", "pad_value", "pad_channels", "turn", "turn_channels", "mix", "hard_swish",
    "fork", "shared", "output",
)  # fmt: skip
ROWS = ("relu", "split_last", "gather_last", "slice", "concat_last", "add", "shuffle", "relu6", "turn_rows")
VECTORS = ("dense", "dense", "relu", "relu6", "split_last", "gather_last", "concat_last", "add", "slice", "shuffle")


class EqualizableNet:
    """Grows a net: maps, then perhaps rows (1, H * W, C), then perhaps vectors (1, C)."""

    def __init__(self, data: st.DataObject, seed: int) -> None:
        self.data, self.builder, self.rng = (
            data,
            GraphBuilder("net", (1, 6, 5, 4), seed=seed),
            np.random.default_rng(seed),
        )
        self.kept: list[str] = []
        self.outputs: list[str] = []

    def pick(self, *choices):
        return self.data.draw(st.sampled_from(choices))

    def constant(self, name: str, shape: tuple[int, ...]) -> str:
        return self.builder.constant(name, self.rng.normal(0, 1, shape).astype(np.float32))

    def grow(self, x: str, layer: str, name: str) -> str:
        b, shape = self.builder, self.builder.shape(x)
        c, last = shape[-1], len(shape) - 1
        if layer in ("relu", "relu6", "hard_swish"):
            return b.activation(x, layer, name=name)
        if layer in ("conv", "grouped", "depthwise", "dense", "shared"):
            return self.layer(x, layer, name)
        if layer in ("split_last", "split", "split_rows"):
            axis = 1 if layer == "split_rows" else last
            size = shape[axis]
            pieces = b.split(x, (size // 2, size - size // 2), axis=axis, name=name) if size > 1 else (x, x)
            return b.concat(pieces[::-1], axis=axis, name=f"{name}/back") if self.pick(True, False) else pieces[1]
        if layer in ("gather_last", "gather", "gather_rows"):
            axis = 1 if layer == "gather_rows" else last
            return b.gather(x, self.rng.permutation(shape[axis])[: max(1, self.pick(2, 8))], axis=axis, name=name)
        if layer in ("concat", "concat_last"):
            return b.concat([x, self.partner(x), x] if c < 9 else [x, x], axis=last, name=name)
        if layer == "slice":
            begin = (0,) * last + (0 if c == 1 else 1,)
            attrs = {"begin": begin, "end": shape, "strides": (1,) * last + (self.pick(1, 2),)}
            return b.op("slice", [x], attrs, name=name)
        if layer == "add":
            return b.op("add", [x, self.partner(x)], {"activation": self.pick("none", "relu", "relu6")}, name=name)
        if layer == "shuffle":
            return b.channel_shuffle(x, self.pick(*(g for g in (1, 2, 4, c) if c % g == 0)), name=name)
        if layer == "turn_rows":
            return b.transpose(x, (0, 2, 1), name=name)
        return self.grow_map(x, layer, name)

    def partner(self, x: str) -> str:
        """Another tensor of the same shape, or x again."""
        return next((k for k in self.kept if k != x and self.builder.shape(k) == self.builder.shape(x)), x)

    def grow_map(self, x: str, layer: str, name: str) -> str:
        b, (_, h, w, c) = self.builder, self.builder.shape(x)
        if layer in ("max_pool", "avg_pool"):
            return b.pool(x, layer, (min(h, 2), min(w, 2)), stride=1, padding="same", name=name)
        if layer == "concat_rows":
            return b.concat([x, self.partner(x)] if h < 9 else [x], axis=1, name=name)
        if layer in ("add_vector", "mul", "gate"):
            other = b.global_avg_pool(x, keep_dims=True, name=f"{name}/squeeze")
            other = b.activation(other, "sigmoid", name=f"{name}/gate") if layer == "gate" else other
            return b.op("add" if layer == "add_vector" else "mul", self.pick([x, other], [other, x]), name=name)
        if layer == "square":
            return b.mul(x, self.partner(x), name=name)
        if layer in ("add_constant", "mul_constant"):
            value = self.constant(f"{name}/c", self.pick((c,), (1, 1, 1, 1), (1, h, 1, 1)))
            attrs = {"activation": self.pick("none", "relu6")}
            return b.op(layer.removesuffix("_constant"), self.pick([x, value], [value, x]), attrs, name=name)
        if layer.startswith("pad"):
            sides = (0, 1, 0, 1) if layer == "pad_channels" else (0, 1, 1, 0)
            value = 0.7 if layer == "pad_value" else 0.0
            return b.op("pad", [x], {"before": sides, "after": (0, 0, 1, 0), "value": value}, name=name)
        if layer in ("turn", "turn_channels"):
            return b.transpose(x, (0, 2, 1, 3) if layer == "turn" else (0, 1, 3, 2), name=name)
        if layer == "mix":
            return b.reshape(x, (1, h, c, w) if c != w else (1, w, h, c), name=name)
        self.kept.append(x)
        if layer == "output" and x != "input":
            self.outputs.append(x)
        return x

    def layer(self, x: str, kind: str, name: str) -> str:
        b, c = self.builder, self.builder.channels(x)
        groups = {"grouped": 2 if c % 2 == 0 else 1, "depthwise": c}.get(kind, 1)
        filters = {"depthwise": c * self.pick(1, 2) if c < 9 else c}.get(kind, self.pick(4, 6))
        shape = (c, filters) if kind == "dense" else (*self.pick((1, 1), (3, 1), (2, 2)), c // groups, filters)
        spread = np.exp(self.rng.uniform(-4, 2, filters))
        kernel = b.constant(f"{name}/kernel", (self.rng.normal(0, 1, shape) * spread).astype(np.float32))
        inputs = [x, kernel]
        if self.pick(True, True, False):
            inputs.append(b.constant(f"{name}/bias", (self.rng.normal(0, 1, filters) * spread).astype(np.float32)))
        attrs = {"activation": self.pick("none", "relu", "relu6")}
        if kind != "dense":
            attrs |= {"groups": groups, "padding": (1, 1, 1, 0)}
        y = b.op("dense" if kind == "dense" else "conv2d", inputs, attrs, name=name)
        if kind == "shared":
            twin = b.op(
                "conv2d", [b.activation(x, "relu", name=f"{name}/other"), *inputs[1:]], attrs, name=f"{name}/twin"
            )
            y = b.add(y, twin, name=f"{name}/sum")
        return y

    def finish(self, x: str) -> Graph:
        b, draw = self.builder, self.data.draw
        if self.pick(True, False):
            _, h, w, c = b.shape(x)
            x = b.reshape(x, (1, h * w, c), name="rows")
            for i, layer in enumerate(draw(st.lists(st.sampled_from(ROWS), max_size=3))):
                x = self.grow(x, layer, f"r{i}_{layer}")
        else:
            x = b.global_avg_pool(x, keep_dims=self.pick(True, False), name="pool")
            x = b.reshape(x, (1, b.channels(x)), name="vector")
            for i, layer in enumerate(draw(st.lists(st.sampled_from(VECTORS), max_size=4))):
                x = self.grow(x, layer, f"v{i}_{layer}")
            x = b.dense(x, 3, name="fc")
        return b.finish(x, *(o for o in dict.fromkeys(self.outputs) if o != x))


@st.composite
def equalizable_nets(draw: st.DrawFn) -> Graph:
    net = EqualizableNet(draw(st.data()), draw(st.integers(0, 2**16)))
    x = net.grow("input", "conv", "first")
    for i, layer in enumerate(draw(st.lists(st.sampled_from(MAPS), min_size=1, max_size=9))):
        x = net.grow(x, layer, f"n{i}_{layer}")
    return net.finish(x)

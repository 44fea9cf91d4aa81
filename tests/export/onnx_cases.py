"""One small graph an op, over random shapes: name -> function of a builder, its input and a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx_support import randomize

from edgekit.graph import Graph, GraphBuilder

Case = Callable[[GraphBuilder, np.random.Generator], Sequence[str]]


def _image(b: GraphBuilder, rng: np.random.Generator, channels: int | None = None) -> str:
    shape = (int(rng.integers(1, 3)), int(rng.integers(5, 12)), int(rng.integers(5, 12)))
    return b.input("input", (*shape, channels or int(rng.integers(1, 9))))


def _number(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _conv(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
    groups = _number(rng, 1, 4)
    x = _image(b, rng, groups * _number(rng, 1, 3))
    kernel, stride = (_number(rng, 1, 3), _number(rng, 1, 3)), (_number(rng, 1, 2), _number(rng, 1, 2))
    padding = [_number(rng, 0, 2) for _ in range(4)]
    filters = groups * _number(rng, 1, 5)
    b.conv2d(x, filters, kernel, stride=stride, padding=padding, groups=groups, bias=bool(rng.integers(2)), name="y")
    return ["y"]


def _conv_dilated(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
    x = _image(b, rng, 3)
    return [b.conv2d(x, 5, (3, 2), dilation=(_number(rng, 1, 2), 2), padding="same", bias=True, name="y")]


def _depthwise(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
    x = _image(b, rng)
    multiplier = _number(rng, 1, 2)
    c = b.channels(x)
    return [b.conv2d(x, c * multiplier, 3, stride=2, groups=c, bias=True, name="y")]


def _fused(activation: str) -> Case:
    def build(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
        x = _image(b, rng, 3)
        kernel, bias = b.random("y/kernel", (3, 3, 3, 6), 9.0), b.full("y/bias", 6, 0.0)
        attrs = {"padding": (1, 1, 1, 1), "activation": activation}
        return [b.op("conv2d", [x, kernel, bias], attrs, name="y")]

    return build


def _dense(activation: str = "none", bias: bool = True) -> Case:
    def build(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
        x = b.input("input", (_number(rng, 1, 3), _number(rng, 1, 20)))
        inputs = [x, b.random("y/kernel", (b.channels(x), 7), 9.0)]
        if bias:
            inputs.append(b.full("y/bias", 7, 0.0))
        return [b.op("dense", inputs, {"activation": activation}, name="y")]

    return build


def _batch_norm(rank: int) -> Case:
    def build(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
        x = b.input("input", [_number(rng, 1, 6) for _ in range(rank)])
        return [b.batch_norm(x, epsilon=1e-2, name="y")]

    return build


def _unary(op: str) -> Case:
    def build(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
        x = _image(b, rng) if rng.integers(3) else b.input("input", (2, 9))
        return [b.op(op, [x], name="y")]

    return build


def _binary(op: str, activation: str = "none") -> Case:
    """Two activations of any ranks up to 4 that broadcast, and a constant."""

    def build(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
        shape = [_number(rng, 1, 5) for _ in range(4)]
        rank = _number(rng, 1, 4)
        other = [d if rng.integers(2) else 1 for d in shape[4 - rank :]]
        x, y = b.input("input", shape), b.input("other", other)
        z = b.op(op, [x, y] if rng.integers(2) else [y, x], {"activation": activation}, name="z")
        constant = [d if rng.integers(2) else 1 for d in shape[4 - _number(rng, 0, 4) :]]
        return [b.op(op, [z, b.constant("k", np.ones(constant, np.float32))], {"activation": activation}, name="y")]

    return build


def _pool(kind: str) -> Case:
    def build(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
        x = _image(b, rng)
        kernel = (_number(rng, 2, 3), _number(rng, 2, 3))
        padding = [_number(rng, 0, k - 1) for k in (kernel[0], kernel[0], kernel[1], kernel[1])]
        stride = (_number(rng, 1, 2), _number(rng, 1, 2))
        return [b.pool(x, kind, kernel, stride=stride, padding=padding, name="y")]

    return build


def _global_pool(keep_dims: bool) -> Case:
    def build(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
        return [b.global_avg_pool(_image(b, rng), keep_dims=keep_dims, name="y")]

    return build


def _concat(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
    shape = [_number(rng, 1, 5) for _ in range(_number(rng, 2, 4))]
    axis = _number(rng, 0, len(shape) - 1)
    count = _number(rng, 1, 3)
    names = [b.input(f"input{i}", [*shape[:axis], _number(rng, 1, 4), *shape[axis + 1 :]]) for i in range(count)]
    return [b.concat(names, axis=axis, name="y")]


def _split(b: GraphBuilder, rng: np.random.Generator) -> Sequence[str]:
    sizes = [_number(rng, 1, 4) for _ in range(_number(rng, 1, 3))]
    shape = [_number(rng, 1, 5) for _ in range(_number(rng, 2, 4))]
    axis = _number(rng, 0, len(shape) - 1)
    shape[axis] = sum(sizes)
    return b.split(b.input("input", shape), sizes, axis=axis, name="y")


def _slice(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
    shape = [_number(rng, 1, 7) for _ in range(_number(rng, 2, 4))]
    begin = [_number(rng, 0, n - 1) for n in shape]
    end = [_number(rng, low + 1, n) for low, n in zip(begin, shape, strict=True)]
    attrs = {"begin": tuple(begin), "end": tuple(end), "strides": tuple(_number(rng, 1, 2) for _ in shape)}
    return [b.op("slice", [b.input("input", shape)], attrs, name="y")]


def _slice_of_everything(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
    attrs = {"begin": (0, 0, 0, 0), "end": (1, 3, 2, 4), "strides": (1, 1, 1, 1)}
    return [b.op("slice", [b.input("input", (1, 3, 2, 4))], attrs, name="y")]


def _gather(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
    shape = [_number(rng, 1, 7) for _ in range(_number(rng, 2, 4))]
    axis = _number(rng, 0, len(shape) - 1)
    indices = rng.integers(0, shape[axis], _number(rng, 1, 9)).tolist()
    return [b.gather(b.input("input", shape), indices, axis=axis, name="y")]


def _pad(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
    x = b.input("input", [_number(rng, 1, 5) for _ in range(_number(rng, 2, 4))])
    before, after = ([_number(rng, 0, 2) for _ in b.shape(x)] for _ in range(2))
    return [b.op("pad", [x], {"before": tuple(before), "after": tuple(after), "value": 0.5}, name="y")]


RESHAPES = (
    ((1, 3, 4, 5), (1, 60)),
    ((2, 1, 1, 5), (2, 5)),
    ((1, 3, 4, 1), (1, 12)),
    ((2, 3, 4, 6), (2, 12, 6)),
    ((1, 3, 4, 6), (1, 4, 3, 6)),
    ((1, 3, 4, 6), (1, 6, 4, 3)),
    ((1, 60), (1, 3, 4, 5)),
    ((1, 6), (1, 1, 1, 6)),
    ((1, 2, 3, 6), (1, 2, 3, 2, 3)),
    ((1, 2, 3, 2, 3), (1, 2, 3, 6)),
    ((4, 6), (6, 4)),
)


def _reshape(index: int) -> Case:
    def build(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
        source, target = RESHAPES[index]
        return [b.reshape(b.input("input", source), target, name="y")]

    return build


def _reshape_chain(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
    """A shuffle as some frameworks write it, by way of five dimensions and of two images."""
    x = b.reshape(b.input("input", (1, 3, 4, 6)), (1, 3, 4, 2, 3), name="split")
    x = b.transpose(x, (0, 1, 2, 4, 3), name="swapped")
    x = b.reshape(x, (1, 3, 4, 6), name="joined")
    x = b.reshape(x, (1, 6, 2, 6), name="folded")
    x = b.reshape(x, (1, 2, 6, 6), name="again")
    return [x, b.reshape(x, (1, 72), name="flat")]


def _transpose(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
    x = b.input("input", [_number(rng, 1, 5) for _ in range(_number(rng, 2, 5))])
    return [b.transpose(x, rng.permutation(len(b.shape(x))).tolist(), name="y")]


def _shuffle(b: GraphBuilder, rng: np.random.Generator) -> list[str]:
    groups = _number(rng, 1, 4)
    c = groups * _number(rng, 1, 4)
    x = _image(b, rng, c) if rng.integers(3) else b.input("input", (2, c))
    return [b.channel_shuffle(x, groups, name="y")]


CASES: dict[str, tuple[str, Case]] = {
    "conv2d": ("conv2d", _conv),
    "conv2d_dilated": ("conv2d", _conv_dilated),
    "conv2d_depthwise": ("conv2d", _depthwise),
    "conv2d_relu": ("conv2d", _fused("relu")),
    "conv2d_relu6": ("conv2d", _fused("relu6")),
    "dense": ("dense", _dense()),
    "dense_relu": ("dense", _dense("relu")),
    "dense_no_bias": ("dense", _dense("relu6", bias=False)),
    **{f"batch_norm_{rank}": ("batch_norm", _batch_norm(rank)) for rank in (2, 3, 4)},
    **{
        op: (op, _unary(op))
        for op in ("relu", "relu6", "hard_swish", "swish", "sigmoid", "hard_sigmoid", "softmax", "identity", "dropout")
    },
    "add": ("add", _binary("add")),
    "add_relu": ("add", _binary("add", "relu")),
    "mul": ("mul", _binary("mul")),
    "mul_relu6": ("mul", _binary("mul", "relu6")),
    "max_pool": ("max_pool", _pool("max_pool")),
    "avg_pool": ("avg_pool", _pool("avg_pool")),
    "global_avg_pool": ("global_avg_pool", _global_pool(False)),
    "global_avg_pool_keep": ("global_avg_pool", _global_pool(True)),
    "concat": ("concat", _concat),
    "split": ("split", _split),
    "slice": ("slice", _slice),
    "slice_everything": ("slice", _slice_of_everything),
    "gather": ("gather", _gather),
    "pad": ("pad", _pad),
    **{f"reshape_{i}": ("reshape", _reshape(i)) for i in range(len(RESHAPES))},
    "reshape_chain": ("reshape", _reshape_chain),
    "transpose": ("transpose", _transpose),
    "channel_shuffle": ("channel_shuffle", _shuffle),
}


def build_case(name: str, seed: int) -> Graph:
    rng = np.random.default_rng([seed, len(name)])
    b = GraphBuilder(name, seed=seed)
    outputs = CASES[name][1](b, rng)
    return randomize(b.finish(*outputs), rng)


def small_net(seed: int = 0) -> Graph:
    """Every kind of layer that the zoo's networks are made of, in one net of a few thousand parameters."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder("small_net", (1, 16, 16, 3), seed=seed)
    x = _activated(b, b.conv2d("input", 16, 3, stride=2, bias=True, name="conv"), "relu6")
    left, right = b.split(x, [8, 8], name="split")
    right = _activated(b, b.conv2d(right, 8, 1, bias=True, name="point"), "relu")
    right = b.conv2d(right, 8, 3, groups=8, bias=True, name="depth")
    x = b.channel_shuffle(b.concat([left, right], name="concat"), 2, name="shuffle")
    x = b.pool(x, "max_pool", 3, stride=2, padding="same", name="max")
    gate = b.conv2d(b.global_avg_pool(x, keep_dims=True, name="squeeze"), 16, 1, bias=True, name="excite")
    x = b.mul(x, b.activation(gate, "sigmoid", name="gate"), name="scaled")
    x = b.add(x, b.conv2d(x, 16, 1, bias=True, name="project"), name="sum")
    x = b.pool(b.pad(x, (0, 1, 0, 1), name="padded"), "avg_pool", 2, stride=1, name="average")
    x = b.gather(x, range(0, 16, 2), name="half")
    x = b.dense(b.global_avg_pool(x, name="pooled"), 10, name="logits")
    return randomize(b.finish(b.activation(x, "softmax", name="probabilities")), rng)


def _activated(b: GraphBuilder, name: str, activation: str) -> str:
    node = b.graph.producer(name)
    assert node is not None
    b.graph.replace_node(node, node.with_attrs(activation=activation))
    return name

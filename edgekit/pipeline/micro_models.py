"""Small graphs from whose times the cost model's coefficients are told apart, and whole layers to check them on.

Each op stands in a chain, among convolutions where it moves data: that is where networks have it, and runtimes keep
tensors in layouts that suit their neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from edgekit.graph import Graph, GraphBuilder
from edgekit.passes import apply_passes
from edgekit.quantize.assign import QuantizeOptions, quantize_graph
from edgekit.quantize.calibrate import TensorStatistics, observed_tensors

Body = Callable[[GraphBuilder, str, str], str]
"""Adds ops behind a tensor, under names that begin with the given one; returns the last tensor."""

REPEATS = 3
"""How often a body stands in its chain."""


def micro_models() -> Iterator[Graph]:
    """Float graphs to fit on."""
    yield from _convolutions()
    yield from _depthwise()
    yield from _moves()
    yield from _others()


def whole_layers() -> Iterator[Graph]:
    """Float graphs to check a fit on: units of networks with channel moves, and of some without."""
    for groups, c, hw in ((3, 240, 28), (3, 480, 14), (8, 384, 28), (4, 272, 28)):
        yield _chain(f"shufflenet_v1 unit, {groups} groups, {c}", partial(_v1_unit, groups=groups), hw, c, 2)
    for c, hw in ((48, 28), (116, 28), (232, 14), (464, 7), (244, 28)):
        yield _chain(f"shufflenet_v2 unit, {c}", _v2_unit, hw, c, 2)
    for c, hw in ((32, 28), (64, 14), (24, 56)):
        yield _chain(f"mobilenet_v2 block, {c}", _inverted_residual, hw, c, 2)
    for c, hw in ((128, 28), (256, 14)):
        yield _chain(f"squeezenet fire, {c}", _fire, hw, c, 2)
    for c, hw in ((64, 28), (96, 14)):
        yield _chain(f"igcv3 block, {c}", _igc_block, hw, c, 2)
    for c, hw in ((128, 28), (256, 14)):
        yield _chain(f"condensenet layer, {c}", _condense_layer, hw, c, 1)


def concat_models() -> dict[int, tuple[Graph, Graph]]:
    """By number of inputs: a float graph with one concat, and the same with a tree of concats of two."""
    return {
        inputs: (
            _chain(f"one concat of {inputs}", partial(_concat, inputs=inputs), 28, 16, 2),
            _chain(f"a tree of {inputs}", partial(_concat, inputs=inputs, most=2), 28, 16, 2),
        )
        for inputs in (4, 5, 6, 8, 12, 16)
    }


def int8_form(graph: Graph) -> Graph:
    """The graph in int8 with made-up ranges: its times are those of any other ranges."""
    statistics = {}
    for name in observed_tensors(graph):
        high = np.ones(graph.shape(name)[-1], np.float32)
        positions = np.linspace(-1, 1, 256, dtype=np.float32)[:, None] * high
        statistics[name] = TensorStatistics(-high, high, 0 * high, positions)
    return quantize_graph(graph, statistics, QuantizeOptions())


def _chain(name: str, body: Body, hw: int, channels: int, repeats: int = REPEATS) -> Graph:
    """A 1x1 convolution and so many bodies: what reads a file's input itself may need it in another layout or type."""
    builder = GraphBuilder(name, (1, hw, hw, channels))
    x = _conv(builder, "input", "stem", out=channels)
    for i in range(repeats):
        x = body(builder, x, f"part{i}")
    graph, _ = apply_passes(builder.finish(x))
    return graph


# -- layers with weights -----------------------------------------------------------------------------------------------


def _convolutions() -> Iterator[Graph]:
    for hw, c in (
        *((56, 24), (28, 24), (28, 48), (28, 58), (28, 64), (28, 72), (28, 116), (28, 120), (28, 128), (28, 240)),
        *((14, 58), (14, 88), (14, 116), (14, 232), (14, 240), (7, 464), (7, 480), (7, 100)),
    ):
        yield _chain(f"1x1, {c}, {hw}x{hw}", partial(_conv, out=c), hw, c)
    for hw, c, out in ((28, 24, 144), (14, 64, 384), (28, 128, 32), (7, 320, 96)):
        yield _chain(f"1x1, {c} to {out} and back, {hw}x{hw}", partial(_conv_and_back, out=out), hw, c)
    for hw, c, groups in (
        *((28, 240, 2), (28, 240, 3), (28, 240, 4), (28, 240, 8), (28, 60, 3), (28, 64, 4), (28, 64, 16), (28, 128, 4)),
        *((28, 384, 8), (14, 96, 12), (14, 480, 3), (14, 480, 8), (7, 960, 3), (14, 32, 2), (28, 72, 2), (28, 68, 4)),
    ):
        yield _chain(f"1x1, {c}, {groups} groups, {hw}x{hw}", partial(_conv, out=c, groups=groups), hw, c)
    for hw, c, groups in (
        *((28, 16, 1), (28, 32, 1), (14, 64, 1), (14, 72, 1), (14, 58, 1), (14, 128, 1), (7, 160, 1)),
        *((14, 64, 4), (14, 64, 8), (28, 32, 4), (14, 128, 4), (28, 64, 2)),
    ):
        yield _chain(f"3x3, {c}, {groups} groups, {hw}x{hw}", partial(_conv, out=c, kernel=3, groups=groups), hw, c)
    for c in (256, 1024):
        yield _dense(c)


def _depthwise() -> Iterator[Graph]:
    for hw, c, kernel in (
        *((28, 24, 3), (28, 58, 3), (28, 60, 3), (28, 64, 3), (28, 72, 3), (28, 116, 3), (28, 120, 3), (28, 128, 3)),
        *((28, 240, 3), (14, 232, 3), (14, 480, 3), (7, 464, 3), (7, 960, 3), (56, 24, 3), (14, 62, 3), (14, 144, 5)),
        *((28, 40, 5), (14, 104, 3)),
    ):
        yield _chain(f"depthwise {kernel}x{kernel}, {c}, {hw}x{hw}", partial(_depthwise_body, kernel=kernel), hw, c)


def _conv(b: GraphBuilder, x: str, name: str, *, out: int, kernel: int = 1, groups: int = 1) -> str:
    return b.conv2d(x, out, kernel, groups=groups, bias=True, name=name)


def _conv_and_back(b: GraphBuilder, x: str, name: str, *, out: int) -> str:
    wide = _conv(b, x, f"{name}/out", out=out)
    return _conv(b, wide, f"{name}/back", out=b.channels(x))


def _depthwise_body(b: GraphBuilder, x: str, name: str, *, kernel: int) -> str:
    return b.depthwise(x, kernel, name=name)


def _dense(channels: int) -> Graph:
    b = GraphBuilder(f"dense, {channels}", (1, channels))
    x = "input"
    for i in range(REPEATS):
        x = b.dense(x, channels, name=f"part{i}")
    return b.finish(x)


# -- moves -------------------------------------------------------------------------------------------------------------


def _moves() -> Iterator[Graph]:
    for hw, c in ((28, 48), (28, 120), (14, 240), (28, 240), (7, 480), (56, 48)):
        between: dict[str, Body] = {
            "a shuffle": partial(_shuffle, groups=3),
            "a shuffle of blocks": partial(_shuffle, groups=2, block=c // 6),
            "halves exchanged": _exchange,
            "quarters turned round": partial(_turn_round, pieces=4),
            "gathered": _gather,
        }
        for name, move in between.items():
            yield _chain(f"{name}, {c}, {hw}x{hw}", partial(_moved_conv, move=move), hw, c)
        yield _chain(f"half picked, {c}, {hw}x{hw}", _half, hw, c)
    for inputs in (2, 3, 4):
        yield _chain(f"concat of {inputs}, 28x28", partial(_concat, inputs=inputs), 28, 32)


def _moved_conv(b: GraphBuilder, x: str, name: str, *, move: Body) -> str:
    return _conv(b, move(b, x, f"{name}/move"), name, out=b.channels(x))


def _shuffle(b: GraphBuilder, x: str, name: str, *, groups: int, block: int = 1) -> str:
    return b.op("channel_shuffle", [x], {"groups": groups, "block": block}, name=name)


def _exchange(b: GraphBuilder, x: str, name: str) -> str:
    return _turn_round(b, x, name, pieces=2)


def _turn_round(b: GraphBuilder, x: str, name: str, *, pieces: int) -> str:
    size = b.channels(x) // pieces
    parts = [slice_of(b, x, i * size, (i + 1) * size, f"{name}/{i}") for i in range(pieces)]
    return b.concat(parts[::-1], name=name)


def _gather(b: GraphBuilder, x: str, name: str) -> str:
    return b.gather(x, np.random.default_rng(0).permutation(b.channels(x)).tolist(), name=name)


def _half(b: GraphBuilder, x: str, name: str) -> str:
    """A slice that is narrower than its tensor, read by a convolution that is not."""
    return _conv(b, slice_of(b, x, 0, b.channels(x) // 2, f"{name}/half"), name, out=b.channels(x))


def _concat(b: GraphBuilder, x: str, name: str, *, inputs: int, most: int = 1000) -> str:
    """Convolutions' outputs in one tensor, by concats of at most so many inputs, and a convolution of it."""
    width = b.channels(x)
    parts = [_conv(b, x, f"{name}/{i}", out=width) for i in range(inputs)]
    while len(parts) > 1:
        groups = [parts[i : i + most] for i in range(0, len(parts), most)]
        parts = [
            b.concat(group, name=f"{name}/all{len(parts)}_{i}") if len(group) > 1 else group[0]
            for i, group in enumerate(groups)
        ]
    return _conv(b, parts[0], name, out=width)


def slice_of(b: GraphBuilder, x: str, start: int, stop: int, name: str) -> str:
    """Channels `start` to `stop` of a tensor (N, H, W, C)."""
    n, h, w, _ = b.shape(x)
    attrs = {"begin": (0, 0, 0, start), "end": (n, h, w, stop), "strides": (1, 1, 1, 1)}
    return b.op("slice", [x], attrs, name=name)


# -- other ops ---------------------------------------------------------------------------------------------------------


def _others() -> Iterator[Graph]:
    for c in (16, 32):  # so small that what an op costs besides its work shows
        yield _chain(f"tiny 1x1, {c}", partial(_conv, out=c), 2, c, 24)
        yield _chain(f"tiny sums, {c}", _double, 2, c, 24)
        yield _chain(f"tiny halves exchanged, {c}", partial(_moved_conv, move=_exchange), 2, c, 8)
    for hw, c in ((28, 64), (28, 240), (14, 120)):
        yield _chain(f"sums, {c}, {hw}x{hw}", _sum, hw, c)
        yield _chain(f"average pools, {c}, {hw}x{hw}", partial(_pool, kind="avg_pool"), hw, c)
        yield _chain(f"maximum pools, {c}, {hw}x{hw}", partial(_pool, kind="max_pool"), hw, c)


def _double(b: GraphBuilder, x: str, name: str) -> str:
    return b.add(x, x, name=name)


def _sum(b: GraphBuilder, x: str, name: str) -> str:
    return b.add(_conv(b, x, f"{name}/conv", out=b.channels(x)), x, name=name)


def _pool(b: GraphBuilder, x: str, name: str, *, kind: str) -> str:
    pooled = b.pool(x, kind, 3, stride=1, padding="same", name=f"{name}/pool")
    return _conv(b, pooled, name, out=b.channels(x))


# -- whole layers ------------------------------------------------------------------------------------------------------


def _relu(b: GraphBuilder, x: str, name: str) -> str:
    return b.activation(x, "relu", name=f"{name}/relu")


def _v1_unit(b: GraphBuilder, x: str, name: str, *, groups: int) -> str:
    c = b.channels(x)
    y = _relu(b, _conv(b, x, f"{name}/a", out=c // 4 // groups * groups, groups=groups), f"{name}/a")
    y = b.channel_shuffle(y, groups, name=f"{name}/shuffle")
    y = _conv(b, b.depthwise(y, 3, name=f"{name}/dw"), f"{name}/b", out=c, groups=groups)
    return _relu(b, b.add(y, x, name=f"{name}/sum"), name)


def _v2_unit(b: GraphBuilder, x: str, name: str) -> str:
    half = b.channels(x) // 2
    left, right = b.split(x, (half, half), name=f"{name}/split")
    y = _relu(b, _conv(b, right, f"{name}/a", out=half), f"{name}/a")
    y = _relu(b, _conv(b, b.depthwise(y, 3, name=f"{name}/dw"), f"{name}/b", out=half), f"{name}/b")
    return b.channel_shuffle(b.concat([left, y], name=f"{name}/concat"), 2, name=f"{name}/shuffle")


def _inverted_residual(b: GraphBuilder, x: str, name: str) -> str:
    c = b.channels(x)
    y = _relu(b, _conv(b, x, f"{name}/a", out=6 * c), f"{name}/a")
    y = _relu(b, b.depthwise(y, 3, name=f"{name}/dw"), f"{name}/dw")
    return b.add(_conv(b, y, f"{name}/b", out=c), x, name=f"{name}/sum")


def _fire(b: GraphBuilder, x: str, name: str) -> str:
    c = b.channels(x)
    y = _relu(b, _conv(b, x, f"{name}/squeeze", out=c // 8), f"{name}/squeeze")
    parts = [_relu(b, _conv(b, y, f"{name}/{k}", out=c // 2, kernel=k), f"{name}/{k}") for k in (1, 3)]
    return b.concat(parts, name=f"{name}/concat")


def _igc_block(b: GraphBuilder, x: str, name: str) -> str:
    c = b.channels(x)
    y = _conv(b, b.channel_shuffle(x, 2, name=f"{name}/first"), f"{name}/a", out=6 * c, groups=2)
    y = _relu(b, b.depthwise(y, 3, name=f"{name}/dw"), f"{name}/dw")
    y = _conv(b, b.channel_shuffle(y, 2, name=f"{name}/second"), f"{name}/b", out=c, groups=2)
    return b.add(y, x, name=f"{name}/sum")


def _condense_layer(b: GraphBuilder, x: str, name: str) -> str:
    c = b.channels(x)
    y = b.gather(x, np.random.default_rng(1).permutation(c)[: c // 4 * 4].tolist(), name=f"{name}/index")
    y = _relu(b, _conv(b, y, f"{name}/a", out=c, groups=4), f"{name}/a")
    y = _conv(b, b.channel_shuffle(y, 4, name=f"{name}/shuffle"), f"{name}/b", out=c // 4, kernel=3, groups=4)
    return b.concat([x, y], name=f"{name}/concat")

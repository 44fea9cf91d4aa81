from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from quantize_helpers import images, quantized, run_litert, run_onnx, scale_of

from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.quantize.groups import fixed_scale_of, head_activations, scale_groups, separate_fixed_scales


def group_of(graph: Graph, name: str) -> set[str]:
    return next(set(group) for group in scale_groups(graph) if name in group)


def test_every_activation_is_in_one_group():
    b = GraphBuilder("g", (1, 4, 4, 2))
    x = b.concat([b.conv2d("input", 2, 1, name="a"), "input"], name="cat")
    graph = b.finish(b.add(x, x, name="sum"))
    assert sorted(n for group in scale_groups(graph) for n in group) == ["a", "cat", "input", "sum"]


@pytest.mark.parametrize(
    "tie",
    [
        lambda b, x: b.pool(x, "max_pool", 2, stride=2, name="y"),
        lambda b, x: b.pool(x, "avg_pool", 2, stride=2, name="y"),
        lambda b, x: b.reshape(x, (1, 64), name="y"),
        lambda b, x: b.transpose(x, (0, 3, 1, 2), name="y"),
        lambda b, x: b.split(x, (1, 3), name="y")[1],
        lambda b, x: b.gather(x, (3, 0), name="y"),
        lambda b, x: b.channel_shuffle(x, 2, name="y"),
        lambda b, x: b.pad(x, (1, 1, 1, 1), name="y"),
        lambda b, x: b.dropout(x, 0.5, name="y"),
        lambda b, x: b.concat([x, b.conv2d(x, 4, 1, name="other")], name="y"),
    ],
)
def test_ops_that_hand_values_on_tie(tie: Callable[[GraphBuilder, str], str]):
    b = GraphBuilder("g", (1, 4, 4, 4))
    x = b.conv2d("input", 4, 1, name="x")
    y = tie(b, x)
    graph = b.finish(y)
    assert {"x", y} <= group_of(graph, "x")
    assert ("other" in group_of(graph, "x")) == ("other" in graph.tensors)


@pytest.mark.parametrize("op", ["relu", "relu6", "hard_swish", "sigmoid", "global"])
def test_ops_with_arithmetic_do_not_tie(op):
    b = GraphBuilder("g", (1, 4, 4, 4))
    y = b.global_avg_pool("input", name="y") if op == "global" else b.activation("input", op, name="y")
    assert group_of(b.finish(y), "y") == {"y"}


def fixed_into_concat(op: str, between: str = "none") -> Graph:
    """A result of prescribed scale beside values up to 20, joined by a concat."""
    b = GraphBuilder("g", (1, 4, 4, 4))
    big = b.mul("input", b.constant("ten", np.float32([10.0])), name="big")
    y = b.activation("input", op, name="y")
    if between == "split":
        y = b.split(y, (1, 3), name="pieces")[1]
    elif between == "pool":
        y = b.pool(b.pad(y, (1, 0, 1, 0), name="pad"), "max_pool", 2, stride=1, name="pool")
    return b.finish(b.concat([big, y], name="cat"))


@pytest.mark.parametrize("op", ["sigmoid", "softmax"])
@pytest.mark.parametrize("between", ["none", "split", "pool"])
def test_a_prescribed_scale_is_separated_from_a_concat(op, between):
    """Directly, or behind ops that hand it on: otherwise the whole concat would be clipped to 0..1."""
    graph = fixed_into_concat(op, between)
    samples = images(graph)
    int8 = quantized(graph, samples, range_method="min-max")
    assert scale_of(int8, "y") == (1 / 256, -128)
    assert scale_of(int8, "cat") == scale_of(int8, "big")
    assert scale_of(int8, "cat")[0] > 0.1
    runs = quantized(graph, samples, range_method="min-max", io="float32")
    want = interpret(graph, {"input": samples[0]})["cat"]
    step = scale_of(int8, "cat")[0]
    for got in (run_litert(runs, samples[0])["cat"], run_onnx(runs, samples[0])["cat"]):
        # Two roundings, and XNNPACK's conversion between scales rounds its factor to 8 bits.
        np.testing.assert_allclose(got, want, atol=2.6 * step)


def test_each_concat_gets_a_conversion_of_its_own():
    b = GraphBuilder("g", (1, 2, 2, 2))
    gate = b.activation("input", "sigmoid", name="gate")
    small, big = (b.mul("input", b.constant(f"c{k}", np.float32([k])), name=f"m{k}") for k in (0.01, 50.0))
    graph = b.finish(b.concat([gate, small], name="one"), b.concat([gate, big], name="two"))
    copy = graph.copy()
    assert separate_fixed_scales(copy) == {"gate_requantized": "gate", "gate_requantized_1": "gate"}
    # The gate counts in both ranges.
    int8 = quantized(graph, range_method="min-max")
    assert 255 * scale_of(int8, "one")[0] >= 0.8
    assert 255 * scale_of(int8, "two")[0] > 50


def test_concat_of_one_result_with_itself_and_of_two():
    b = GraphBuilder("g", (1, 2, 2, 2))
    s, t = b.activation("input", "sigmoid", name="s"), b.activation("input", "softmax", name="t")
    graph = b.finish(b.concat([s, s], name="twice"), b.concat([s, t], name="both"))
    copy = graph.copy()
    assert set(separate_fixed_scales(copy).values()) == {"s", "t"}
    assert [n.op for n in copy.nodes].count("quantize") == 3
    (twice,) = (n for n in copy.nodes if n.name == "twice")
    assert twice.inputs[0] == twice.inputs[1] != "s"
    int8 = quantized(graph, io="float32")
    image = images(graph)[0]
    want, got = interpret(graph, {"input": image}), run_litert(int8, image)
    np.testing.assert_allclose(got["both"], want["both"], atol=0.02)


def test_a_gate_needs_no_conversion():
    b = GraphBuilder("g", (1, 4, 4, 4))
    gate = b.activation(b.global_avg_pool("input", keep_dims=True, name="squeeze"), "sigmoid", name="gate")
    graph = b.finish(b.mul("input", gate, name="y"))
    assert separate_fixed_scales(graph) == {}
    assert scale_of(quantized(graph), "gate") == (1 / 256, -128)


def test_a_prescribed_scale_goes_through_a_reshape():
    b = GraphBuilder("g", (1, 2, 2, 2))
    x = b.reshape(b.activation("input", "sigmoid", name="s"), (1, 8), name="flat")
    graph = b.finish(b.gather(x, (3, 1), axis=1, name="picked"))
    assert separate_fixed_scales(graph) == {}
    assert fixed_scale_of(graph, group_of(graph, "picked")) == (1 / 256, -128)
    assert fixed_scale_of(graph, ["input"]) is None
    assert {scale_of(quantized(graph), n) for n in ("s", "flat", "picked")} == {(1 / 256, -128)}


def test_head_activations():
    b = GraphBuilder("g", (1, 4, 4, 3))
    x = b.activation(b.conv2d("input", 4, 1, name="a"), "relu", name="r")
    aux = b.global_avg_pool(x, name="aux")
    y = b.global_avg_pool(b.conv2d(b.pool(x, "max_pool", 2, stride=2, name="p"), 4, 1, name="last"), name="pool")
    graph = b.finish(b.activation(y, "softmax", name="prob"), aux)
    assert head_activations(graph) == {"aux", "last", "pool", "prob"}
    b = GraphBuilder("g", (1, 4, 4, 3))
    assert head_activations(b.finish(b.activation("input", "relu", name="r"))) == {"input", "r"}

"""What nodes pay for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.graph import GraphBuilder
from edgekit.passes.target import DEFAULT_TARGETS, PRICES, UNPRICED, Layer, Target, layer_counts, node_counts


def built():
    b = GraphBuilder("net", (1, 4, 4, 6))
    x = b.conv2d("input", 10, 1, name="pointwise")
    x = b.conv2d(x, 10, 3, groups=2, name="grouped")
    x = b.depthwise(x, 3, name="depthwise")
    x = b.channel_shuffle(x, 2, name="shuffle")
    first, second = b.split(x, (4, 6), name="split")
    return b.finish(b.gather(b.concat([second, first], name="concat"), [0, 1, 2], name="gather"))


def counts_of(name: str, **steps: int) -> dict[str, float]:
    graph = built()
    return node_counts(graph, next(n for n in graph.nodes if n.name == name), replace(UNPRICED, **steps))


@pytest.mark.parametrize(
    ("name", "steps", "expected"),
    [
        ("pointwise", {}, {"overhead": 1, "output": 160, "weight": 240, "mac": 16 * 60}),
        (
            "pointwise",
            {"inputs_step": 4, "outputs_step": 8},
            {"overhead": 1, "output": 160, "weight": 240, "mac": 16 * 8 * 16, "ragged": 16 * 6},
        ),
        (
            "grouped",
            {"outputs_step": 4},
            {
                "overhead": 1,
                "output": 160,
                "weight": 9 * 5 * 10 * 4,
                "window_mac": 16 * 9 * 2 * 5 * 8,
                "window_group": 16 * 9 * 2,
                "grouped": 160,
            },
        ),
        ("depthwise", {"depthwise_step": 5}, {"overhead": 1, "output": 160, "weight": 360, "depthwise_mac": 1440}),
        (
            "depthwise",
            {"depthwise_step": 4},
            {"overhead": 1, "output": 160, "weight": 360, "ragged_depthwise_mac": 1440},
        ),
        ("shuffle", {}, {"overhead": 3, "byte": 2 * 160 * 4, "element": 160}),
        ("split", {}, {"overhead": 2, "byte": 2 * 160 * 4, "piece": 32}),
        ("concat", {}, {"overhead": 1, "byte": 2 * 160 * 4, "piece": 32}),
        ("gather", {}, {"gather_overhead": 1, "gather": 48}),
    ],
)
def test_counts(name, steps, expected):
    assert counts_of(name, **steps) == expected


def test_a_graph_costs_the_sum_of_its_nodes():
    prices = replace(UNPRICED, overhead=5.0, mac=1.0)
    assert Target("t", prices, prices, 5).graph_ns(built()) == 5 * (3 + 3 + 2 + 1) + 960


def test_a_denser_layer_costs_what_its_counts_say():
    layer = Layer(sites=49, taps=1, inputs=64, outputs=32, groups=4, weight_bytes=1)
    assert layer_counts(layer, UNPRICED)["mac"] * 4 == layer_counts(replace(layer, groups=1), UNPRICED)["mac"]
    target = DEFAULT_TARGETS["tflite"]
    wide = replace(layer, inputs=512, outputs=512)
    assert target.layer_ns("int8", replace(wide, groups=1)) > target.layer_ns("int8", wide) > 0


@pytest.mark.parametrize("fmt", sorted(DEFAULT_TARGETS))
def test_default_prices_are_prices(fmt):
    target = DEFAULT_TARGETS[fmt]
    for prices in (target.float32, target.int8):
        assert all(getattr(prices, name) >= 0 for name in PRICES)
        assert prices.mac > 0
        assert prices.depthwise_mac <= prices.ragged_depthwise_mac
        assert min(prices.inputs_step, prices.outputs_step, prices.depthwise_step) >= 1
    assert target.concat_inputs >= 2

from __future__ import annotations

import logging
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from pass_helpers import assert_same, randomise

from edgekit.errors import GraphError, ModelError
from edgekit.graph import Graph, GraphBuilder, QuantParams, Tensor
from edgekit.graph.text import graph_text
from edgekit.passes import PASSES, PassRow, apply_passes, registry

STEPS = ["fold_padding", "fold_batch_norm", "fuse_activations"]


def small_net() -> Graph:
    b = GraphBuilder("net", (1, 8, 8, 3))
    x = b.conv2d(b.pad("input", (0, 1, 0, 1), name="pad"), 4, 3, stride=2, padding="valid", name="conv")
    return randomise(b.finish(b.activation(b.batch_norm(x, name="bn"), "relu6", name="act")))


def inverted_residual(b: GraphBuilder, x: str, channels: int, stride: int, *, name: str) -> str:
    """A block of MobileNet V2 (arXiv:1801.04381, table 1) as Keras builds it, padding node and all."""
    wide = 6 * b.channels(x)
    y = b.batch_norm(b.conv2d(x, wide, 1, name=f"{name}_expand"), name=f"{name}_expand_BN")
    y = b.activation(y, "relu6", name=f"{name}_expand_relu")
    if stride == 2:
        y = b.pad(y, (0, 1, 0, 1), name=f"{name}_pad")
    y = b.depthwise(y, 3, stride=stride, padding="same" if stride == 1 else "valid", name=f"{name}_depthwise")
    y = b.activation(b.batch_norm(y, name=f"{name}_depthwise_BN"), "relu6", name=f"{name}_depthwise_relu")
    y = b.batch_norm(b.conv2d(y, channels, 1, gain=1, name=f"{name}_project"), name=f"{name}_project_BN")
    return b.add(x, y, name=f"{name}_add") if stride == 1 and channels == b.channels(x) else y


def mobilenet_v2_small() -> Graph:
    b = GraphBuilder("small", (1, 32, 32, 3))
    x = b.pad("input", (0, 1, 0, 1), name="Conv1_pad")
    x = b.batch_norm(b.conv2d(x, 8, 3, stride=2, padding="valid", name="Conv1"), name="bn_Conv1")
    x = b.activation(x, "relu6", name="Conv1_relu")
    for i, (channels, stride) in enumerate([(8, 1), (12, 2), (12, 1), (16, 2), (16, 1)]):
        x = inverted_residual(b, x, channels, stride, name=f"block_{i}")
    x = b.activation(b.batch_norm(b.conv2d(x, 32, 1, name="Conv_1"), name="Conv_1_bn"), "relu6", name="out_relu")
    x = b.dropout(b.pool(x, "avg_pool", 4, stride=1, name="pool"), 0.2, name="dropout")
    x = b.dense(b.reshape(x, (1, 32), name="flat"), 10, name="predictions")
    return randomise(b.finish(b.activation(x, "softmax", name="probabilities")))


def test_mobilenet_v2_ends_with_what_runs_on_the_device():
    graph = mobilenet_v2_small()
    after, reports = apply_passes(graph)
    assert_same(graph, after)
    ops = [n.op for n in after.nodes]
    assert set(ops) == {"conv2d", "dense", "add", "global_avg_pool", "softmax"}
    counts = {op: sum(n.op == op for n in graph.nodes) for op in ("conv2d", "batch_norm", "relu6", "pad", "add")}
    assert ops.count("conv2d") == counts["conv2d"]
    done = {r.name: r.count for r in reports if r.count}
    assert done == {
        "remove_identities": 1,
        "use_global_pooling": 2,
        "fold_padding": counts["pad"],
        "fold_batch_norm": counts["batch_norm"],
        "fuse_activations": counts["relu6"],
    }
    assert not any(r.refusals for r in reports)


def test_a_second_time_there_is_nothing_to_do():
    after, _ = apply_passes(mobilenet_v2_small())
    again, reports = apply_passes(after)
    assert [r.count for r in reports] == [0] * len(reports)
    assert again.metadata["steps"] == after.metadata["steps"]
    assert graph_text(again) == graph_text(after)


GOLDEN = """\
graph net
  input input: float32[1x8x8x3]
  act: float32[1x4x4x4] = conv2d(input, conv/kernel: float32[3x3x3x4], conv/bias: float32[4]) \
activation=relu6 padding=(0,1,0,1) strides=(2,2)
  output act
"""


def test_golden_small_net():
    after, _ = apply_passes(small_net())
    assert graph_text(after, weights=False) == GOLDEN


def test_the_given_graph_stays_and_the_result_tells_its_steps():
    graph = small_net()
    graph.metadata["steps"] = [{"step": "built"}]
    before = graph_text(graph)
    after, _ = apply_passes(graph)
    assert (graph_text(graph), graph.metadata["steps"]) == (before, [{"step": "built"}])
    assert after.metadata["steps"] == [{"step": "built"}, *({"step": name, "rewrites": 1} for name in STEPS)]


def test_reports_are_frozen_and_in_the_order_of_the_table():
    _, reports = apply_passes(small_net())
    default = [row for row in PASSES if row.default]
    assert [(r.name, r.what) for r in reports] == [(row.name, row.what) for row in default]
    assert "store_half" not in {r.name for r in reports}
    with pytest.raises(FrozenInstanceError):
        reports[0].count = 3  # type: ignore[misc]  # the test of it


def test_names_choose_and_the_table_orders():
    after, reports = apply_passes(small_net(), ["fuse_activations", "fold_batch_norm"])
    assert [(r.name, r.count) for r in reports] == [("fold_batch_norm", 1), ("fuse_activations", 1)]
    assert [n.op for n in after.nodes] == ["pad", "conv2d"]


def test_skip_leaves_out():
    after, reports = apply_passes(small_net(), skip=["fold_batch_norm", "fold_padding", "lower_batch_norm"])
    assert [n.op for n in after.nodes] == ["pad", "conv2d", "batch_norm", "relu6"]
    assert next(r.refusals for r in reports if r.name == "fuse_activations") == (
        "act (relu6): bn before it (batch_norm) has no fused activation",
    )


def test_no_names_are_no_passes():
    graph = small_net()
    after, reports = apply_passes(graph, [])
    assert (reports, graph_text(after)) == ([], graph_text(graph))


@pytest.mark.parametrize("options", [{"names": ["fold_batchnorm"]}, {"skip": ["fold_batchnorm"]}])
def test_an_unknown_name_is_an_error_that_names_the_nearest(options):
    with pytest.raises(ModelError, match=r"no pass 'fold_batchnorm'; did you mean fold_batch_norm, "):
        apply_passes(small_net(), **options)


def test_a_name_unlike_any_lists_them_all():
    with pytest.raises(ModelError, match=r"remove_dead_nodes, remove_identities, .*store_half"):
        apply_passes(small_net(), ["zzz"])


def test_the_table_refuses_duplicates():
    with pytest.raises(GraphError, match="two rows called 'fold_padding'"):
        registry.ordered_table(*PASSES, next(row for row in PASSES if row.name == "fold_padding"))


def test_a_refusal_is_logged_and_survives_the_lowering_of_its_node(caplog):
    b = GraphBuilder("net", (1, 4, 4, 3))
    graph = b.finish(b.activation(b.batch_norm("input", name="bn"), "relu", name="act"))
    with caplog.at_level(logging.DEBUG, logger="edgekit.passes"):
        _, reports = apply_passes(graph)
    reason = "bn (batch_norm): no node comes before it; act after it (relu) has no weights"
    assert next(r.refusals for r in reports if r.name == "fold_batch_norm") == (reason,)
    assert f"left alone: {reason}" in caplog.messages
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


def test_a_refusal_that_a_later_round_overcomes_is_not_reported():
    b = GraphBuilder("net", (1, 4, 4, 3))
    x = b.mul(b.conv2d("input", 3, 1, name="conv"), b.constant("c", np.float32([2, 3, 4])), name="m")
    x = b.pad(b.pad(x, (1, 0, 0, 0), name="p1"), (0, 1, 0, 0), name="p2")
    _, reports = apply_passes(b.finish(b.conv2d(x, 2, 3, padding="valid", name="last")))
    padding = next(r for r in reports if r.name == "fold_padding")
    assert (padding.count, padding.refusals) == (2, ())


def test_a_pass_that_breaks_the_graph_is_named(monkeypatch):
    def break_shape(graph: Graph) -> int:
        graph.set_tensor(Tensor("act", (1, 2, 3, 4)))
        return 1

    monkeypatch.setattr(registry, "PASSES", (PassRow("break_shape", break_shape, "breaks"),))
    with pytest.raises(GraphError, match="after break_shape: node 'act'"):
        apply_passes(small_net())


def test_passes_that_never_rest_are_named(monkeypatch):
    row = PassRow("turn_round", lambda graph: 1, "turns round and round")
    monkeypatch.setattr(registry, "PASSES", (row,))
    with pytest.raises(GraphError, match="passes turn_round still rewrite after 50 rounds"):
        apply_passes(small_net())


def test_a_quantized_graph_is_refused():
    graph = small_net()
    graph.set_tensor(Tensor("conv", graph.shape("conv"), "int8", quant=QuantParams.per_tensor(0.1, 0)))
    with pytest.raises(GraphError, match="'conv' is quantized; run the passes before quantization"):
        apply_passes(graph)

"""Fused graphs compute what the unfused ones do: floats within rounding, integers to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fusion_nets import assert_exact, feeds_of, int8_of, retargeted, tiled

from edgekit.export.onnx import onnx_bytes
from edgekit.export.tflite import tflite_bytes
from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.cost import graph_cost
from edgekit.graph.interpret import interpret
from edgekit.graph.text import graph_text
from edgekit.passes import apply_passes
from edgekit.passes.fuse_channels import fuse_channels
from edgekit.passes.target import DEFAULT_ONNX, DEFAULT_TFLITE
from edgekit.runtime.session import Session
from edgekit.zoo import build_model

V2 = [
    ("shufflenet_v2", {"alpha": 0.5, "resolution": 64}),
    ("shufflenet_v2", {"alpha": 1.0, "resolution": 32, "unit": "torchvision"}),
    ("shufflenet_v2", {"alpha": 0.5, "resolution": 32, "squeeze_excite": "on", "residual": "on"}),
]
ZOO = [
    *V2,
    ("shufflenet_v2", {"alpha": 1.5, "resolution": 32}),
    ("shufflenet_v2", {"alpha": 2.0, "resolution": 32}),
    *[("shufflenet_v1", {"groups": g, "alpha": a, "resolution": 32}) for g, a in ((1, 0.5), (2, 0.5), (4, 0.5))],
    ("shufflenet_v1", {"groups": 3, "alpha": 1.0, "resolution": 32}),
    ("shufflenet_v1", {"groups": 8, "alpha": 0.5, "resolution": 32}),
    ("igcv1_cifar", {"depth": 8}),
    ("igcv1_cifar", {"depth": 8, "shortcut": "identity", "primary": 4, "secondary": 8}),
    ("igcv2_cifar", {"variant": "igcv2", "depth": 8}),
    ("igcv2_cifar", {"width": 48, "depth": 8, "norm": "conv"}),
    ("igcv3", {"alpha": 0.5, "resolution": 32}),
    ("condensenet_cifar", {"depth": 20}),
    ("condensenet_cifar", {"depth": 20, "groups": 8, "condense": 8}),
    ("squeezenet", {"resolution": 64}),
    ("squeezenext", {"resolution": 64}),
]
MOVING = ("channel_shuffle", "split", "gather", "transpose")


def lowered(model: str, options: dict[str, object]) -> Graph:
    graph, _ = apply_passes(build_model(model, classes=10, **options))
    return graph


@pytest.mark.parametrize(("model", "options"), ZOO)
def test_zoo_outputs_stay(model, options):
    graph = lowered(model, options)
    for form in (graph, int8_of(graph)):
        for target in (DEFAULT_TFLITE, DEFAULT_ONNX):
            fused, _ = fuse_channels(form, target)
            assert_exact(form, fused)
            assert np.ptp(interpret(form, feeds_of(form))[form.outputs[0]].astype(np.float64)) > 0
            assert target.graph_ns(fused) <= target.graph_ns(form)


@pytest.mark.parametrize(("model", "options"), [V2[0], ("igcv3", {"alpha": 0.5, "resolution": 32})])
def test_int8_files_give_the_same_bits_fused_or_not(model, options):
    graph = int8_of(lowered(model, options))
    x = np.random.default_rng(0).integers(-128, 128, graph.shape("input")).astype(np.int8)
    for target, write in ((DEFAULT_TFLITE, tflite_bytes), (DEFAULT_ONNX, onnx_bytes)):
        fused, report = fuse_channels(graph, target)
        assert report.changed
        results = []
        for form in (graph, fused):
            with Session.open(write(form)) as session:
                results.append(session.run(x if write is tflite_bytes else x.transpose(0, 3, 1, 2)))
        for name, value in results[0].items():
            np.testing.assert_array_equal(results[1][name], value)


def test_shufflenet_v2_keeps_one_concat_a_unit_and_nothing_else_but_slices():
    graph = int8_of(lowered("shufflenet_v2", {"alpha": 1.0, "resolution": 64}))
    fused, report = fuse_channels(graph, DEFAULT_TFLITE)
    assert report.before == {"channel_shuffle": 16, "split": 13, "concat": 16}
    assert not set(report.after) & set(MOVING)
    assert graph_cost(fused).memory_access_bytes < graph_cost(graph).memory_access_bytes
    assert len(report.left) == sum(report.after.values())
    assert all("reads these channels together" in line for line in report.left)
    onnx, report = fuse_channels(graph, DEFAULT_ONNX)
    assert report.after["concat"] <= 16
    assert len(onnx.nodes) < len(graph.nodes)


@pytest.mark.parametrize("model", ["mobilenet_v2", "squeezenet"])
def test_nets_without_needless_moves_stay_as_they_are(model):
    options = {"resolution": 64, "alpha": 0.35} if model == "mobilenet_v2" else {"resolution": 64}
    for graph in (lowered(model, options), int8_of(lowered(model, options))):
        fused, report = fuse_channels(graph, DEFAULT_TFLITE)
        assert not report.changed
        assert graph_text(fused) == graph_text(graph)


def test_a_shuffle_between_dense_and_depthwise_layers_vanishes():
    b = GraphBuilder("net", (1, 6, 6, 4))
    x = b.depthwise(b.channel_shuffle(b.conv2d("input", 12, 1, name="a"), 3, name="s"), 3, name="d")
    x = b.channel_shuffle(b.activation(x, "relu", name="r"), 4, name="s2")
    graph = b.finish(b.conv2d(x, 5, 3, name="c"))
    fused, report = fuse_channels(graph, retargeted())
    assert [n.op for n in fused.nodes] == ["conv2d", "conv2d", "relu", "conv2d"]
    assert report.after == {}
    assert_exact(graph, fused)


def test_a_tensor_whose_channels_are_reordered_has_another_name():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.channel_shuffle(b.conv2d("input", 12, 1, name="a"), 3, name="s")
    graph = b.finish(b.conv2d(x, 48, 3, groups=3, name="c"))
    fused, _ = fuse_channels(graph, retargeted(mac=1.0))
    assert [n.output for n in fused.nodes] == ["a/reordered", "c"]
    assert_exact(graph, fused)


def test_a_keras_shuffle_is_a_shuffle():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.reshape(b.conv2d("input", 12, 1, name="a"), (1, 4, 4, 3, 4), name="apart")
    x = b.reshape(b.transpose(x, (0, 1, 2, 4, 3), name="turned"), (1, 4, 4, 12), name="together")
    graph = b.finish(b.conv2d(x, 6, 3, name="c"))
    fused, _ = fuse_channels(graph, retargeted())
    assert [n.op for n in fused.nodes] == ["conv2d", "conv2d"]
    assert_exact(graph, fused)


def test_a_graph_output_amid_a_chain_keeps_its_value_and_name():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.channel_shuffle(b.conv2d("input", 12, 1, name="a"), 3, name="middle")
    graph = b.finish(b.conv2d(b.channel_shuffle(x, 4, name="s"), 6, 1, name="c"), "middle")
    fused, report = fuse_channels(graph, retargeted())
    assert_exact(graph, fused)
    assert fused.outputs == ("c", "middle")
    assert len([n for n in fused.nodes if n.op != "conv2d"]) <= 1
    assert all("middle" in line for line in report.left)


def test_a_shared_kernel_is_left_alone_with_the_reason():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.conv2d("input", 4, 1, name="a")
    y = b.op("conv2d", [b.channel_shuffle(x, 2, name="s"), "a/kernel"], name="again")
    graph = b.finish(b.conv2d(y, 2, 1, name="c"))
    fused, report = fuse_channels(graph, retargeted())
    assert_exact(graph, fused)
    assert "a: its kernel 'a/kernel' is shared with again" in report.notes
    assert sum("kernel" in t.name and t.name.startswith("a/") for t in fused.constants()) == 1


def test_computed_weights_are_left_alone_with_the_reason():
    b = GraphBuilder("net", (1, 1, 1, 4))
    x = b.conv2d("input", 4, 1, name="a")
    kernel = b.reshape(b.conv2d(x, 16, 1, name="k"), (1, 1, 4, 4), name="kernel")
    graph = b.finish(b.op("conv2d", [b.channel_shuffle(x, 2, name="s"), kernel], name="c"))
    fused, report = fuse_channels(graph, retargeted())
    assert_exact(graph, fused)
    assert "c: its weights are computed, not constant" in report.notes


def test_a_producer_read_in_two_orders_is_not_miscompiled():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.conv2d("input", 12, 1, name="a")
    s = b.channel_shuffle(x, 3, name="s")
    graph = b.finish(b.conv2d(b.add(x, s, name="sum"), 3, 1, name="c"))
    assert_exact(graph, fuse_channels(graph, retargeted())[0])


def test_channels_read_twice_are_added_up_where_the_sum_fits():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.conv2d("input", 6, 1, name="a")
    graph = b.finish(b.conv2d(b.gather(x, [0, 5, 5, 2, 0, 0], name="g"), 3, 1, name="c"))
    for form in (graph, int8_of(graph)):
        fused, _ = fuse_channels(form, retargeted())
        assert_exact(form, fused)
    assert [n.op for n in fuse_channels(graph, retargeted())[0].nodes] == ["conv2d", "conv2d"]


def test_vectors_are_followed_too():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.global_avg_pool(b.conv2d("input", 12, 1, name="a"), name="pool")
    graph = b.finish(b.dense(b.gather(x, list(range(11, -1, -1)), axis=1, name="g"), 3, name="fc"))
    fused, _ = fuse_channels(graph, retargeted())
    assert "gather" not in {n.op for n in fused.nodes}
    assert_exact(graph, fused)


def test_a_damaged_index_layer_is_left_alone_with_the_reason():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.channel_shuffle(b.gather("input", [0, 1], name="g"), 2, name="s")
    graph = b.finish(b.conv2d(x, 3, 1, name="c"))
    gather = graph.nodes[0]
    for indices in ((0, 9), (-2, 0)):
        graph.replace_node(gather, gather.with_attrs(indices=indices))
        fused, report = fuse_channels(graph, retargeted())
        assert not report.changed
        assert fused.nodes == graph.nodes
        wrong = next(i for i in indices if not 0 <= i < 4)
        assert report.notes == (f"g: channel {wrong} is outside a mapping of 4",)


def test_repeated_channels_whose_int8_weights_do_not_add_up_are_kept_with_the_reason():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.conv2d("input", 6, 1, name="a")
    graph = int8_of(b.finish(b.conv2d(b.gather(x, [0, 5, 5, 2, 0, 0], name="g"), 3, 1, name="c")))
    kernel = graph.tensor(next(n for n in graph.nodes if n.name == "c").inputs[1])
    graph.set_tensor(replace(kernel, data=np.full(kernel.shape, 100, np.int8)))
    fused, report = fuse_channels(graph, retargeted())
    assert_exact(graph, fused)
    assert "c: it reads a channel twice, with int8 weights whose sum is no int8" in report.notes
    assert sum(report.after.values()) >= 1


def test_a_grouped_layer_that_reads_repeated_channels_is_not_made_dense():
    b = GraphBuilder("net", (1, 4, 4, 4))
    x = b.conv2d("input", 6, 1, name="a")
    graph = int8_of(b.finish(b.conv2d(b.gather(x, [5, 5, 2, 0, 0, 1], name="g"), 4, 1, groups=2, name="c")))
    kernel = graph.tensor(next(n for n in graph.nodes if n.name == "c").inputs[1])
    graph.set_tensor(replace(kernel, data=np.full(kernel.shape, 100, np.int8)))
    for target in (retargeted(), tiled()):
        assert_exact(graph, fuse_channels(graph, target)[0])


def test_a_pool_behind_concats_keeps_the_order_of_what_it_reads():
    b = GraphBuilder("net", (1, 6, 6, 4))
    parts = [b.conv2d("input", 8, 1, name=f"a{i}") for i in range(3)]
    x = b.pool(b.concat(parts, name="joined"), "max_pool", 2, stride=2, name="pool")
    rng = np.random.default_rng(1)
    ends = [
        b.conv2d(b.gather(x, np.sort(rng.permutation(24)[:14]).tolist(), name=f"g{i}"), 3, 1, name=f"e{i}")
        for i in range(3)
    ]
    graph = b.finish(*ends)
    fused, report = fuse_channels(graph, retargeted(gather=1e5))
    assert report.after == {"concat": 1}
    assert [n.inputs[0] for n in fused.nodes if n.name in ("e0", "e1", "e2")] == [fused.nodes[4].output] * 3
    assert_exact(graph, fused)

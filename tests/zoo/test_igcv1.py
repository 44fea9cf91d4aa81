"""IGCV1: counts of the authors' networks, paths through the blocks, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from golden_counts import counts

from edgekit.errors import ModelError
from edgekit.graph.interpret import interpret
from edgekit.graph.kernels import shuffle_indices
from edgekit.zoo import build_model, model_spec
from edgekit.zoo.igc_conditions import grouped_support


@pytest.mark.parametrize(
    ("primary", "secondary", "depth", "parameters"),
    [(24, 2, 62, 532282), (4, 8, 8, 78634), (4, 8, 20, 277546), (4, 8, 38, 575914)],
)
def test_parameters_of_the_plain_networks(primary, secondary, depth, parameters):
    assert counts("igcv1_cifar", primary=primary, secondary=secondary, depth=depth)[0] == parameters


def test_l16m16_on_imagenet():
    parameters, macs = counts("igcv1", primary=16, secondary=16)
    assert parameters == 13528296
    assert round(macs / 1e6) == 2266


@pytest.mark.parametrize("depth", [8, 20, 38, 62])
def test_sumfusion_is_about_as_large_as_the_regular_network_of_16(depth):
    """arXiv:1707.02725, table 2 leaves it out for that reason; it is a reading, and marked as one."""
    summed = counts("igcv1_cifar", primary=4, secondary=8, depth=depth, block="sumfusion")
    regular = counts("igcv1_cifar", primary=16, secondary=1, depth=depth, block="regular")
    assert summed == pytest.approx(regular, rel=0.02)
    rows = [row for row in model_spec("igcv1_cifar").published if row.options.get("block") == "sumfusion"]
    assert len(rows) == 4
    assert all(row.hypothesis for row in rows)


def test_sumfusion_adds_up_what_its_convolutions_make():
    graph = build_model("igcv1_cifar", primary=4, secondary=8, depth=5, block="sumfusion")
    x = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    values = interpret(graph, {"input": x}, keep=True)
    parts = values["stage2_block1_conv"].reshape(1, 16, 16, 4, 16)
    np.testing.assert_allclose(values["stage2_block1_sum4"], parts.sum(axis=3), atol=1e-5)


def block_paths(graph, name):
    """Paths from each input to each output of a block: product of supports and permutations."""
    paths = None
    for node in graph.nodes:
        if not node.name.startswith(name):
            continue
        if node.op == "conv2d":
            _, _, inner, outputs = graph.shape(node.inputs[1])
            support = grouped_support(outputs, inner * node.attrs["groups"], node.attrs["groups"])
            paths = support if paths is None else support @ paths
        elif node.op == "channel_shuffle":
            paths = paths[shuffle_indices(len(paths), node.attrs["groups"])]
    return paths


@pytest.mark.parametrize(("primary", "secondary"), [(24, 2), (4, 8), (3, 5), (1, 6), (6, 1), (8, 8)])
@pytest.mark.parametrize("block", ["stage1_block1", "stage2_block1", "stage3_block1"])
def test_exactly_one_path_leads_from_each_input_to_each_output(primary, secondary, block):
    graph = build_model("igcv1_cifar", primary=primary, secondary=secondary, depth=5)
    assert (block_paths(graph, f"{block}_") == 1).all()


def test_the_authors_narrow_groups_of_a_widening_unit_make_two_paths():
    graph = build_model("igcv1_cifar", primary=6, secondary=2, depth=8, shortcut="identity")
    assert (block_paths(graph, "stage2_block1_1_") == 2).all()
    assert (block_paths(graph, "stage2_block1_2_") == 1).all()


def test_the_block_is_the_dense_product_of_its_kernels():
    """One dense 3x3 convolution, composed of the sparse kernels, does what the block's layers do; it has no zero."""
    graph = build_model("igcv1_cifar", primary=4, secondary=3, depth=5, resolution=32)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    values = interpret(graph, {"input": x}, keep=True)
    dense = None
    for name in ("primary", "interleave", "secondary", "restore"):
        node = next(n for n in graph.nodes if n.name == f"stage1_block1_{name}")
        if node.op == "conv2d":
            kernel, groups = graph.tensor(node.inputs[1]).array, node.attrs["groups"]
            full = np.tile(kernel, (1, 1, groups, 1)) * grouped_support(12, 12, groups).T
            dense = full if dense is None else np.einsum("hwio,op->hwip", dense, full[0, 0])
        else:
            dense = dense[..., shuffle_indices(12, node.attrs["groups"])]
    assert (dense != 0).all()
    padded = np.pad(values["stem_relu"], ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    np.testing.assert_allclose(
        np.einsum("nyxihw,hwio->nyxo", windows, dense), values["stage1_block1_restore"], atol=1e-4
    )


def test_permutations_that_change_nothing_are_left_out():
    ops = [n.op for n in build_model("igcv1_cifar", primary=1, secondary=8, depth=5).nodes]
    assert "channel_shuffle" not in ops


def test_projection_has_the_primary_groups():
    graph = build_model("igcv1", primary=4, secondary=8, resolution=32)
    nodes = {n.name: n for n in graph.nodes}
    assert "stage1_unit1_shortcut" not in nodes
    assert nodes["stage2_unit1_shortcut"].attrs["groups"] == 4
    assert nodes["stage2_unit1_shortcut"].attrs["strides"] == (2, 2)
    wider = {n.name: n for n in build_model("igcv1", primary=8, secondary=2, widen="primary", resolution=32).nodes}
    assert [wider[f"stage{i}_unit1_shortcut"].attrs["groups"] for i in (1, 2, 3, 4)] == [8, 16, 32, 64]
    assert wider["stage1_unit1_shortcut"].attrs["strides"] == (1, 1)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            "igcv1_cifar",
            {"depth": 21},
            r"depth 21 does not fill 3 stages evenly: it is not 3 B \+ 2; nearest: 20 or 23",
        ),
        ("igcv1_cifar", {"depth": 2}, r"depth 2 does not fill 3 stages evenly.*; nearest: 5$"),
        ("igcv1_cifar", {"depth": 23, "shortcut": "identity"}, r"not 6 B \+ 2; nearest: 20 or 26"),
        ("igcv1", {"depth": 20}, r"depth 20 does not fill 4 stages evenly: it is not 8 B \+ 2; nearest: 18 or 26"),
        ("igcv1", {"primary": 2048, "secondary": 2}, r"primary 2048 x secondary 2 is 4096 channels; 2048 are the most"),
        ("igcv1_cifar", {"primary": 0}, r"option primary is 0; give an integer from 1"),
        ("igcv1_cifar", {"block": "dense"}, r"option block is 'dense'; choose one of igc, regular"),
    ],
)
def test_forbidden_combinations(model, options, message):
    with pytest.raises(ModelError, match=message):
        build_model(model, **options)


@pytest.mark.parametrize("block", ["igc", "regular", "sumfusion"])
def test_features_of_deep_plain_networks_do_not_fade(block):
    """The zeros around the maps take a part of them in every layer."""
    graph = build_model("igcv1_cifar", primary=4, secondary=8, depth=62, block=block)
    x = np.random.default_rng(0).uniform(-2, 2, (1, 32, 32, 3)).astype(np.float32)
    values = interpret(graph, {"input": x}, keep=True)
    assert 0.25 < values["stage3_block20_relu"].std() < 4  # 0.03 to 0.06 where the gains do not allow for it


@pytest.mark.parametrize(("depth", "shortcut"), [(20, "plain"), (98, "identity")])
def test_random_activations_neither_vanish_nor_explode(depth, shortcut):
    graph = build_model("igcv1_cifar", primary=8, secondary=2, depth=depth, shortcut=shortcut)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    values = interpret(graph, {"input": x}, keep=True)
    assert 0.03 < values["stage3_block1_relu"].std() < 10
    assert math.isclose(values["predictions"].sum(), 1, rel_tol=1e-5)

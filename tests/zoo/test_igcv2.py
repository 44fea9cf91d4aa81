"""IGCV2: counts, paths through the blocks, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from golden_counts import counts

from edgekit.errors import ModelError
from edgekit.graph.interpret import interpret
from edgekit.graph.kernels import shuffle_indices
from edgekit.zoo import build_model, model_spec
from edgekit.zoo.igc_conditions import grouped_support
from edgekit.zoo.igcv2 import star_layers


def test_the_widest_network_is_near_the_papers_size():
    """arXiv:1804.06202, table 5: 0.65 M for IGCV2*(C416)."""
    assert counts("igcv2_cifar", width=416)[0] == pytest.approx(0.65e6, rel=0.02)


def test_the_imagenet_hypothesis_is_about_as_large_as_mobilenet():
    """The paper compares it with MobileNet 1.0: 4.2 M parameters and 569 M MACs."""
    parameters, macs = counts("igcv2")
    assert parameters == pytest.approx(4.2e6, rel=0.2)
    assert macs == pytest.approx(569e6, rel=0.2)


def test_all_published_rows_are_marked_as_hypotheses():
    for name in ("igcv2", "igcv2_cifar"):
        assert all(row.hypothesis for row in model_spec(name).published)


def block_of(graph, name):
    """(dense product of the block's layers (3, 3, in, out), paths (out, in)) from kernels and permutations alone."""
    dense = paths = None
    for node in graph.nodes:
        if not node.name.startswith(f"{name}_"):
            continue
        if node.op == "conv2d":
            kernel, groups = graph.tensor(node.inputs[1]).array, node.attrs["groups"]
            support = grouped_support(kernel.shape[3], kernel.shape[2] * groups, groups)
            full = np.tile(kernel, (1, 1, groups, 1)) * support.T
            dense = full if dense is None else np.einsum("hwio,op->hwip", dense, full[0, 0])
            paths = support if paths is None else support @ paths
        elif node.op == "channel_shuffle":
            order = shuffle_indices(len(paths), node.attrs["groups"])
            dense, paths = dense[..., order], paths[order]
    return dense, paths


@pytest.mark.parametrize(
    "options",
    [
        {"width": 64},
        {"width": 30},
        {"width": 64, "block_layers": 4},
        {"width": 64, "block_layers": 2},
        {"width": 64, "k": 4},
        {"width": 64, "k": 2, "block_layers": 5},
    ],
)
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_igcv2_is_dense_with_exactly_one_path(options, stage):
    graph = build_model("igcv2_cifar", variant="igcv2", depth=8, **options)
    dense, paths = block_of(graph, f"stage{stage}_block2")
    assert (paths == 1).all()
    assert (dense != 0).all()


@pytest.mark.parametrize("stage", [2, 3])
def test_a_block_that_doubles_the_width_has_two_paths(stage):
    dense, paths = block_of(build_model("igcv2_cifar", variant="igcv2", depth=5), f"stage{stage}_block1")
    assert paths.shape == (64 * 2 ** (stage - 1), 32 * 2 ** (stage - 1))
    assert (paths == 2).all()
    assert (dense != 0).all()


@pytest.mark.parametrize("width", [32, 48, 64, 80, 416])
def test_igcv2_star_is_dense_in_its_first_stage(width):
    dense, paths = block_of(build_model("igcv2_cifar", width=width, depth=5), "stage1_block1")
    assert paths.min() >= 1
    assert (dense != 0).all()


def test_igcv2_star_of_64_has_one_path_and_then_gets_sparse():
    graph = build_model("igcv2_cifar", width=64, depth=8)
    assert (block_of(graph, "stage1_block1")[1] == 1).all()
    assert block_of(graph, "stage3_block2")[1].mean() == pytest.approx(64 / 256)


def test_the_imagenet_blocks_have_exactly_one_path():
    graph = build_model("igcv2", alpha=0.25, resolution=32)
    for block in (3, 5, 7):
        assert (block_of(graph, f"block{block}")[1] == 1).all()


def test_the_layers_do_what_their_dense_product_does():
    graph = build_model("igcv2_cifar", variant="igcv2", width=12, depth=5)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    values = interpret(graph, {"input": x}, keep=True)
    dense, _ = block_of(graph, "stage1_block1")
    padded = np.pad(values["stem_relu"], ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    expected = np.einsum("nyxihw,hwio->nyxo", windows, dense)
    np.testing.assert_allclose(expected, values["stage1_block1_permute3"], atol=1e-4)


@pytest.mark.parametrize(("width", "layers"), [(8, 2), (9, 3), (64, 3), (65, 4), (512, 4), (416, 4)])
def test_star_layers_are_the_logarithm_rounded_up(width, layers):
    assert star_layers(width, 8) == layers


def test_norm_after_every_convolution_is_an_option():
    norms = {
        norm: sum(n.op == "batch_norm" for n in build_model("igcv2_cifar", norm=norm, depth=5).nodes)
        for norm in ("block", "conv")
    }
    assert norms == {"block": 4, "conv": 10}


def test_shortcuts_span_two_blocks_where_shapes_allow():
    added = [n.name for n in build_model("igcv2_cifar", width=32).nodes if n.op == "add"]
    assert added == [f"stage{s}_block{i}_add" for s, first in ((1, 2), (2, 4), (3, 4)) for i in range(first, 7, 2)]


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("igcv2_cifar", {"variant": "igcv2", "k": 7}, r"group size 7 breaks the complementary.*64 .* work: 4 or 8"),
        ("igcv2_cifar", {"variant": "igcv2", "width": 13}, r"13 channels are no product of 2 group sizes"),
        ("igcv2_cifar", {"variant": "igcv2", "block_layers": 1}, r"at least 2 layers, not 1"),
        ("igcv2_cifar", {"variant": "igcv2", "block_layers": 2, "k": 8}, r"\(1, 8\) break the complementary condition"),
        ("igcv2_cifar", {"k": 7}, r"igcv2\*: 64 channels do not divide into groups of 7; nearest that work: 4 or 8"),
        ("igcv2_cifar", {"k": 1}, r"groups of 1; nearest that work: 2$"),
        ("igcv2_cifar", {"width": 50}, r"igcv2\*: 50 channels .* groups of 8; nearest that work: 5 or 10"),
        (
            "igcv2_cifar",
            {"block_layers": 2},
            r"2 layers with K 8 reach 8 of 64 .* at least 3 layers, or a K of at least 64",
        ),
        ("igcv2_cifar", {"block_layers": 1}, r"an interleaved block has at least 2 layers, not 1"),
        ("igcv2_cifar", {"variant": "igcv2", "block_layers": 1, "k": 8}, r"at least 2 layers, not 1"),
        ("igcv2_cifar", {"depth": 21}, r"depth 21 does not fill 3 stages evenly.*nearest: 20 or 23"),
        (
            "igcv2",
            {"alpha": 0.1, "block_layers": 6},
            r"16 channels are no product of 5 group sizes; give 5 layers at most",
        ),
    ],
)
def test_forbidden_combinations(model, options, message):
    with pytest.raises(ModelError, match=message):
        build_model(model, **options)


@pytest.mark.parametrize(
    ("model", "options"), [("igcv2_cifar", {"depth": 38}), ("igcv2", {"alpha": 0.25, "resolution": 64})]
)
def test_random_activations_neither_vanish_nor_explode(model, options):
    graph = build_model(model, **options)
    x = np.random.default_rng(0).uniform(-1, 1, graph.shape("input")).astype(np.float32)
    values = interpret(graph, {"input": x}, keep=True)
    last = [n.output for n in graph.nodes if n.op == "relu"][-1]
    assert 0.02 < values[last].std() < 10

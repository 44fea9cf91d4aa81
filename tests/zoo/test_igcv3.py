"""IGCV3: counts, agreement with a torch implementation, groups and widths."""

from __future__ import annotations

import numpy as np
import pytest
from golden_counts import counts
from torch_twin import randomize_norms, run_both

from edgekit.errors import ModelError
from edgekit.graph.interpret import interpret
from edgekit.zoo import build_model
from edgekit.zoo.igcv3 import author_expanded, even


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 3491688),
        ({"alpha": 0.75}, 2638084),
        ({"alpha": 0.75, "widths": "author"}, 2583904),
        ({"alpha": 0.7, "widths": "author"}, 2447130),
        ({"alpha": 1.0, "widths": "author"}, 3491688),
        ({"variant": "w", "groups1": 2, "groups2": 2}, 5724968),
    ],
)
def test_parameters_under_both_rules_of_width(options, parameters):
    assert counts("igcv3", **options)[0] == parameters


def test_multiply_adds_of_the_paper():
    """arXiv:1806.00178: 318 M and 3.5 M parameters for IGCV3-D 1.0."""
    parameters, macs = counts("igcv3")
    assert macs == 312970176
    assert round(parameters / 1e6, 1) == 3.5


@pytest.mark.parametrize(("alpha", "name"), [(1.0, "igcv3_w1"), (0.5, "igcv3_wd2")])
def test_outputs_equal_torch_with_the_same_weights(alpha, name):
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("pytorchcv.models.igcv3")
    net = getattr(models, name)(num_classes=10)
    net.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    graph = randomize_norms(build_model("igcv3", alpha=alpha, resolution=64, classes=10))
    ours, theirs = run_both(graph, net, "logits")
    assert np.ptp(theirs) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize(("value", "expected"), [(11.2, 12), (22.4, 22), (44.8, 46), (16.8, 18), (0.3, 2), (24, 24)])
def test_widths_are_rounded_to_even_ones(value, expected):
    assert even(value) == expected


@pytest.mark.parametrize(("width", "alpha", "expected"), [(22, 1.4, 23), (12, 0.75, 13), (8, 0.5, 4), (34, 1.4, 48)])
def test_the_authors_second_scaling(width, alpha, expected):
    assert author_expanded(width, alpha) == expected


def test_blocks_add_their_input_after_the_first_of_a_row():
    added = [n.name for n in build_model("igcv3", resolution=32).nodes if n.op == "add"]
    repeats = {2: 4, 3: 6, 4: 8, 5: 6, 6: 6}
    assert added == [f"row{row}_block{i}_add" for row, n in repeats.items() for i in range(2, n + 1)]


def test_only_the_depthwise_convolution_of_a_block_is_activated():
    graph = build_model("igcv3", resolution=32)
    activated = [n.name for n in graph.nodes if n.op == "relu6" and n.name.startswith("row2_block2")]
    assert activated == ["row2_block2_depthwise_relu6"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups1": 3}, r"layer row1_block1_expand: 32 channels do not divide into 3 groups; nearest .*: 2 or 4"),
        ({"groups2": 5}, r"layer row1_block1_depthwise: 32 channels do not divide into 5 groups; nearest .*: 4 or 8"),
        ({"groups1": 32}, r"row2_block1_expand: 16 channels do not divide into 32 groups; nearest that work: 8$"),
        (
            {"groups1": 4, "alpha": 0.7},
            r"row1_block1_expand: 22 channels do not divide into 4 groups; nearest that work: 2$",
        ),
        ({"variant": "x"}, r"option variant is 'x'; choose one of d, w"),
    ],
)
def test_groups_must_divide_every_width(options, message):
    with pytest.raises(ModelError, match=message):
        build_model("igcv3", **options)


def test_random_activations_neither_vanish_nor_explode():
    graph = build_model("igcv3", resolution=64)
    x = np.random.default_rng(0).uniform(-2, 2, graph.shape("input")).astype(np.float32)
    values = interpret(graph, {"input": x}, keep=True)
    for node in graph.nodes:
        if node.op == "relu6":
            assert 0.02 < values[node.output].std() < 3, node.name


@pytest.mark.parametrize("options", [{"groups1": 3}, {"groups1": 32}, {"groups2": 5}, {"groups1": 4, "alpha": 0.7}])
def test_proposed_groups_are_legal_in_all_layers(options):
    with pytest.raises(ModelError, match="nearest that work: ") as refusal:
        build_model("igcv3", resolution=32, **options)
    name = next(iter(options))
    for proposal in str(refusal.value).rpartition(": ")[2].split(" or "):
        assert build_model("igcv3", resolution=32, **{**options, name: int(proposal)}).outputs

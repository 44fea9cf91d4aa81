"""ShuffleNet V1: counts, agreement with a torch implementation, widths and groups."""

from __future__ import annotations

import numpy as np
import pytest
from golden_counts import counts
from torch_twin import randomize_norms, run_both

from edgekit.errors import ModelError
from edgekit.zoo import build_model, model_spec
from edgekit.zoo.shufflenet_v1 import STAGE2_WIDTHS

# groups, alpha: the authors' code, whose classifier has no bias.
AUTHORS = [
    (3, 0.5, 717324, 37589856),
    (3, 1.0, 1864728, 137460672),
    (3, 1.5, 3441168, 292443552),
    (3, 2.0, 5449776, 524045184),
    (8, 0.5, 1010448, 40469760),
    (8, 1.0, 2433768, 138365952),
    (8, 1.5, 4268952, 290188800),
    (8, 2.0, 6521232, 521942016),
]

# groups, alpha, stem (0: ours): pytorchcv, and by hand after its rules, with a bias.
WITH_BIAS = [
    (1, 1.0, 0, 1531936, 143078976),
    (2, 1.0, 0, 1733848, 140836512),
    (8, 1.0, 0, 2434768, 138365952),
    (1, 0.75, 0, 975214, 82542672),
    (3, 0.5, 0, 718324, 37589856),
    (1, 0.25, 0, 209746, 11003184),
    (3, 0.25, 0, 305902, 11009808),
    (1, 0.25, 24, 210232, 17480592),
    (1, 0.5, 24, 534808, 43089696),
    (1, 1.5, 24, 2993032, 308096352),
    (1, 2.0, 48, 4918744, 550334592),
    (2, 2.0, 24, 5256048, 524424512),
    (2, 2.0, 48, 5257896, 539138624),
    (3, 0.25, 24, 306568, 17882352),
    (3, 1.5, 36, 3443212, 299612448),
    (3, 2.0, 24, 5448208, 507637632),
    (4, 2.0, 48, 5593528, 510289536),
    (8, 0.25, 24, 455272, 19011840),
    (8, 0.5, 24, 1012000, 44345856),
    (8, 2.0, 24, 6517552, 499814400),
    # The groups do not divide a quarter of the width: rounded up.
    (2, 0.25, 24, 267620, 17845684),
    (2, 0.25, 0, 267026, 11156596),
    (2, 0.5, 24, 644412, 43490992),
    (2, 0.5, 0, 643932, 38570608),
    (2, 1.5, 36, 3273092, 308754576),
    (4, 0.5, 0, 778040, 37468832),
    (4, 1.5, 24, 3574032, 285767712),
]


@pytest.mark.parametrize(("groups", "alpha", "parameters", "macs"), AUTHORS)
def test_counts_equal_the_authors(groups, alpha, parameters, macs):
    assert counts("shufflenet_v1", groups=groups, alpha=alpha) == (parameters, macs)


@pytest.mark.parametrize(("groups", "alpha", "stem", "parameters", "macs"), WITH_BIAS)
def test_counts_with_a_bias_equal_the_references(groups, alpha, stem, parameters, macs):
    found = counts("shufflenet_v1", groups=groups, alpha=alpha, stem=stem, classifier_bias="on")
    assert found == (parameters, macs)


@pytest.mark.parametrize(("stem", "parameters", "macs"), [(24, 587548, 26683632), (12, 586984, 21584496)])
def test_counts_of_the_shallow_network(stem, parameters, macs):
    options = {"alpha": 0.5, "groups": 3, "shallow": "on", "stem": stem, "classifier_bias": "on"}
    assert counts("shufflenet_v1", **options) == (parameters, macs)


@pytest.mark.parametrize("row", model_spec("shufflenet_v1").published)
def test_multiply_adds_are_near_the_printed_ones(row):
    """The paper prints 140, 38 and 13 M for all numbers of groups; its shallow network is not ours."""
    if row.options.get("shallow") == "on":
        assert row.hypothesis
    else:
        macs = counts("shufflenet_v1", **row.options)[1] / 1e6
        assert macs == pytest.approx(row.macs_millions, rel=0.05 if row.parameters_millions is None else 0, abs=2)


@pytest.mark.parametrize(("groups", "name"), [(1, "g1_wd4"), (3, "g3_wd2"), (8, "g8_w1"), (4, "g4_w1")])
def test_outputs_equal_torch_with_the_same_weights(groups, name):
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("pytorchcv.models.shufflenet")
    net = getattr(models, f"shufflenet_{name}")(num_classes=10)
    net.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    alpha = {"wd4": 0.25, "wd2": 0.5, "w1": 1.0}[name.partition("_")[2]]
    options = {"groups": groups, "alpha": alpha, "classifier_bias": "on", "resolution": 66, "classes": 10}
    graph = randomize_norms(build_model("shufflenet_v1", **options))
    ours, theirs = run_both(graph, net, "logits")
    assert np.ptp(theirs) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("groups", STAGE2_WIDTHS)
@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75, 1.0, 1.5, 2.0])
def test_every_number_of_groups_builds_at_every_width(groups, alpha):
    graph = build_model("shufflenet_v1", groups=groups, alpha=alpha, resolution=32)
    widths = [graph.shape(f"stage{stage}_2/relu")[3] for stage in (2, 3, 4)]
    assert widths == [STAGE2_WIDTHS[groups] * alpha * factor for factor in (1, 2, 4)]


def test_first_convolution_of_stage_2_is_not_grouped():
    nodes = {n.name: n for n in build_model("shufflenet_v1", groups=3, resolution=32).nodes}
    assert nodes["stage2_1/compress"].attrs["groups"] == 1
    assert nodes["stage2_1/expand"].attrs["groups"] == nodes["stage2_2/compress"].attrs["groups"] == 3
    assert nodes["stage2_1/shuffle"].attrs["groups"] == 3


def test_one_group_needs_no_shuffle():
    assert not any(n.op == "channel_shuffle" for n in build_model("shufflenet_v1", groups=1, resolution=32).nodes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 5}, "ShuffleNet V1 has no widths for 5 groups; give 4 or 8"),
        ({"groups": 9}, "option groups is 9; give an integer from 1 to 8"),
        (
            {"alpha": 0.33},
            r"alpha 0\.33 .* stage 2 of 79 channels: 3 groups .*; give alpha 0\.325 \(78 .*\) or 0\.3375 \(81",
        ),
        (
            {"groups": 8, "stem": 12},
            r"first convolution of 12 .*: 8 groups divide not both 384 and the 372 .*; give stem 8 or 16",
        ),
        (
            {"alpha": 0.01},
            r"alpha 0\.01 gives .* of 3 and a stage 2 of 2 channels: .*; give alpha 0\.025 \(6 channels\)$",
        ),
        (
            {"stem": 300},
            r"first convolution of 300 and a stage 2 of 240 channels: .*; give alpha 1\.2625 \(303 channels\)$",
        ),
    ],
)
def test_widths_that_the_groups_do_not_divide_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        build_model("shufflenet_v1", **options)


@pytest.mark.parametrize(("groups", "alpha"), [(2, 0.305), (3, 0.33), (4, 0.6), (8, 1.1), (8, 0.9), (3, 7.905)])
def test_proposed_widths_are_legal(groups, alpha):
    """Whatever the message proposes builds, with the width that it names."""
    with pytest.raises(ModelError, match="give alpha") as refusal:
        build_model("shufflenet_v1", groups=groups, alpha=alpha, resolution=32)
    proposals = str(refusal.value).rpartition("give alpha ")[2].split(" or ")
    assert len(proposals) == 2
    for proposal in proposals:
        number, width = proposal.removesuffix(" channels)").split(" (")
        graph = build_model("shufflenet_v1", groups=groups, alpha=float(number), resolution=32)
        assert graph.shape("stage2_1/relu")[3] == int(width)


def test_one_group_takes_any_width():
    graph = build_model("shufflenet_v1", groups=1, alpha=0.3, resolution=32)
    assert graph.shape("stage2_1/relu")[3] == 43  # int(43.2)

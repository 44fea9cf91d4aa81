"""SqueezeNext: counts, agreement with a torch implementation, widths and groups."""

from __future__ import annotations

import numpy as np
import pytest
from golden_counts import counts
from torch_twin import randomize_norms, run_both

from edgekit.errors import ModelError
from edgekit.zoo import build_model, model_spec

# The authors' Caffe files; 1.5-SqNxt-23 by their rules.
REFERENCES = [
    ({}, 717280, 277999808),
    ({"version": "23v5"}, 930016, 224916480),
    ({"groups": 2}, 543072, 224191552),
    ({"alpha": 1.5}, 1406384, 472270784),
    ({"alpha": 2.0}, 2361728, 742070464),
    ({"alpha": 2.0, "version": "23v5"}, 3222912, 702592000),
]


@pytest.mark.parametrize(("options", "parameters", "macs"), REFERENCES)
def test_counts_equal_the_references(options, parameters, macs):
    assert counts("squeezenext", **options) == (parameters, macs)


@pytest.mark.parametrize(
    "row", model_spec("squeezenext").published, ids=lambda row: " ".join(map(str, row.options.values()))
)
def test_parameters_are_near_the_papers(row):
    """arXiv:1803.10615: equal once rounded; the layouts of 34 were never printed, and ours is within 5.5 %."""
    parameters = counts("squeezenext", **row.options)[0] / 1e6
    tolerance = 0.055 if row.options["version"] == "34" else 0
    assert parameters == pytest.approx(row.parameters_millions, rel=tolerance, abs=0.05)
    assert row.hypothesis == (row.options["version"] in ("34", "44"))


@pytest.mark.parametrize("version", ["23"])
def test_outputs_equal_torch_with_the_same_weights(version):
    """pytorchcv's network, less its biases, with the authors' stem and the authors' order of the separable pairs."""
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("pytorchcv.models.squeezenext")
    net = models.sqnxt23_w1(num_classes=10)
    net.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    net.features.init_block.conv.conv.padding = (0, 0)
    units = [module for module in net.modules() if isinstance(module, models.SqnxtUnit)]
    for unit in units[::2]:
        _turn(torch, unit.conv3.conv)
        _turn(torch, unit.conv4.conv)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.bias = None
    graph = randomize_norms(build_model("squeezenext", version=version, resolution=67, classes=10))
    ours, theirs = run_both(graph, net, "logits")
    assert len(units) == 21
    assert np.ptp(theirs) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def _turn(torch, conv):
    """Make a 1x3 convolution a 3x1 one, or the reverse."""
    conv.weight = torch.nn.Parameter(conv.weight.transpose(2, 3).contiguous())
    conv.padding = conv.padding[::-1]
    conv.kernel_size = conv.kernel_size[::-1]


def test_maps_shrink_as_in_the_authors_file():
    graph = build_model("squeezenext")
    names = ("conv1", "pool1", "section1_6/relu", "section2_1/relu", "section3_1/relu", "section4_1/relu")
    assert [graph.shape(n)[1] for n in names] == [111, 55, 55, 28, 14, 7]
    assert build_model("squeezenext", version="23v5").shape("pool1") == (1, 56, 56, 64)


def test_alpha_leaves_first_and_last_convolution_alone():
    graph = build_model("squeezenext", alpha=2.0, resolution=64)
    assert graph.shape("conv1")[3] == 64
    assert graph.shape("conv_last")[3] == 128
    assert graph.shape("section1_1/relu")[3] == 64


def test_groups_touch_the_first_and_the_separable_convolutions():
    graph = build_model("squeezenext", groups=2, resolution=64)
    grouped = {n.name.partition("/")[2] for n in graph.nodes if n.op == "conv2d" and n.attrs["groups"] == 2}
    assert grouped == {"reduce", "conv3x1", "conv1x3"}


def test_pairs_alternate():
    nodes = [n.name for n in build_model("squeezenext", resolution=64).nodes]
    pairs = [name for name in nodes if name.endswith(("conv3x1", "conv1x3"))]
    assert [name.rpartition("conv")[2] for name in pairs[:8]] == ["3x1", "1x3", "1x3", "3x1"] * 2


def test_23v5_shares_the_convolution_that_begins_a_section():
    graph = build_model("squeezenext", version="23v5", resolution=64)
    for section in range(1, 5):
        readers = graph.consumers(f"section{section}_1/transition_relu")
        assert {n.name for n in readers} == {f"section{section}_1/reduce", f"section{section}_1/add"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"alpha": 0.7},
            r"alpha 0\.7 makes the first section 22\.4 channels wide, .* 4 x 1 .*; give alpha 0\.625 \(20 ch",
        ),
        ({"alpha": 0.01}, r"first section 0\.32 channels wide.*; give alpha 0\.125 \(4 channels\)$"),
        (
            {"alpha": 1.125, "groups": 2},
            r"36 channels wide, .* 4 x 2 groups; give alpha 1 \(32 channels\) or 1\.25 \(40",
        ),
        ({"groups": 3}, "3 groups do not divide the 64 channels of the first convolution; give 1, 2, 4, 8"),
        ({"groups": 16}, r"first section 32 channels wide, which is no multiple of 4 x 16 groups; give alpha 2 \(64"),
        ({"version": "45"}, "option version is '45'; choose one of 23, 23v5, 34, 44"),
    ],
)
def test_impossible_widths_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        build_model("squeezenext", **options)

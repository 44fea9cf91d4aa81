"""SqueezeNet: counts, agreement with a torch implementation, metaparameters and bypasses."""

from __future__ import annotations

import numpy as np
import pytest
from golden_counts import counts
from torch_twin import randomize_norms, run_both

from edgekit.errors import ModelError
from edgekit.zoo import build_model

# Authors' Caffe files (conv10 padded in 1.0, not in 1.1), torchvision (not padded), and the design space by hand.
REFERENCES = [
    ({}, 1248424, 832667936),
    ({"resolution": 224}, 1248424, 818924576),
    ({"conv10_padding": 1}, 1248424, 861339936),
    ({"conv10_padding": 1, "resolution": 224}, 1248424, 847596576),
    ({"version": "1.1"}, 1235496, 387747520),
    ({"bypass": "simple"}, 1248424, 832667936),
    ({"bypass": "complex", "resolution": 224}, 1589672, 1165298720),
    ({"bypass": "complex_all", "resolution": 224}, 2082472, 1412647968),
    ({"bypass": "complex_all"}, 2082472, 1433088288),
    ({"sr": 0.75}, 4841704, 3693997856),
    ({"sr": 0.5}, 3404392, 2549465888),
    ({"sr": 0.5, "pct_3x3": 0.01}, 1473128, 985082656),
    ({"sr": 0.5, "pct_3x3": 0.375}, 2912872, 2151695136),
    ({"sr": 0.5, "pct_3x3": 0.75}, 4387432, 3345007392),
    ({"sr": 0.5, "pct_3x3": 0.875}, 4878952, 3742778144),
    ({"sr": 0.5, "pct_3x3": 0.99}, 5325416, 4102828832),
]


@pytest.mark.parametrize(("options", "parameters", "macs"), REFERENCES)
def test_counts_equal_the_references(options, parameters, macs):
    assert counts("squeezenet", **options) == (parameters, macs)


@pytest.mark.parametrize(("options", "mebibytes"), [({}, 4.8), ({"sr": 0.75}, 18.5)])
def test_sizes_of_the_paper(options, mebibytes):
    """arXiv:1602.07360, table 2 (4.8 MB) and figure 3 (19 MB)."""
    assert round(counts("squeezenet", **options)[0] * 4 / 2**20, 1) == mebibytes


@pytest.mark.parametrize(("version", "residual"), [("1.0", False), ("1.0", True), ("1.1", False), ("1.1", True)])
def test_outputs_equal_torch_with_the_same_weights(version, residual):
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("pytorchcv.models.squeezenet")
    net = models.get_squeezenet(version=version, residual=residual, num_classes=10)
    net.output.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    bypass = "simple" if residual else "none"
    graph = randomize_norms(build_model("squeezenet", version=version, bypass=bypass, resolution=67, classes=10))
    ours, theirs = run_both(graph, net, "pool10")
    assert np.ptp(theirs) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def test_maps_shrink_as_in_the_paper():
    """arXiv:1602.07360, table 1: 111, 55, 27, 13."""
    graph = build_model("squeezenet")
    names = ("conv1", "pool1", "pool4", "pool8", "conv10")
    assert [graph.shape(n)[1] for n in names] == [111, 55, 27, 13, 13]
    assert build_model("squeezenet", conv10_padding=1).shape("conv10") == (1, 15, 15, 1000)


def test_version_1_1_pools_earlier():
    graph = build_model("squeezenet", version="1.1")
    assert [n.name for n in graph.nodes if n.op == "max_pool"] == ["pool1", "pool3", "pool5"]


def test_metaparameters_set_the_widths():
    graph = build_model("squeezenet", base_e=64, freq=3, incr_e=32, pct_3x3=0.25, sr=0.5, resolution=64)
    squeezed = [graph.shape(f"fire{i}/squeeze1x1")[3] for i in range(2, 10)]
    small = [graph.shape(f"fire{i}/expand1x1")[3] for i in range(2, 10)]
    assert [graph.shape(f"fire{i}/concat")[3] for i in range(2, 10)] == [64, 64, 64, 96, 96, 96, 128, 128]
    assert squeezed == [32, 32, 32, 48, 48, 48, 64, 64]
    assert small == [48, 48, 48, 72, 72, 72, 96, 96]


@pytest.mark.parametrize(
    ("bypass", "added", "convolved"),
    [
        ("none", [], []),
        ("simple", [3, 5, 7, 9], []),
        ("complex", [2, 3, 4, 5, 6, 7, 8, 9], [2, 4, 6, 8]),
        ("complex_all", [2, 3, 4, 5, 6, 7, 8, 9], [2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_bypasses_go_around_the_papers_modules(bypass, added, convolved):
    nodes = {n.name for n in build_model("squeezenet", bypass=bypass, resolution=64).nodes}
    assert [i for i in range(2, 10) if f"fire{i}/add" in nodes] == added
    assert [i for i in range(2, 10) if f"fire{i}/bypass" in nodes] == convolved


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"sr": 0.005},
            r"sr 0\.005 squeezes the 128 channels of fire2 to none; give at least 0\.0078125, i\.e\. 1 chan",
        ),
        ({"pct_3x3": 0.001}, r"pct_3x3 0\.001 splits the 128 channels of fire2 into 128 for its 1x1 and 0 for its 3x3"),
        ({"pct_3x3": 1.0}, r"pct_3x3 1 splits the 128 channels of fire2 into 0 for .*; give a share from 0\.0078"),
        (
            {"bypass": "simple", "freq": 3},
            r"bypass simple adds what fire5 reads .* with freq 3 .* 128 .*; give freq 2 or 4",
        ),
        ({"bypass": "complex", "freq": 1}, r"what fire3 reads .* with freq 1 .*; give freq 2, or bypass complex_all"),
        ({"bypass": "both"}, "option bypass is 'both'; choose one of none, simple, complex, complex_all"),
        ({"version": "1.2"}, r"option version is '1\.2'; choose one of 1\.0, 1\.1"),
        ({"alpha": 0.5}, "model squeezenet has no option 'alpha'"),
    ],
)
def test_impossible_metaparameters_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        build_model("squeezenet", **options)


@pytest.mark.parametrize("options", [{"freq": 3, "incr_e": 0}, {"freq": 8}, {"freq": 6}])
def test_a_bypass_between_equal_widths_builds(options):
    assert counts("squeezenet", bypass="simple", resolution=64, **options)[0] > 0

"""ShuffleNet V2: counts, agreement with a torch implementation, both readings of the unit."""

from __future__ import annotations

import numpy as np
import pytest
from golden_counts import counts
from torch_twin import randomize_norms, run_both

from edgekit.errors import ModelError
from edgekit.zoo import build_model, model_spec

# The authors' code and torchvision; squeeze-excite: pytorchcv, and by hand after its rules.
REFERENCES = [
    ({"alpha": 1.0}, 2278760, 145814296),
    ({"alpha": 1.5}, 3506720, 298970656),
    ({"alpha": 2.0}, 7402600, 590783000),
    ({"alpha": 1.5, "unit": "torchvision"}, 3503624, 295759392),
    ({"alpha": 2.0, "unit": "torchvision"}, 7393996, 583253464),
    ({"alpha": 0.5, "unit": "torchvision", "squeeze_excite": "on"}, 1374812, 40483552),
    ({"alpha": 1.0, "unit": "torchvision", "squeeze_excite": "on"}, 2321184, 144948360),
    ({"alpha": 1.5, "unit": "torchvision", "squeeze_excite": "on"}, 3603436, 295855840),
    ({"alpha": 2.0, "unit": "torchvision", "squeeze_excite": "on"}, 7581168, 583435976),
    ({"depth": "50", "unit": "torchvision"}, 16573534, 2304152672),
]


@pytest.mark.parametrize(("options", "parameters", "macs"), REFERENCES)
def test_counts_equal_the_references(options, parameters, macs):
    assert counts("shufflenet_v2", **options) == (parameters, macs)


def test_counts_of_164_layers_equal_the_authors():
    assert counts("shufflenet_v2_164") == (125120936, 12780652544)


@pytest.mark.parametrize("row", [r for r in model_spec("shufflenet_v2").published if r.macs_millions])
def test_multiply_adds_are_the_printed_ones(row):
    """41, 146, 299 and 591 M; 2.3 G for 50 layers, whose structure is a reading: within 1 %."""
    macs = counts("shufflenet_v2", **row.options)[1] / 1e6
    assert macs == pytest.approx(row.macs_millions, abs=0.6, rel=0.01 if row.hypothesis else 0)


def test_both_units_have_the_same_cost_where_the_width_doubles():
    """At 0.5, where stage 2 has twice the channels of the first convolution."""
    authors, torchvision = (counts("shufflenet_v2", alpha=0.5, unit=unit)[1] for unit in ("megvii", "torchvision"))
    assert authors - torchvision == 0


@pytest.mark.parametrize(
    ("family", "unit", "options", "extra"),
    [
        ("shufflenetv2", "torchvision", {"alpha": 0.5}, {}),
        ("shufflenetv2", "torchvision", {"alpha": 1.0, "squeeze_excite": "on"}, {"use_se": True}),
        ("shufflenetv2b", "megvii", {"alpha": 1.0}, {}),
        ("shufflenetv2b", "megvii", {"alpha": 1.0, "residual": "on"}, {"use_residual": True}),
        ("shufflenetv2b", "megvii", {"alpha": 1.0, "squeeze_excite": "on"}, {"use_se": True}),
    ],
)
def test_outputs_equal_torch_with_the_same_weights(family, unit, options, extra):
    torch = pytest.importorskip("torch")
    models = pytest.importorskip(f"pytorchcv.models.{family}")
    net = getattr(models, f"get_{family}")(width_scale=_scale(options["alpha"]), num_classes=10, **extra)
    net.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    net.features.init_block.pool = torch.nn.MaxPool2d(3, stride=2, padding=1)  # as in torchvision and the paper
    built = build_model("shufflenet_v2", unit=unit, classifier_bias="on", resolution=66, classes=10, **options)
    ours, theirs = run_both(randomize_norms(built), net, "logits")
    assert np.ptp(theirs) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def _scale(alpha):
    """pytorchcv's multiplier of 116, 232 and 464 channels."""
    return 12 / 29 if alpha == 0.5 else alpha


def test_units_that_widen_keep_the_input_on_the_left_or_halve():
    authors, torchvision = (build_model("shufflenet_v2", unit=u, resolution=32) for u in ("megvii", "torchvision"))
    for graph, left, right in ((authors, 24, 92), (torchvision, 58, 58)):
        assert graph.shape("stage2_1/left_pointwise")[3] == left
        assert graph.shape("stage2_1/right_expand")[3] == right


@pytest.mark.parametrize(
    ("options", "biased"),
    [({}, False), ({"unit": "torchvision"}, True), ({"classifier_bias": "on"}, True)],
)
def test_the_classifiers_bias_follows_the_units_code(options, biased):
    graph = build_model("shufflenet_v2", resolution=32, **options)
    assert ("logits/bias" in graph.tensors) == biased


def test_residuals_are_added_where_the_map_keeps_its_size():
    graph = build_model("shufflenet_v2", depth="50", residual="on", resolution=32)
    assert sum(n.op == "add" for n in graph.nodes) == 2 + 3 + 5 + 2
    assert counts("shufflenet_v2", residual="on") == counts("shufflenet_v2")


def test_readings_of_the_paper_are_marked():
    marked = [row.options for row in model_spec("shufflenet_v2").published if row.hypothesis]
    assert all("squeeze_excite" in options or "depth" in options for options in marked)
    assert len(marked) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.7}, r"ShuffleNet V2 has no widths for alpha 0\.7; give 0\.5 or 1"),
        ({"alpha": 3.0}, "ShuffleNet V2 has no widths for alpha 3; give 2"),
        ({"alpha": 0.1}, r"ShuffleNet V2 has no widths for alpha 0\.1; give 0\.5"),
        ({"alpha": 2.0, "depth": "50"}, "the 50-layer ShuffleNet V2 has one width; give alpha 1 instead of 2"),
        ({"depth": "164"}, "option depth is '164'; choose one of standard, 50"),
    ],
)
def test_widths_outside_the_table_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        build_model("shufflenet_v2", **options)

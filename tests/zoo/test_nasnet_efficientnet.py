"""NASNet mobile and EfficientNet: counts, sizes, options. Outputs are compared with Keras's beside its weights."""

from __future__ import annotations

import pytest
from golden_counts import counts

from edgekit.errors import ModelError
from edgekit.zoo import build_model, model_names, model_rows, model_spec

# Keras; Keras, torchvision and pytorchcv alike.
REFERENCES = [
    ("nasnet_mobile", 5289978, 563638816),
    ("efficientnet_b0", 5288548, 385814752),
    ("efficientnet_b1", 7794184, 686802832),
    ("efficientnet_b2", 9109994, 993561872),
    ("efficientnet_b3", 12233232, 1827141392),
    ("efficientnet_b5", 30389784, 10266384752),
    ("efficientnet_b6", 43040704, 19067593536),
    ("efficientnet_b7", 66347960, 37745884192),
]


@pytest.mark.parametrize(("model", "parameters", "macs"), REFERENCES)
def test_counts_equal_the_references(model, parameters, macs):
    assert counts(model) == (parameters, macs)


def test_every_efficientnet_lies_near_its_published_counts():
    """arXiv:1905.11946, table 2, which counts B4 and B5 a little lower."""
    rows = [row for row in model_rows() if row.model.startswith("efficientnet_")]
    assert len(rows) == 8
    for row in rows:
        assert row.parameters / 1e6 == pytest.approx(row.published.parameters_millions, rel=0.03)
        assert row.macs / 1e6 == pytest.approx(row.published.macs_millions, rel=0.05)


def test_each_size_of_efficientnet_has_its_own_resolution():
    sizes = [224, 240, 260, 300, 380, 456, 528, 600]
    names = [name for name in model_names() if name.startswith("efficientnet_")]
    defaults = [next(o.default for o in model_spec(name).options if o.name == "resolution") for name in names]
    assert defaults == sizes
    assert model_spec("efficientnet_b3").summary.startswith("EfficientNet B3: ")


@pytest.mark.parametrize("resolution", [32, 33, 47])
def test_the_smallest_inputs_can_be_had(resolution):
    for model in ("nasnet_mobile", "efficientnet_b0"):
        assert build_model(model, resolution=resolution, classes=3).outputs
    with pytest.raises(ModelError, match="option resolution is 31; give an integer from 32 to 8192"):
        build_model("nasnet_mobile", resolution=31)


def test_cells_put_out_what_the_paper_says():
    """Six sums of 44, 88 and 176 channels: arXiv:1707.07012, 4 @ 1056."""
    graph = build_model("nasnet_mobile", classes=2)
    shapes = [graph.shape(f"normal_concat_{block}")[1:] for block in (3, 8, 12)]
    assert shapes == [(28, 28, 264), (14, 14, 528), (7, 7, 1056)]
    assert graph.shape("reduction_concat_reduce_4")[1:] == (14, 14, 4 * 88)


def test_other_sizes_of_nasnet_can_be_had():
    graph = build_model("nasnet_mobile", repeats=2, filters=192, resolution=64, classes=2)
    assert graph.name == "nasnet_mobile_2@192_64"
    assert graph.shape("normal_concat_6")[-1] == 192


@pytest.mark.parametrize(("filters", "near"), [(1000, "960 or 1056"), (95, "96"), (8190, "8160")])
def test_filters_that_the_cells_cannot_share_out_name_the_nearest(filters, near):
    message = f"^filters {filters} is no multiple of 96, as the cells need; nearest: {near}$"
    with pytest.raises(ModelError, match=message):
        build_model("nasnet_mobile", filters=filters)

"""Names of graphs."""

from __future__ import annotations

import pytest
from test_mobile_exports import VARIANTS

from edgekit.zoo import build_model, model_names, model_spec
from edgekit.zoo.naming import graph_name, if_on

SMALL = [variant for variant in VARIANTS if len(variant) == 2]  # a marked one has three parts


def test_empty_parts_are_left_out_and_numbers_are_short():
    assert graph_name("net", "", 0.5, 224, if_on("off", "x"), if_on("on", "y")) == "net_0.5_224_y"
    assert graph_name("net", 1.0, 8192) == "net_1_8192"


@pytest.mark.parametrize("model", ["squeezenet", "squeezenext", "mobilenet_v3_small", "shufflenet_v1", "shufflenet_v2"])
def test_variants_of_a_model_have_names_of_their_own(model):
    graphs = [build_model(model, resolution=32, classes=2, **options) for name, options in SMALL if name == model]
    default = build_model(model, resolution=64, classes=2)
    assert len({g.name for g in [*graphs, default]}) == len(graphs) + 1


@pytest.mark.parametrize("model", model_names())
def test_published_variants_have_names_of_their_own(model):
    """But for classes, which names leave out: files of two variants lie side by side in one folder."""
    found = {}
    for row in model_spec(model).published:
        graph = build_model(model, **{**row.options, "classes": 2})
        assert found.setdefault(graph.name, graph.metadata["model"]) == graph.metadata["model"]

"""The table of models."""

from __future__ import annotations

import json

import pytest

from edgekit import __version__
from edgekit.errors import ModelError
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.cost import graph_cost
from edgekit.zoo import build_model, counts, model_names, model_rows, model_spec, registry, resolution_from_rho
from edgekit.zoo.options import ALPHA, SEED, Option
from edgekit.zoo.registry import register


@pytest.fixture
def empty_registry(monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", {})


def test_the_zoo_has_both_mobilenets():
    assert {"mobilenet_v1", "mobilenet_v2"} <= set(model_names())
    spec = model_spec("mobilenet_v1")
    assert spec.paper == "arXiv:1704.04861"
    assert spec.summary.startswith("MobileNet V1: depthwise separable convolutions")
    assert [o.name for o in spec.options] == ["alpha", "shallow", "unit", "resolution", "classes", "seed"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilenet_v3", r"no model 'mobilenet_v3'; did you mean .*mobilenet_v2"),
        ("MobileNet-V2", r"did you mean mobilenet_v2"),
        ("mobilnet", r"did you mean mobilenet_v"),
        ("xyz", r"no model 'xyz'; the zoo has .*mobilenet_v1, mobilenet_v2"),
    ],
)
def test_an_unknown_model_names_the_nearest(name, message):
    with pytest.raises(ModelError, match=message):
        build_model(name)


def test_an_unknown_option_names_those_that_there_are():
    with pytest.raises(
        ModelError, match="model mobilenet_v1 has no option 'groups'; it has alpha, shallow, unit, resolution, classes"
    ):
        build_model("mobilenet_v1", groups=3)


def test_options_are_checked_by_name_and_by_builder_alike():
    for build in (lambda **o: build_model("mobilenet_v2", **o), model_spec("mobilenet_v2").build):
        with pytest.raises(ModelError, match="option resolution is 16"):
            build(resolution=16)


def test_metadata_tells_model_options_weights_and_version():
    graph = build_model("mobilenet_v1", alpha=0.25, resolution=64, classes=7, seed=3)
    assert graph.metadata["model"] == {
        "name": "mobilenet_v1",
        "alpha": 0.25,
        "shallow": "off",
        "unit": "separable",
        "resolution": 64,
        "classes": 7,
    }
    assert graph.metadata["weights"] == {"source": "random", "seed": 3}
    assert graph.metadata["steps"] == []
    assert graph.metadata["edgekit"] == __version__
    assert json.loads(json.dumps(graph.metadata)) == graph.metadata


# -- registering -------------------------------------------------------------------------------------------------------


def tiny(*, alpha: float = 1.0, seed: int = 0):
    """Tiny network."""
    b = GraphBuilder("tiny", (1, 4), seed=seed)
    return b.finish(b.dense("input", int(4 * alpha), name="d"))


@pytest.mark.usefixtures("empty_registry")
def test_a_registered_builder_is_built_by_name_with_its_defaults():
    assert register("tiny", paper="none", options=(ALPHA, SEED))(tiny)().shape("d") == (1, 4)
    assert build_model("tiny", alpha=2).shape("d") == (1, 8)
    assert model_spec("tiny").summary == "Tiny network."


@pytest.mark.usefixtures("empty_registry")
def test_a_name_is_registered_once():
    register("tiny", paper="none", options=(ALPHA, SEED))(tiny)
    with pytest.raises(ModelError, match="model 'tiny' is registered already"):
        register("tiny", paper="none", options=(ALPHA, SEED))(tiny)


@pytest.mark.usefixtures("empty_registry")
@pytest.mark.parametrize("options", [(ALPHA,), (Option("alpha", float, 0.5, ""), SEED)])
def test_options_must_be_the_builders_keywords(options):
    with pytest.raises(ModelError, match=r"model 'tiny': the builder's keywords .* are not its options"):
        register("tiny", paper="none", options=options)(tiny)


# -- rho ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rho", "base", "expected"),
    [
        (1.0, 224, 224),
        (0.857, 224, 192),
        (6 / 7, 224, 192),
        (0.714, 224, 160),
        (0.571, 224, 128),
        (0.5, 224, 128),  # 112 is a tie
        (0.49, 224, 96),
        (1.5, 224, 352),  # 336 is a tie
        (2.0, 224, 448),
        (1.0, 227, 224),
        (8.0, 224, 1792),
        (0.15, 224, 32),
    ],
)
def test_resolution_from_rho(rho, base, expected):
    assert resolution_from_rho(rho, base) == expected


@pytest.mark.parametrize("rho", [0, -1, float("nan"), float("inf"), 8.1])
def test_a_rho_that_makes_no_sense_is_refused(rho):
    with pytest.raises(ModelError, match=r"rho is .*; give a number above 0 to 8"):
        resolution_from_rho(rho)


def test_a_rho_that_leaves_no_input_is_refused():
    with pytest.raises(ModelError, match=r"rho 0\.05 makes the input smaller than 32 pixels"):
        resolution_from_rho(0.05)


# -- rows --------------------------------------------------------------------------------------------------------------


def test_the_counts_file_is_what_the_builders_give():
    path = counts.Path(counts.__file__).with_name(counts.COUNTS_FILE)
    assert path.read_text(encoding="utf-8") == counts.counts_text(counts.count_variants())


def test_rows_carry_our_counts_and_the_published_numbers():
    row = next(r for r in model_rows() if r.model == "mobilenet_v2" and r.published.options["alpha"] == 0.75)
    cost = graph_cost(build_model("mobilenet_v2", **row.published.options))
    assert (row.parameters, row.macs) == (cost.parameters, cost.macs)
    assert row.published.top1_percent == 69.8
    assert json.loads(json.dumps(row.to_json()))["published"]["top5_percent"] == 89.6
    assert row.to_json()["options"] == {"alpha": 0.75, "resolution": 224}


def test_every_published_variant_has_a_row():
    assert len(model_rows()) == sum(len(model_spec(name).published) for name in model_names())


def test_the_mobilenets_lie_near_their_published_counts():
    for row in model_rows():
        if row.model in ("mobilenet_v1", "mobilenet_v2"):
            assert row.macs / 1e6 == pytest.approx(row.published.macs_millions, rel=3e-4, abs=1)


def test_a_variant_without_counts_is_named(monkeypatch):
    monkeypatch.setattr("edgekit.zoo.rows.variant_key", lambda model, options: f"{model} ?")
    with pytest.raises(ModelError, match=r"counts\.json lacks '\w+ \?'; run python -m edgekit\.zoo\.counts"):
        model_rows()

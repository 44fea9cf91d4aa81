"""The zoo models' own options on the command line."""

from __future__ import annotations

import json

import pytest
from command_line import refused, run

from edgekit.graph.cost import graph_cost
from edgekit.zoo import build_model


def test_a_models_options_reach_its_builder() -> None:
    done = run("info", "shufflenet_v1", "--groups", "8", "--alpha", "0.5", "--json")
    expected = graph_cost(build_model("shufflenet_v1", groups=8, alpha=0.5))
    assert (done.code, json.loads(done.out)["parameters"]) == (0, expected.parameters)


def test_options_may_stand_before_the_model() -> None:
    after, before = run("info", "squeezenet", "--bypass", "complex"), run("info", "--bypass", "complex", "squeezenet")
    assert (after.code, after.out) == (before.code, before.out) == (0, after.out)


@pytest.mark.parametrize("command", ["info", "export"])
def test_help_lists_the_models_options(command: str) -> None:
    assert "--groups" in run(command, "shufflenet_v1", "--help").out
    assert "--groups" not in run(command, "mobilenet_v2", "--help").out


def test_a_value_that_the_model_cannot_have_is_one_line() -> None:
    assert refused(run("info", "shufflenet_v1", "--groups", "5"), "5 groups")
    assert refused(run("info", "shufflenet_v1", "--groups", "many"), "--groups 'many' is not an integer")
    assert refused(run("info", "squeezenet", "--bypass", "both"), "bypass", "simple")


def test_another_models_option_is_a_usage_error() -> None:
    done = run("info", "mobilenet_v2", "--groups", "3")
    assert (done.code, done.out) == (2, "")
    assert "No such option" in done.err

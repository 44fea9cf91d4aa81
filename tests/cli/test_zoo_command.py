"""The zoo models' own options on the command line."""

from __future__ import annotations

import importlib
import json

import pytest
from command_line import refused, run

from edgekit.cli.zoo_command import SHARED, flag
from edgekit.graph.cost import graph_cost
from edgekit.zoo import build_model, model_names, model_spec


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


@pytest.mark.parametrize("command", ["info", "export"])
@pytest.mark.parametrize("model", model_names())
def test_every_option_of_a_model_can_be_given(command: str, model: str) -> None:
    """None is hidden by an option of the command's own, and each is listed once, with the model's default."""
    module = importlib.import_module(f"edgekit.cli.{command}_command")
    own = {word for param in module.command.params for word in param.opts}
    listed = " ".join(run(command, model, "--help").out.split())
    for option in model_spec(model).options:
        if option.name in SHARED:
            assert flag(option.name) in own
        else:
            assert flag(option.name) not in own
        assert listed.count(f" {flag(option.name)} ") == 1
        if option.name != "seed":
            text = f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
            assert f"(default {text})" in listed
    for name in set(SHARED) - {option.name for option in model_spec(model).options}:
        assert f" {flag(name)} " not in listed


def test_defaults_in_the_help_are_the_models() -> None:
    squeezenet = " ".join(run("info", "squeezenet", "--help").out.split())
    assert "Height and width of the input in pixels (default 227)" in squeezenet
    assert "the multiple of 32 nearest to 227 RHO" in squeezenet
    assert "--alpha" not in squeezenet
    assert "--input-shape" not in squeezenet
    cifar = " ".join(run("info", "igcv2_cifar", "--help").out.split())
    assert "(default 32)" in cifar
    assert "Outputs of the classifier (default 10)" in cifar
    assert "--variant [igcv2|igcv2*]" in cifar
    unnamed = " ".join(run("info", "--help").out.split())
    assert "--alpha" in unnamed
    assert "--input-shape" in unnamed


def test_rho_is_of_the_models_own_resolution() -> None:
    for model, rho, size in (("squeezenet", "1", 224), ("igcv1_cifar", "2", 64), ("mobilenet_v1", "0.714", 160)):
        assert json.loads(run("info", model, "--rho", rho, "--json").out)["input"][1] == size
    assert refused(run("info", "model.onnx", "--rho", "0.5"), "--rho shapes zoo models")


def test_layers_of_a_block_are_not_the_layers_of_the_table() -> None:
    done = run("info", "igcv2_cifar", "--variant", "igcv2", "--block-layers", "2", "--layers", "--json")
    assert json.loads(done.out)["parameters"] == 550090
    assert json.loads(done.out)["nodes"]

"""`edgekit models`: every variant, ours beside what is printed, hypotheses marked, by words."""

from __future__ import annotations

import json
import sys

import pytest
from command_line import refused, run
from test_console import in_terminal

from edgekit.zoo import model_names, model_rows


def test_every_variant_has_a_line_with_its_counts() -> None:
    lines = run("models").out.splitlines()
    for row in model_rows():
        counts = {f"{row.parameters:,}", f"{row.macs / 1e6:,.1f}"}
        assert any(counts <= set(line.split()) for line in lines), row
    assert [line.partition(":")[0] for line in lines if line.partition(":")[0] in model_names()] == list(model_names())


def test_what_is_printed_stands_beside_ours_and_hypotheses_are_marked() -> None:
    lines = run("models", "shufflenet_v1").out.splitlines()
    row = next(line for line in lines if line.startswith("--alpha=2 --groups=8 "))
    assert row.split()[2:] == ["6,521,232", "6.5", "521.9", "522", "72.9", "90.8", "a"]
    assert "a: megvii-model/ShuffleNet-Series, ShuffleNetV1" in lines
    assert next(line for line in lines if "shallow" in line).split()[-2:] == ["b", "H"]
    assert any(line.startswith("H: a hypothesis") for line in lines)
    assert not any(line.startswith("H:") for line in run("models", "mobilenet_v2").out.splitlines())


@pytest.mark.parametrize(
    ("words", "models"),
    [
        (["shufflenet"], {"shufflenet_v1", "shufflenet_v2", "shufflenet_v2_164"}),
        (["MobileNet-V3"], {"mobilenet_v3_small", "mobilenet_v3_large"}),
        (["igcv3", "condensenet_c"], {"igcv3", "condensenet_cifar"}),
        (["1602.07360"], {"squeezenet"}),
    ],
)
def test_words_choose_models(words: list[str], models: set[str]) -> None:
    assert {row["model"] for row in json.loads(run("models", *words, "--json").out)} == models


def test_a_word_that_no_model_holds_is_one_line() -> None:
    assert refused(run("models", "transformer"), "no model is called like transformer", "`edgekit models` lists all")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_tables_fit_80_columns() -> None:
    lines = in_terminal(["models", "igcv1"], 80)
    tables = [line for line in lines if not line.startswith(("igcv1", "H:", "parameters and", "a:", "b:"))]
    assert max(map(len, tables)) <= 80
    assert any({"13,528,296", "2,266.0"} <= set(line.split()) for line in lines)
    assert not any(line.split() == ["8"] for line in lines)  # an option and its value stay together


def test_listing_builds_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are data: with builders that fail, the list is the same."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a network was built")

    before = run("models").out
    monkeypatch.setattr("edgekit.graph.builder.GraphBuilder.__init__", fail)
    assert run("models").out == before

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.train.layer_names import layer_name, node_name

SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
"""What TensorFlow takes for the name of a scope; Keras forbids the slash besides."""


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        ("conv1", "conv1"),
        ("stage2/unit1/conv", "stage2.unit1.conv"),
        ("a.b", "a.>2e>b"),
        ("_head", ".>5f>head"),
        ("über:0", ".>fc>ber.>3a>0"),
    ],
)
def test_names_of_layers(node, layer):
    assert layer_name(node) == layer
    assert node_name(layer) == node


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_every_name_is_legal_and_comes_back(name):
    found = layer_name(name)
    assert SCOPE.fullmatch(found)
    assert "/" not in found
    assert node_name(found) == name


@given(st.text("a./>2e_-", min_size=1), st.text("a./>2e_-", min_size=1))
def test_different_names_stay_different(one, other):
    assert (layer_name(one) == layer_name(other)) == (one == other)

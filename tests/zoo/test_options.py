"""Options: what a model can be asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.errors import ModelError
from edgekit.zoo.options import ALPHA, CLASSES, RESOLUTION, SEED, Option

KIND = Option("kind", str, "plain", "which form", choices=("plain", "shallow"))


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        (ALPHA, 0.5, 0.5),
        (ALPHA, 1, 1.0),
        (ALPHA, np.float32(0.25), 0.25),
        (ALPHA, 8.0, 8.0),
        (RESOLUTION, 32, 32),
        (RESOLUTION, np.int64(100), 100),
        (CLASSES, 1, 1),
        (SEED, 0, 0),
        (KIND, "shallow", "shallow"),
    ],
)
def test_good_values_become_plain_ones(option, value, expected):
    found = option.check(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (ALPHA, 0, "option alpha is 0; give a number above 0 to 8"),
        (ALPHA, -0.5, "option alpha is -0.5; give a number above 0 to 8"),
        (ALPHA, 8.5, "option alpha is 8.5"),
        (ALPHA, math.nan, "option alpha is nan"),
        (ALPHA, math.inf, "option alpha is inf"),
        (ALPHA, "1.0", "option alpha is '1.0'; give a number"),
        (ALPHA, True, "option alpha is True; give a number"),
        (ALPHA, None, "option alpha is None; give a number"),
        (RESOLUTION, 31, "option resolution is 31; give an integer from 32 to 8192"),
        (RESOLUTION, 10**9, "option resolution is 1000000000; give an integer from 32 to 8192"),
        (RESOLUTION, 224.0, "option resolution is 224.0; give an integer"),
        (RESOLUTION, 224.5, "option resolution is 224.5; give an integer"),
        (RESOLUTION, True, "option resolution is True; give an integer"),
        (CLASSES, 0, "option classes is 0; give an integer from 1 to 100000"),
        (SEED, -1, "option seed is -1; give an integer from 0 to"),
        (KIND, "deep", "option kind is 'deep'; choose one of plain, shallow"),
        (KIND, 3, "option kind is 3; choose one of plain, shallow"),
    ],
)
def test_bad_values_are_refused_with_what_is_wanted(option, value, message):
    with pytest.raises(ModelError, match=message):
        option.check(value)

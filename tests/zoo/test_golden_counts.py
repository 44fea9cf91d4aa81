"""Every variant of the mission's families that a reference counts: equal to the unit, or left out for a reason."""

from __future__ import annotations

import pytest
from golden_counts import authors_operations, counts, golden_rows

from edgekit.zoo import build_model

OWN_COUNTING = [row for row in golden_rows() if row.get("counting") == "authors"]
PLAIN = [row for row in golden_rows() if "counting" not in row]


def variant(row: dict[str, object]) -> str:
    return f"{row['variant']} ({row['source']})"


@pytest.mark.parametrize("row", PLAIN, ids=variant)
def test_counts_equal_the_references(row):
    resolution = {} if "resolution" in row["options"] or row["input"] == 32 else {"resolution": row["input"]}
    classes = {} if "classes" in row["options"] else {"classes": row["classes"]}
    assert counts(row["model"], **row["options"], **resolution, **classes) == (row["parameters"], row["macs"])


@pytest.mark.parametrize("row", OWN_COUNTING, ids=variant)
def test_counts_by_the_rules_of_condensenets_authors(row):
    """What their README prints. Average pools read every element once here: window and stride are equal."""
    graph = build_model(row["model"], **row["options"])
    assert (counts(row["model"], **row["options"])[0], authors_operations(graph)) == (row["parameters"], row["macs"])


def test_what_is_left_out_has_a_reason_and_is_no_row_of_ours():
    ours = {counts(row["model"], **row["options"]) for row in PLAIN}
    left_out = golden_rows("left_out")
    assert all(len(row["reason"]) > 20 for row in left_out)
    assert not ours & {(row["parameters"], row["macs"]) for row in left_out}
    assert len(left_out) < 0.1 * len(golden_rows())

"""`edgekit info --layers`: the table, its totals, and the guidelines beside and below it."""

from __future__ import annotations

import json

import pytest
from command_line import run

from edgekit.cli.layer_table import broken_name
from edgekit.graph.cost import graph_cost
from edgekit.graph.guidelines import check_guidelines
from edgekit.zoo import build_model

ARGS = ("info", "shufflenet_v1", "--groups", "8", "--alpha", "0.5")


def test_rows_tell_op_shapes_and_remarks_and_add_up() -> None:
    printed = run(*ARGS, "--layers").out
    rows = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert "conv2d 3x3/2 dw" in rows["stage2_1/depthwise"]
    assert "28x28x192   28x28x48 " in rows["stage2_2/compress"]
    assert "G1 48 to 192 channels, +25% traffic; G2 8 groups, +229% traffic" in rows["stage2_2/expand"]
    cost = graph_cost(build_model("shufflenet_v1", groups=8, alpha=0.5))
    assert rows["total"].split() == [
        "total",
        f"{cost.parameters:,}",
        f"{cost.macs / 1e6:.2f}",
        f"{cost.memory_access_bytes / 1e3:,.1f}",
    ]


def test_the_summary_counts_layers_and_names_the_worst() -> None:
    report = check_guidelines(build_model("shufflenet_v1", groups=8, alpha=0.5))
    lines = run(*ARGS, "--layers").out.splitlines()
    for name, count in report.counts.items():
        line = next(line for line in lines if line.startswith(f"{name} "))
        worst = report.worst(name)
        assert worst is not None
        assert f" {count}  " in line
        assert f"most: {worst.layer}, {worst.text}" in line
    assert any(f"{report.elementwise_share:.0%} of all traffic (depthwise" in line for line in lines)


def test_json_carries_the_remarks_with_the_layers_only() -> None:
    plain, full = (json.loads(run(*ARGS, *more, "--json").out) for more in ((), ("--layers",)))
    assert full["guidelines"] == check_guidelines(build_model("shufflenet_v1", groups=8, alpha=0.5)).to_json()
    assert full["nodes"][0]["form"] == "3x3/2"
    assert full["nodes"][0]["input_shape"] == [1, 224, 224, 3]
    assert not {"nodes", "guidelines"} & plain.keys()


@pytest.mark.parametrize(
    ("name", "limit", "lines"),
    [
        ("stage2_1/compress_bn", 12, "stage2_1/\ncompress_bn"),
        ("stage2_1/compress_bn", 40, "stage2_1/compress_bn"),
        ("convolution", 8, "convolut\nion"),
        ("a_b_c", 4, "a_b_\nc"),
    ],
)
def test_long_names_break_behind_their_parts(name: str, limit: int, lines: str) -> None:
    assert broken_name(name, limit) == lines

"""The table per layer of `edgekit info --layers`, and what ShuffleNet V2's guidelines say to it."""

from __future__ import annotations

from edgekit.cli.console import out, print_table
from edgekit.graph.cost import GraphCost
from edgekit.graph.guidelines import GUIDELINES, GuidelineReport

WIDE = 130
"""Columns from which a terminal shows input shapes and remarks in words; in a narrower one names would wrap."""

SHORTEST_NAME = 8


def print_layers(cost: GraphCost, report: GuidelineReport) -> None:
    """One row a layer, totals, and a summary of the guidelines."""
    wide = out.width >= WIDE
    remarks: dict[str, list[str]] = {}
    for remark in report.remarks:
        remarks.setdefault(remark.layer, []).append(f"{remark.guideline} {remark.text}" if wide else remark.guideline)
    limit = out.width if wide else _name_limit(cost, out.width)
    rows = [
        (
            broken_name(row.name, limit),
            f"{row.op} {row.form}".rstrip(),
            *((_shape(row.input_shape),) if wide else ()),
            _shape(row.output_shape),
            _count(row.parameters),
            _millions(row.macs),
            _kilobytes(row.memory_access_bytes),
            ("; " if wide else " ").join(remarks.get(row.name, ())),
        )
        for row in cost.nodes
    ]
    totals = (_count(cost.parameters), _millions(cost.macs), _kilobytes(cost.memory_access_bytes), "")
    rows.append(("total", *("",) * (3 if wide else 2), *totals))
    shapes = ("input", "output") if wide else ("output",)
    print_table(
        ["layer", "op", *shapes, "parameters", "M MACs", "kB moved", "remarks"],
        rows,
        text=("op", *shapes, "remarks"),
    )
    out.print()
    _print_summary(report)


def broken_name(name: str, limit: int) -> str:
    """The name in lines of at most `limit` characters, each but the last ending in `/` or `_` where there is one."""
    lines = []
    while len(name) > limit:
        end = max(name.rfind("/", 0, limit), name.rfind("_", 0, limit)) + 1 or limit
        lines.append(name[:end])
        name = name[end:]
    return "\n".join([*lines, name])


def _name_limit(cost: GraphCost, width: int) -> int:
    """What the other columns leave for the first one, if the op's words are wrapped where need be."""
    op = max(max(len(row.op), len(row.form)) for row in cost.nodes)
    output = max(len(_shape(row.output_shape)) for row in cost.nodes)
    numbers = (f"{cost.parameters:,}", f"{cost.macs / 1e6:,.2f}", _kilobytes(cost.memory_access_bytes))
    taken = op + output + sum(len(number) for number in numbers) + len("remarks") + 2 * 7
    return max(width - taken, SHORTEST_NAME)


def _print_summary(report: GuidelineReport) -> None:
    shares = ", ".join(f"{kind} {share:.0%}" for kind, share in report.elementwise_shares.items() if share >= 0.005)
    share = f"{report.elementwise_share:.0%} of all traffic{f' ({shares})' if shares else ''}"
    rows = []
    for name, title in GUIDELINES.items():
        worst = report.worst(name)
        most = f"most: {worst.layer}, {worst.text}" if worst else ""
        what = "; ".join(part for part in (share if name == "G4" else "", most) if part)
        rows.append((f"{name} {title}", str(report.counts[name]), what))
    rows.append(("traffic", "", "float32, without the batch norms and ReLUs that an exported file has inside a layer"))
    print_table(["guideline (arXiv:1807.11164)", "layers", "what"], rows, text=("what",))


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(d) for d in shape[1:])


def _count(number: int) -> str:
    return f"{number:,}" if number else "-"


def _millions(number: int) -> str:
    return f"{number / 1e6:,.2f}" if number else "-"


def _kilobytes(size: int) -> str:
    return f"{size / 1e3:,.1f}"

"""`edgekit info`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgekit.cli.options import json_option, model_options, zoo_options
from edgekit.cli.zoo_command import ZooCommand

if TYPE_CHECKING:
    from edgekit.graph.cost import GraphCost
    from edgekit.graph.ir import Graph


@click.command(name="info", cls=ZooCommand)
@model_options
@click.option("--layers", is_flag=True, help="One row a layer.")
@json_option
def command(
    model: str,
    alpha: float | None,
    resolution: int | None,
    rho: float | None,
    classes: int | None,
    seed: int,
    input_shape: tuple[int, ...] | None,
    layers: bool,
    family: dict[str, int | float | str],
    as_json: bool,
) -> None:
    """Show parameters, MACs, bytes, memory access and peak memory of MODEL (a zoo name or an .onnx file)."""
    from dataclasses import asdict

    from edgekit.cli.console import print_json
    from edgekit.graph.cost import graph_cost
    from edgekit.pipeline.model import ModelRequest, load_model
    from edgekit.pipeline.reporter import SilentReporter

    shape = {**zoo_options(alpha, resolution, rho, classes), **family}
    # Counts depend neither on the weights, so that none are fetched, nor on how images are normalized.
    graph = load_model(ModelRequest(model, shape, "none", seed, input_shape=input_shape), SilentReporter())
    cost = graph_cost(graph)
    if as_json:
        document = {"name": graph.name, "input": list(graph.shape(graph.inputs[0])), **asdict(cost)}
        print_json(document if layers else {k: v for k, v in document.items() if k != "nodes"})
        return
    _print_totals(graph, cost)
    if layers:
        _print_layers(cost)


def _print_totals(graph: Graph, cost: GraphCost) -> None:
    from edgekit.cli.console import print_table, size_text

    int8 = sum(t.size for t in graph.constants())
    rows = [
        ("input", "x".join(str(d) for d in graph.shape(graph.inputs[0]))),
        ("layers", str(len(graph.nodes))),
        ("parameters", f"{cost.parameters:,}"),
        ("MACs", f"{cost.macs / 1e6:,.2f} M"),
        ("weights, float32", size_text(cost.weight_bytes)),
        ("weights, int8", f"about {size_text(int8)}"),
        ("memory access, float32", size_text(cost.memory_access_bytes)),
        ("peak activations, float32", size_text(cost.peak_activation_bytes)),
    ]
    print_table([graph.name, ""], rows)


def _print_layers(cost: GraphCost) -> None:
    from edgekit.cli.console import out, print_table, size_text

    out.print()
    rows = [
        (
            row.name,
            row.op,
            "x".join(str(d) for d in row.output_shape[1:]),
            f"{row.parameters:,}",
            f"{row.macs / 1e6:,.2f}",
            size_text(row.memory_access_bytes),
        )
        for row in cost.nodes
    ]
    print_table(["layer", "op", "output", "parameters", "M MACs", "memory access"], rows, text=("op", "output"))

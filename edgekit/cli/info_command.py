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
@click.option("--layers", is_flag=True, help="One row a layer, with ShuffleNet V2's guidelines as remarks.")
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
    """Show parameters, MACs, bytes, memory access and peak memory of MODEL.

    MODEL is a name of the zoo or a file: .onnx, .keras, .h5 or a float .tflite.
    """
    from dataclasses import asdict

    from edgekit.cli.console import out, print_json
    from edgekit.graph.cost import graph_cost
    from edgekit.graph.guidelines import check_guidelines
    from edgekit.pipeline.model import ModelRequest, load_model
    from edgekit.pipeline.reporter import SilentReporter

    shape = {**zoo_options(model, alpha, resolution, rho, classes), **family}
    # Counts depend neither on the weights, so that none are fetched, nor on how images are normalized.
    graph = load_model(ModelRequest(model, shape, "none", seed, input_shape=input_shape), SilentReporter())
    cost, report = graph_cost(graph), check_guidelines(graph) if layers else None
    if as_json:
        document = {"name": graph.name, "input": list(graph.shape(graph.inputs[0])), **asdict(cost)}
        if report is None:
            del document["nodes"]
        else:
            document["guidelines"] = report.to_json()
        print_json(document)
        return
    _print_totals(graph, cost)
    if report is not None:
        from edgekit.cli.layer_table import print_layers

        out.print()
        print_layers(cost, report)


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

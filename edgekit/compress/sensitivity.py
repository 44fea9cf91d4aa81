"""How much the network's outputs move for an error in one layer's outputs, measured by making such errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.compress.drift import Outputs, drift
from edgekit.compress.layer_problem import LayerProblem, float_outputs, layer_problem
from edgekit.compress.layer_rows import from_maps, weight_layers
from edgekit.compress.walk import Engine, State, subgraph, walk
from edgekit.graph.compensation import FloatArray, IntArray, input_costs, output_error, sweep
from edgekit.graph.ir import Array, Graph, Node

PROBE = 0.01
"""Error that a layer is given to measure its sensitivity, as a share of its outputs' variance."""
PROBE_IMAGES = 32
"""On how many of the images sensitivities are measured."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The float network on the calibration images.

    outputs: of each layer by name, from `float_outputs`; heads: what the network gives, by image; sensitivities:
    drift of the heads by unit of mean square output error, by layer.
    """

    outputs: dict[str, Array]
    heads: Outputs
    sensitivities: dict[str, float]


def measure_reference(
    graph: Graph, images: Sequence[Array], engine: Engine, heads: Sequence[str], positions: int
) -> Reference:
    """Run the float network, and for each layer, with an error made there, all that follows it."""
    outputs: dict[str, Array] = {}
    changed: dict[str, tuple[float, Outputs]] = {}
    probed = [int(i) for i in np.linspace(0, len(images) - 1, min(PROBE_IMAGES, len(images))).round()]

    def visit(node: Node, state: State) -> None:
        values = state[node.inputs[0]]
        outputs[node.name] = float_outputs(graph, node, values, positions)
        problem = layer_problem(graph, node, values, outputs[node.name], positions)
        altered, error = _with_error(graph, node, problem)
        part = subgraph(altered, state, heads)
        run = engine(part)
        results = [run({name: state[name][i] for name in part.inputs}) for i in probed]
        changed[node.name] = error, [tuple(result[name] for name in heads) for result in results]

    found = walk(graph, images, engine, weight_layers(graph), visit, heads)
    few = [found[i] for i in probed]
    sensitivities = {
        name: drift(few, heads_there) / error if error > 0 else 0.0 for name, (error, heads_there) in changed.items()
    }
    return Reference(outputs, found, sensitivities)


def _with_error(graph: Graph, node: Node, problem: LayerProblem) -> tuple[Graph, float]:
    """A copy of the graph whose layer has been rounded coarsely with compensation, and the error of its outputs."""
    costs = input_costs(problem.gram)
    power = output_error(problem.weights, problem.gram)
    step = np.sqrt(12 * PROBE * power / (problem.weights.shape[2] * costs.sum())) or 1.0

    def choose(inputs: IntArray, weights: FloatArray, costs: FloatArray) -> FloatArray:
        return np.rint(weights / step) * step

    chosen = sweep(problem.weights, problem.gram, choose)
    altered = graph.copy()
    set_weights(altered, node, chosen, problem.bias_for(chosen))
    return altered, output_error(problem.weights - chosen, problem.gram)


def set_weights(graph: Graph, node: Node, maps: FloatArray, bias: Array | None) -> None:
    """Give a layer other weights (groups, K, N), and another bias (out,) where it has one."""
    kernel = graph.tensor(node.inputs[1])
    graph.set_tensor(kernel.with_data(from_maps(maps, kernel.shape).astype(np.float32)))
    if bias is not None:
        graph.set_tensor(graph.tensor(node.inputs[2]).with_data(bias.astype(np.float32)))

"""ShuffleNet V2's four guidelines, checked on a graph: where memory traffic or fragments cost more than MACs tell.

Traffic is what the paper calls memory-access cost: the elements of activations and weights that a layer reads and
writes, each once. Batch norms and ReLUs that run inside the layer before them in an exported file are no layers here
and move nothing (`absorbed_nodes`). Source: arXiv:1807.11164, section 2.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.graph.cost import node_cost
from edgekit.graph.fragments import Fragments
from edgekit.graph.ir import Graph, Node

GUIDELINES: Mapping[str, str] = {
    "G1": "unequal channel widths",
    "G2": "many groups",
    "G3": "fragments in parallel",
    "G4": "element-wise operations",
}

WIDTH_EXCESS = 0.1
"""G1: traffic above that of equal widths, from which a 1x1 convolution is remarked on. Of the ratios in the paper's
table 1, on large maps 1:2 moves 6 % more, which hardly shows, 1:6 moves 43 % and 1:12 88 % more."""

GROUP_EXCESS = 0.5
"""G2: traffic above that of a dense convolution with as many MACs, from which groups are remarked on. Of the numbers in
the paper's table 2, on large maps of equal widths 2 groups move 33 % more, 4 groups 60 % and 8 groups 78 %."""

BRANCHES = 2
"""G3: branches with a convolution or pool of their own, from which a join is remarked on: the fewest that are parallel,
and the fewest in the paper's table 3."""

ELEMENTWISE_SHARE = 0.02
"""G4: share of the network's traffic from which one element-wise layer is remarked on. A network has 50 to 100 layers,
so this is one that moves at least its part, although it computes next to nothing."""

NORMS_AND_ACTIVATIONS = frozenset({"batch_norm", "relu", "relu6", "hard_swish", "swish", "sigmoid", "hard_sigmoid"})
SUMS_AND_PRODUCTS = frozenset({"add", "mul"})
_WITH_KERNEL = frozenset({"conv2d", "dense"})


@dataclass(frozen=True, slots=True)
class Remark:
    """A layer that breaks a guideline. excess: by how much, in the guideline's own measure; text: that in words."""

    layer: str
    guideline: str
    excess: float
    text: str


@dataclass(frozen=True, slots=True)
class GuidelineReport:
    """Remarks in the order of the layers; shares of the network's traffic by kind of element-wise layer."""

    remarks: tuple[Remark, ...]
    elementwise_shares: Mapping[str, float]

    @property
    def counts(self) -> dict[str, int]:
        """Layers that break each guideline."""
        found = Counter(remark.guideline for remark in self.remarks)
        return {name: found[name] for name in GUIDELINES}

    @property
    def elementwise_share(self) -> float:
        """Share of the network's traffic that element-wise layers move (G4)."""
        return sum(self.elementwise_shares.values())

    def worst(self, guideline: str) -> Remark | None:
        """The layer that breaks it most; None where none does."""
        return max((r for r in self.remarks if r.guideline == guideline), key=lambda r: r.excess, default=None)

    def to_json(self) -> dict[str, object]:
        """The report as JSON can hold it."""
        return {
            "counts": self.counts,
            "elementwise_share": self.elementwise_share,
            "elementwise_shares": dict(self.elementwise_shares),
            "remarks": [{"layer": r.layer, "guideline": r.guideline, "text": r.text} for r in self.remarks],
        }


def check_guidelines(graph: Graph) -> GuidelineReport:
    """Check every layer of a float graph."""
    absorbed, fragments = absorbed_nodes(graph), Fragments(graph)
    layers = [node for node in graph.nodes if node.name not in absorbed]
    traffic = {node.name: node_cost(graph, node).memory_access_bytes for node in layers}
    total = max(sum(traffic.values()), 1)
    shares = dict.fromkeys(("depthwise", "sums and products", "norms and activations"), 0.0)
    remarks: list[Remark] = []
    for node in layers:
        kind = elementwise_kind(graph, node)
        share = traffic[node.name] / total
        if kind is not None:
            shares[kind] += share
        found = (
            unequal_widths(graph, node),
            many_groups(graph, node),
            parallel_branches(node, fragments),
            None if kind is None else heavy_elementwise(node, share),
        )
        remarks.extend(remark for remark in found if remark is not None)
    return GuidelineReport(tuple(remarks), shares)


def unequal_widths(graph: Graph, node: Node) -> Remark | None:
    """G1, equal channel widths minimize traffic: of a 1x1 convolution, against equal widths with as many MACs.

    With c1 and c2 channels, h w positions of the output and g groups, the traffic is h w (c1 + c2) + c1 c2 / g, and
    least where both are sqrt(c1 c2) (equation 2).
    """
    if not _is_convolution(graph, node) or _kernel(graph, node)[:2] != (1, 1):
        return None
    inputs, outputs, positions = _sizes(graph, node)
    weights = inputs * outputs / node.attrs["groups"]
    least = 2 * positions * math.sqrt(inputs * outputs) + weights
    excess = (positions * (inputs + outputs) + weights) / least - 1
    text = f"{inputs} to {outputs} channels, {excess:+.0%} traffic"
    return Remark(node.name, "G1", excess, text) if excess >= WIDTH_EXCESS else None


def many_groups(graph: Graph, node: Node) -> Remark | None:
    """G2, groups increase traffic: of a grouped convolution, against a dense one with the same input and MACs.

    That one has c2 / g outputs: h w (c1 + c2) + w against h w (c1 + c2 / g) + w elements, w being the weights
    (equation 3). Depthwise convolutions fall under G4.
    """
    if not _is_convolution(graph, node) or node.attrs["groups"] == 1:
        return None
    groups = node.attrs["groups"]
    inputs, outputs, positions = _sizes(graph, node)
    weights = math.prod(_kernel(graph, node))
    excess = (positions * (inputs + outputs) + weights) / (positions * (inputs + outputs / groups) + weights) - 1
    text = f"{groups} groups, {excess:+.0%} traffic"
    return Remark(node.name, "G2", excess, text) if excess >= GROUP_EXCESS else None


def parallel_branches(node: Node, fragments: Fragments) -> Remark | None:
    """G3, fragmentation reduces parallelism: branches with convolutions or pools of their own that `node` joins."""
    branches, count = fragments.joined_by(node)
    text = f"{branches} branches of {count} convolutions or pools"
    return Remark(node.name, "G3", count, text) if branches >= BRANCHES else None


def heavy_elementwise(node: Node, share: float) -> Remark | None:
    """G4, element-wise operations are not negligible: an element-wise layer's share of the network's traffic."""
    return Remark(node.name, "G4", share, f"{share:.1%} of all traffic") if share >= ELEMENTWISE_SHARE else None


def elementwise_kind(graph: Graph, node: Node) -> str | None:
    """What kind of element-wise layer `node` is, or None. Depthwise convolutions count as such, as in the paper."""
    if node.op in SUMS_AND_PRODUCTS:
        return "sums and products"
    if node.op in NORMS_AND_ACTIVATIONS:
        return "norms and activations"
    return "depthwise" if _is_depthwise(graph, node) else None


def absorbed_nodes(graph: Graph) -> frozenset[str]:
    """Batch norms and ReLUs that are part of the layer before them in an exported file, and dropout.

    A batch norm is, behind a convolution or dense layer that nobody else reads; a ReLU also behind a sum or product.
    """
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    readers.update(graph.outputs)
    absorbed, made_by = set[str](), dict[str, str]()
    for node in graph.nodes:
        host = made_by.get(node.inputs[0], "") if readers[node.inputs[0]] == 1 else ""
        if node.op == "batch_norm" and host in _WITH_KERNEL:
            absorbed.add(node.name)
            made_by[node.output] = host
        elif node.op in ("relu", "relu6") and host in _WITH_KERNEL | SUMS_AND_PRODUCTS:
            absorbed.add(node.name)
            made_by[node.output] = node.op  # nothing else folds in behind an activation
        elif node.op in ("dropout", "identity"):
            absorbed.add(node.name)
        else:
            made_by.update((name, node.op) for name in node.outputs)
    return frozenset(absorbed)


def _is_convolution(graph: Graph, node: Node) -> bool:
    """Whether `node` is a convolution that mixes channels."""
    return node.op == "conv2d" and not _is_depthwise(graph, node)


def _is_depthwise(graph: Graph, node: Node) -> bool:
    return node.op == "conv2d" and node.attrs["groups"] > 1 and _kernel(graph, node)[2] == 1


def _kernel(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.shape(node.inputs[1])


def _sizes(graph: Graph, node: Node) -> tuple[int, int, int]:
    """Input channels, output channels, positions of the output."""
    out = graph.shape(node.output)
    return graph.shape(node.inputs[0])[3], out[3], out[1] * out[2]

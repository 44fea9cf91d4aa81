"""The graph: the one language that importers, passes, the quantizer and the writers share."""

from __future__ import annotations

from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph, Node, Tensor
from edgekit.graph.quant_params import QuantParams
from edgekit.graph.validate import validate

__all__ = ["Graph", "GraphBuilder", "Node", "QuantParams", "Tensor", "validate"]

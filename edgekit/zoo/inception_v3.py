"""Inception v3 as Keras builds it: layer names, padding and epsilon included, so that its weights fit.

Structure: arXiv:1512.00567, table 1 and figures 5 to 7 and 10, without the auxiliary classifier, which only training
uses. Keras's batch norms have no gamma; here it is 1, and counted. PyTorch's port counts the zeros around its average
pools, so that its weights do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from edgekit.data.preprocess import KERAS_TF
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.heads import finish_keras
from edgekit.zoo.inception_published import V3_PUBLISHED
from edgekit.zoo.naming import AutoNames
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED
from edgekit.zoo.registry import register

EPSILON = 1e-3
SPREAD = 4.0
"""Of the random logits: the average pools in every module even the features out."""

LEAST_RESOLUTION = 75
"""Smaller inputs leave the windows of the last stage nothing."""


class Conv(NamedTuple):
    """Convolution, batch norm, ReLU. padding: same, or valid."""

    filters: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    padding: str = "same"


class Pool(NamedTuple):
    """A 3x3 pool: avg_pool at stride 1 with padding, max_pool at stride 2 without."""

    kind: str


class Fork(NamedTuple):
    """Convolutions side by side that read the same tensor; their outputs are joined."""

    name: str
    arms: tuple[Conv, ...]


Layer = Conv | Pool | Fork
Branch = tuple[Layer, ...]
AVERAGE, MAXIMUM = Pool("avg_pool"), Pool("max_pool")

STEM: Branch = (
    Conv(32, 3, 2, "valid"),
    Conv(32, 3, padding="valid"),
    Conv(64, 3),
    MAXIMUM,
    Conv(80, padding="valid"),
    Conv(192, 3, padding="valid"),
    MAXIMUM,
)


def _small_filters(projected: int) -> tuple[Branch, ...]:
    """Figure 5: two 3x3 in place of one of the 5x5 filters."""
    return (
        (Conv(64),),
        (Conv(48), Conv(64, 5)),
        (Conv(64), Conv(96, 3), Conv(96, 3)),
        (AVERAGE, Conv(projected)),
    )


def _long_filters(inner: int) -> tuple[Branch, ...]:
    """Figure 6: 1x7 and 7x1 in place of 7x7 filters."""
    row, column = (1, 7), (7, 1)
    return (
        (Conv(192),),
        (Conv(inner), Conv(inner, row), Conv(192, column)),
        (Conv(inner), Conv(inner, column), Conv(inner, row), Conv(inner, column), Conv(192, row)),
        (AVERAGE, Conv(192)),
    )


def _wide_filters(fork_1: str, fork_2: str) -> tuple[Branch, ...]:
    """Figure 7: 1x3 and 3x1 filters side by side."""
    arms = (Conv(384, (1, 3)), Conv(384, (3, 1)))
    return (
        (Conv(320),),
        (Conv(384), Fork(fork_1, arms)),
        (Conv(448), Conv(384, 3), Fork(fork_2, arms)),
        (AVERAGE, Conv(192)),
    )


MIXED: tuple[tuple[Branch, ...], ...] = (
    _small_filters(32),
    _small_filters(64),
    _small_filters(64),
    ((Conv(384, 3, 2, "valid"),), (Conv(64), Conv(96, 3), Conv(96, 3, 2, "valid")), (MAXIMUM,)),
    _long_filters(128),
    _long_filters(160),
    _long_filters(160),
    _long_filters(192),
    (
        (Conv(192), Conv(320, 3, 2, "valid")),
        (Conv(192), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, 2, "valid")),
        (MAXIMUM,),
    ),
    _wide_filters("mixed9_0", "concatenate"),
    _wide_filters("mixed9_1", "concatenate_1"),
)
"""Modules `mixed0` to `mixed10`: branches side by side, joined in this order."""


@register(
    "inception_v3",
    paper="arXiv:1512.00567",
    options=(replace(RESOLUTION, default=299, least=LEAST_RESOLUTION), CLASSES, SEED),
    published=V3_PUBLISHED,
)
def inception_v3(*, resolution: int = 299, classes: int = 1000, seed: int = 0) -> Graph:
    """Inception v3: filters split into small, long and wide ones, side by side.

    Input (1, resolution, resolution, 3) in [-1, 1], output (1, classes) probabilities. Source: arXiv:1512.00567,
    table 1.
    """
    b = GraphBuilder(f"inception_v3_{resolution}", (1, resolution, resolution, 3), seed=seed)
    network = _Network(b, AutoNames())
    x = network.branch("input", STEM)
    for number, branches in enumerate(MIXED):
        x = b.concat([network.branch(x, branch) for branch in branches], name=f"mixed{number}")
    return finish_keras(b, x, classes, KERAS_TF, resolution, spread=SPREAD)


@dataclass(frozen=True, slots=True)
class _Network:
    """Adds layers under the names that Keras gives to unnamed ones."""

    b: GraphBuilder
    names: AutoNames

    def branch(self, x: str, layers: Sequence[Layer]) -> str:
        for layer in layers:
            x = self._layer(x, layer)
        return x

    def _layer(self, x: str, layer: Layer) -> str:
        if isinstance(layer, Fork):
            return self.b.concat([self._conv(x, arm) for arm in layer.arms], name=layer.name)
        if isinstance(layer, Conv):
            return self._conv(x, layer)
        if layer.kind == "avg_pool":
            name = self.names.next("average_pooling2d")
            return self.b.pool(x, layer.kind, 3, stride=1, padding="same", name=name)
        return self.b.pool(x, layer.kind, 3, stride=2, name=self.names.next("max_pooling2d"))

    def _conv(self, x: str, conv: Conv) -> str:
        name = self.names.next("conv2d")
        x = self.b.conv2d(x, conv.filters, conv.kernel, stride=conv.stride, padding=conv.padding, name=name)
        x = self.b.batch_norm(x, epsilon=EPSILON, name=self.names.next("batch_normalization"))
        return self.b.activation(x, "relu", name=self.names.next("activation"))

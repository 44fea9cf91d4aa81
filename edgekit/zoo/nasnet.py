"""NASNet-A mobile as Keras builds it: layer names, padding and epsilon included, so that its weights fit.

Structure: arXiv:1707.07012, figure 4 (the two cells) and section 3 (how they are stacked). A cell is a table of sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from edgekit.data.preprocess import KERAS_TF
from edgekit.errors import ModelError
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.conv_norm import separable
from edgekit.zoo.heads import finish_keras
from edgekit.zoo.legal import nearest
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import Published, register

EPSILON = 1e-3
STEM_FILTERS = 32
GROWTH = 2
"""Filters double with every reduction; the stem's two reductions have a quarter and a half of the first stage's."""

OUTPUTS_OF_A_CELL = 6
STAGES = 3
FILTERS_STEP = OUTPUTS_OF_A_CELL * GROWTH**4
"""The last cell joins six tensors with four times the filters of the first stage, the stem has a quarter of those."""

SPREAD = 0.2
"""Of the random logits: the sums of the last cells are large."""

ADDED_GAIN = 0.5
"""Of the separable convolutions that a cell adds up, instead of 1: so that sums of random features do not grow."""


class Term(NamedTuple):
    """One of the two operations of a sum. source: `h` (the input), `p` (what the cell before read), or a sum's name.

    op: separable (twice ReLU, separable convolution, batch norm), avg_pool, max_pool or identity. label: Keras's.
    """

    source: str
    op: str
    kernel: int = 0
    stride: int = 1
    label: str = ""


class Sum(NamedTuple):
    """Two terms added. name: for other terms; label: the layer's in Keras."""

    name: str
    left: Term
    right: Term
    label: str


class Cell(NamedTuple):
    """prefix: of Keras's layer names. joined: the tensors that the cell puts out, in this order."""

    prefix: str
    sums: tuple[Sum, ...]
    joined: tuple[str, ...]


SEPARABLE, AVERAGE, MAXIMUM, IDENTITY = "separable", "avg_pool", "max_pool", "identity"

NORMAL = Cell(
    "normal",
    (
        Sum("x1", Term("h", SEPARABLE, 5, 1, "left1"), Term("p", SEPARABLE, 3, 1, "right1"), "add_1"),
        Sum("x2", Term("p", SEPARABLE, 5, 1, "left2"), Term("p", SEPARABLE, 3, 1, "right2"), "add_2"),
        Sum("x3", Term("h", AVERAGE, 3, 1, "left3"), Term("p", IDENTITY), "add_3"),
        Sum("x4", Term("p", AVERAGE, 3, 1, "left4"), Term("p", AVERAGE, 3, 1, "right4"), "add_4"),
        Sum("x5", Term("h", SEPARABLE, 3, 1, "left5"), Term("h", IDENTITY), "add_5"),
    ),
    ("p", "x1", "x2", "x3", "x4", "x5"),
)

REDUCTION = Cell(
    "reduction",
    (
        Sum("x1", Term("h", SEPARABLE, 5, 2, "left1"), Term("p", SEPARABLE, 7, 2, "right1"), "add_1"),
        Sum("x2", Term("h", MAXIMUM, 3, 2, "left2"), Term("p", SEPARABLE, 7, 2, "right2"), "add_2"),
        Sum("x3", Term("h", AVERAGE, 3, 2, "left3"), Term("p", SEPARABLE, 5, 2, "right3"), "add3"),
        Sum("x4", Term("x2", IDENTITY), Term("x1", AVERAGE, 3, 1, "left4"), "add"),
        Sum("x5", Term("x1", SEPARABLE, 3, 1, "left4"), Term("h", MAXIMUM, 3, 2, "right5"), "add4"),
    ),
    ("x2", "x3", "x4", "x5"),
)

OPTIONS = (
    Option("repeats", int, 4, "normal cells between reductions (the paper's N)", least=1, most=20),
    Option("filters", int, 1056, "feature maps of the last cell (the paper's P)", least=1, most=8192),
    RESOLUTION,
    CLASSES,
    SEED,
)


@register(
    "nasnet_mobile",
    paper="arXiv:1707.07012",
    options=OPTIONS,
    published=(
        Published({}, 5.3, 564, 74.0, 91.6, "arXiv:1707.07012, table 3"),
        Published({"resolution": 224}, 5.3, None, 74.4, 91.9, "keras.applications, table of its documentation"),
    ),
)
def nasnet_mobile(
    *, repeats: int = 4, filters: int = 1056, resolution: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """NASNet-A mobile (4 @ 1056): searched cells of separable convolutions and pools.

    Input (1, resolution, resolution, 3) in [-1, 1], output (1, classes) probabilities. Raises ModelError for filters
    that the cells cannot share out. Source: arXiv:1707.07012, figure 4.
    """
    if filters % FILTERS_STEP:
        legal = nearest(filters, range(FILTERS_STEP, 8193, FILTERS_STEP))
        raise ModelError(f"filters {filters} is no multiple of {FILTERS_STEP}, as the cells need; nearest: {legal}")
    size = "" if (repeats, filters) == (4, 1056) else f"{repeats}@{filters}"
    b = GraphBuilder(graph_name("nasnet_mobile", size, resolution), (1, resolution, resolution, 3), seed=seed)
    network = _Network(b, {})
    first = filters // (OUTPUTS_OF_A_CELL * GROWTH**2)
    x = b.conv2d("input", STEM_FILTERS, 3, stride=2, padding="valid", gain=1.0, name="stem_conv1")
    x = b.batch_norm(x, epsilon=EPSILON, name="stem_bn1")
    # Each cell reads the two before it; the first has only the stem, and reads it twice.
    x, before = network.cell(REDUCTION, first // GROWTH**2, "stem_1", x, None), x
    x, before = network.cell(REDUCTION, first // GROWTH, "stem_2", x, before), x
    for stage in range(STAGES):
        width = first * GROWTH**stage
        if stage:
            x, before = network.cell(REDUCTION, width, f"reduce_{stage * repeats}", x, before), x
        for i in range(repeats):
            # After the first stage Keras leaves out one number.
            block = f"{stage * repeats + i + (stage > 0)}"
            x, before = network.cell(NORMAL, width, block, x, before), x
    return finish_keras(b, network.relu(x), classes, KERAS_TF, resolution, spread=SPREAD)


@dataclass(frozen=True, slots=True)
class _Network:
    """Adds cells. relus: the ReLU of each tensor that has one; several layers share it."""

    b: GraphBuilder
    relus: dict[str, str]

    def relu(self, x: str) -> str:
        if x not in self.relus:
            self.relus[x] = self.b.activation(x, "relu", name=f"{x}_relu")
        return self.relus[x]

    def cell(self, cell: Cell, filters: int, block: str, x: str, before: str | None) -> str:
        """One cell over its input and the one before; each of its sums has `filters` channels."""
        b, prefix = self.b, cell.prefix
        tensors = {"p": x if before is None else self._fitted(before, x, filters, block)}
        h = b.conv2d(self.relu(x), filters, 1, name=f"{prefix}_conv_1_{block}")
        tensors["h"] = b.batch_norm(h, epsilon=EPSILON, name=f"{prefix}_bn_1_{block}")
        if any(term.op in (AVERAGE, MAXIMUM) and term.stride == 2 for sum_ in cell.sums for term in sum_[1:3]):
            # Keras pads by hand, so that the zeros count in these pools.
            around = b.resolve_padding(tensors["h"], (3, 3), (2, 2), "same", (1, 1))
            tensors["padded"] = b.pad(tensors["h"], around, name=f"{prefix}_pad_1_{block}")
        for sum_ in cell.sums:
            left, right = (self._term(term, tensors, filters, prefix, block) for term in sum_[1:3])
            tensors[sum_.name] = b.add(left, right, name=f"{prefix}_{sum_.label}_{block}")
        return b.concat([tensors[name] for name in cell.joined], name=f"{prefix}_concat_{block}")

    def _term(self, term: Term, tensors: dict[str, str], filters: int, prefix: str, block: str) -> str:
        x, label = tensors[term.source], f"{prefix}_{term.label}_{block}"
        if term.op == IDENTITY:
            return x
        if term.op == SEPARABLE:
            return self._separable_twice(x, filters, term, label)
        if term.stride == 2:
            return self.b.pool(tensors["padded"], term.op, term.kernel, stride=2, name=label)
        return self.b.pool(x, term.op, term.kernel, stride=1, padding="same", name=label)

    def _separable_twice(self, x: str, filters: int, term: Term, label: str) -> str:
        for number, (stride, gain) in enumerate(((term.stride, 2.0), (1, 2.0 * ADDED_GAIN)), start=1):
            name = f"separable_conv_{number}"
            x = separable(self.b, self.relu(x), filters, term.kernel, stride=stride, gain=gain, name=f"{name}_{label}")
            x = self.b.batch_norm(x, epsilon=EPSILON, name=f"{name}_bn_{label}")
        return x

    def _fitted(self, p: str, x: str, filters: int, block: str) -> str:
        """The output of the cell before with the size of `x` and `filters` channels."""
        b = self.b
        if b.shape(p)[2] != b.shape(x)[2]:
            y = self._halved(self.relu(p), filters, block)
        elif b.channels(p) != filters:
            y = b.conv2d(self.relu(p), filters, 1, name=f"adjust_conv_projection_{block}")
        else:
            return p
        return b.batch_norm(y, epsilon=EPSILON, name=f"adjust_bn_{block}")

    def _halved(self, x: str, filters: int, block: str) -> str:
        """Two 1x1 convolutions with stride 2, the second one pixel down and to the right of the first; joined."""
        b = self.b
        _, height, width, channels = b.shape(x)
        first = b.conv2d(x, filters // 2, 1, stride=2, padding="valid", name=f"adjust_conv_1_{block}")
        corner = {"begin": (0, 1, 1, 0), "end": (1, height, width, channels), "strides": (1, 1, 1, 1)}
        shifted = b.op("slice", [x], corner, name=f"adjust_shift_{block}")
        # Of an odd size, the last pixel of the second lies outside: zeros.
        beyond = (0, height % 2, 0, width % 2)
        second = b.conv2d(shifted, filters // 2, 1, stride=2, padding=beyond, name=f"adjust_conv_2_{block}")
        return b.concat([first, second], name=f"adjust_concat_{block}")

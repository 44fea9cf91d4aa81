"""CondenseNet: dense connections, growth that doubles from block to block, and learned group convolutions.

Each unit is batch norm, ReLU, 1x1 learned group convolution, batch norm, ReLU, 3x3 grouped convolution, and its output
joins everything before it. Structures: arXiv:1711.09224, table 1 and section 4, and the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.data.preprocess import TORCH, Preprocessing
from edgekit.errors import ModelError
from edgekit.graph.builder import CLASSIFIER_GAIN, GraphBuilder
from edgekit.graph.ir import Array, Graph
from edgekit.zoo.cifar import CIFAR, CIFAR_CLASSES, CIFAR_RESOLUTION
from edgekit.zoo.condensenet_published import CIFAR_PUBLISHED, IMAGENET_PUBLISHED
from edgekit.zoo.heads import finish_classifier
from edgekit.zoo.learned_groups import grouped_kernel, kept_inputs, mask_of
from edgekit.zoo.legal import divisors, nearest
from edgekit.zoo.naming import graph_name
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED, Option
from edgekit.zoo.registry import register

EPSILON = 1e-5
BOTTLENECK = 4
"""Outputs of a learned group convolution, in growth rates."""

CIFAR_STAGES = 3
IMAGENET_UNITS = (4, 6, 8, 10, 8)

FORM = Option(
    "form", str, "converted",
    "learned group convolutions: trainable (dense), pruned (dense, dropped weights zero), converted (index, groups)",
    choices=("trainable", "pruned", "converted"),
)  # fmt: skip
GROUPS = Option("groups", int, 4, "G: groups of all convolutions", least=1, most=1024)
CONDENSE = Option("condense", int, 4, "C: a group of a learned convolution keeps 1 input in C", least=1, most=1024)
GROWTH = Option("growth", int, 8, "channels that a unit of the first block adds; doubles per block", least=1, most=64)
CLASSIFIER = Option(
    "classifier", str, "pruned", "inputs of the last layer once pruned: half of them, or dense: all",
    choices=("pruned", "dense"),
)  # fmt: skip
DEPTH = Option("depth", int, 86, "layers: 6 n + 2 with n units a block", least=8, most=500)
CIFAR_CLASSIFIER = Option("classifier", str, "dense", CLASSIFIER.help, choices=CLASSIFIER.choices)


@dataclass(frozen=True, slots=True)
class Design:
    """One network. units: how many in each block. growth: of the first block. dense_classifier: keep all inputs."""

    units: tuple[int, ...]
    growth: int
    stem_stride: int
    groups: int
    condense: int
    form: str
    dense_classifier: bool
    preprocessing: Preprocessing


@register(
    "condensenet",
    paper="arXiv:1711.09224",
    options=(GROUPS, CONDENSE, FORM, CLASSIFIER, RESOLUTION, CLASSES, SEED),
    published=IMAGENET_PUBLISHED,
)
def condensenet(
    *,
    groups: int = 4,
    condense: int = 4,
    form: str = "converted",
    classifier: str = "pruned",
    resolution: int = 224,
    classes: int = 1000,
    seed: int = 0,
) -> Graph:
    """CondenseNet-74 for ImageNet: five dense blocks, learned groups, half of the classifier's inputs pruned.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. One seed gives the pruned and the
    converted form the same function. Raises ModelError where G or C do not divide the layers' channels. Source:
    arXiv:1711.09224, table 1.
    """
    design = Design(IMAGENET_UNITS, 8, 2, groups, condense, form, classifier == "dense", TORCH)
    head = "" if classifier == "pruned" else "dense_classifier"
    return _build(
        graph_name("condensenet74", f"g{groups}c{condense}", form, head, resolution), design, resolution, classes, seed
    )


@register(
    "condensenet_cifar",
    paper="arXiv:1711.09224",
    options=(DEPTH, GROWTH, GROUPS, CONDENSE, FORM, CIFAR_CLASSIFIER, CIFAR_RESOLUTION, CIFAR_CLASSES, SEED),
    published=CIFAR_PUBLISHED,
)
def condensenet_cifar(
    *,
    depth: int = 86,
    growth: int = 8,
    groups: int = 4,
    condense: int = 4,
    form: str = "converted",
    classifier: str = "dense",
    resolution: int = 32,
    classes: int = 10,
    seed: int = 0,
) -> Graph:
    """CondenseNet for CIFAR: three dense blocks of equally many units (50 to 122 layers; 182 with growth 12).

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Raises ModelError for a depth that three
    blocks cannot have and where G or C do not divide the layers' channels. Source: arXiv:1711.09224, section 4.1.
    """
    step = 2 * CIFAR_STAGES
    units, rest = divmod(depth - 2, step)
    if rest:
        legal = nearest(depth, (step * n + 2 for n in range(1, 84)))
        raise ModelError(
            f"depth {depth} does not fill {CIFAR_STAGES} blocks evenly: it is not 6 n + 2; nearest: {legal}"
        )
    design = Design((units,) * CIFAR_STAGES, growth, 1, groups, condense, form, classifier == "dense", CIFAR)
    head = "" if classifier == "dense" else "pruned_classifier"
    width = "" if growth == 8 else f"k{growth}"
    name = graph_name(f"condensenet{depth}", width, f"g{groups}c{condense}", form, head, resolution)
    return _build(name, design, resolution, classes, seed)


def _build(name: str, design: Design, resolution: int, classes: int, seed: int) -> Graph:
    _check_division(design)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = b.conv2d("input", 2 * design.growth, 3, stride=design.stem_stride, padding=1, gain=1.0, name="stem_conv")
    for stage, units in enumerate(design.units, start=1):
        if stage > 1:
            x = b.pool(x, "avg_pool", 2, stride=2, name=f"stage{stage}_pool")
        growth = design.growth * 2 ** (stage - 1)
        for i in range(units):
            x = _unit(b, x, growth, design, f"stage{stage}_unit{i + 1}")
    x = _bn_relu(b, x, "final")
    x = _classifier(b, b.global_avg_pool(x, name="pool"), classes, design)
    return finish_classifier(b, x, design.preprocessing, resolution)


def _unit(b: GraphBuilder, x: str, growth: int, design: Design, name: str) -> str:
    """Learned groups to 4 k channels, 3x3 groups to k, joined to the input."""
    y = _learned_groups(b, x, BOTTLENECK * growth, design, f"{name}_lgc")
    y = _bn_relu(b, y, f"{name}_group")
    y = b.conv2d(y, growth, 3, padding=1, groups=design.groups, name=f"{name}_group_conv")
    return b.concat([x, y], name=f"{name}_concat")


def _learned_groups(b: GraphBuilder, x: str, filters: int, design: Design, name: str) -> str:
    """Batch norm, ReLU and a 1x1 learned group convolution in one of its three forms."""
    inputs = b.channels(x)
    if design.form == "trainable":
        return b.conv2d(_bn_relu(b, x, name), filters, 1, name=f"{name}_conv")
    kept = inputs // design.condense
    weights = b.random(f"{name}_conv/kernel", (1, 1, inputs, filters), 2 / kept)
    dense = b.graph.tensor(weights).array[0, 0]
    index = kept_inputs(dense, design.groups, kept)
    if design.form == "pruned":
        _set_weights(b, weights, (dense * mask_of(index, inputs, filters))[None, None])
        return b.op("conv2d", [_bn_relu(b, x, name), weights], name=f"{name}_conv")
    _set_weights(b, weights, grouped_kernel(dense, index)[None, None])
    y = _bn_relu(b, b.gather(x, index.ravel().tolist(), name=f"{name}_index"), name)
    y = b.op("conv2d", [y, weights], {"groups": design.groups}, name=f"{name}_conv")
    return y if design.groups == 1 else b.channel_shuffle(y, design.groups, name=f"{name}_shuffle")


def _classifier(b: GraphBuilder, x: str, classes: int, design: Design) -> str:
    """Dense layer with bias; once pruned, it reads the half of its inputs with the greatest weights."""
    features = b.channels(x)
    if design.form == "trainable" or design.dense_classifier:
        return b.dense(x, classes, name="logits")
    kept = features // 2
    weights = b.random("logits/kernel", (features, classes), CLASSIFIER_GAIN**2 / kept)
    dense = b.graph.tensor(weights).array
    index = kept_inputs(dense, 1, kept)
    if design.form == "converted":
        x = b.gather(x, index.ravel().tolist(), axis=1, name="logits_index")
        _set_weights(b, weights, grouped_kernel(dense, index))
    else:
        _set_weights(b, weights, dense * mask_of(index, features, classes))
    return b.op("dense", [x, weights, b.full("logits/bias", classes, 0.0)], name="logits")


def _set_weights(b: GraphBuilder, name: str, data: Array) -> None:
    b.graph.set_tensor(b.graph.tensor(name).with_data(data))


def _bn_relu(b: GraphBuilder, x: str, name: str) -> str:
    return b.activation(b.batch_norm(x, epsilon=EPSILON, name=f"{name}_bn"), "relu", name=f"{name}_relu")


def _check_division(design: Design) -> None:
    """G must divide every unit's inputs and growth, C every unit's inputs; all are multiples of the first growth."""
    legal = divisors(design.growth)
    if design.growth % design.groups:
        raise ModelError(
            f"groups {design.groups} do not divide a unit's {design.growth} new channels; "
            f"nearest that do: {nearest(design.groups, legal)}"
        )
    narrowest = 2 * design.growth
    if design.condense > narrowest:
        raise ModelError(
            f"condense {design.condense} leaves the groups of the first unit, which has {narrowest} inputs, "
            f"without any; give at most {legal[-1]}"
        )
    if design.growth % design.condense:
        raise ModelError(
            f"condense {design.condense} does not divide the units' inputs ({narrowest}, {narrowest + design.growth}, "
            f"...); nearest that do: {nearest(design.condense, legal)}"
        )

"""SE-ShuffleNet V2 with 164 layers, as its authors' code builds it: 3x3 convolutions in 8 groups instead of depthwise.

Structure: arXiv:1807.11164, table 6 and the appendix; details from the authors' repository (ShuffleNetV2.Large). The
three auxiliary classifiers that it has in training are left out.
"""

from __future__ import annotations

from edgekit.data.preprocess import TORCH
from edgekit.graph.builder import CLASSIFIER_GAIN, GraphBuilder
from edgekit.graph.ir import Graph
from edgekit.zoo.conv_norm import GATED_GAIN, conv_norm, squeeze_excite
from edgekit.zoo.heads import finish_classifier
from edgekit.zoo.options import CLASSES, RESOLUTION, SEED
from edgekit.zoo.registry import register
from edgekit.zoo.shufflenet_published import V2_LARGE_PUBLISHED

EPSILON = 1e-9
STAGES = ((10, 128), (10, 256), (23, 512), (10, 1024))
"""Units and channels of each half, by stage; every stage but the first halves the map."""

GROUPS = 8
TAIL_WIDTH = 1280
BRANCH_GAIN = 0.1
"""Of a unit's last convolution: a ReLU follows each sum, so random features would grow with every unit."""


@register(
    "shufflenet_v2_164",
    paper="arXiv:1807.11164",
    options=(RESOLUTION, CLASSES, SEED),
    published=V2_LARGE_PUBLISHED,
)
def shufflenet_v2_164(*, resolution: int = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """SE-ShuffleNet V2-164: 53 residual units with squeeze-excite and grouped 3x3 convolutions.

    Input (1, resolution, resolution, 3), output (1, classes) probabilities. Source: arXiv:1807.11164, table 6.
    """
    b = GraphBuilder(f"shufflenet_v2_164_{resolution}", (1, resolution, resolution, 3), seed=seed)
    x = "input"
    for number, (channels, stride) in enumerate(((64, 2), (64, 1), (128, 1)), start=1):
        x = conv_norm(b, x, channels, 3, stride=stride, padding=1, epsilon=EPSILON, name=f"conv1_{number}")
    x = b.pool(x, "max_pool", 3, stride=2, padding=1, name="pool1")
    for stage, (units, half) in enumerate(STAGES, start=2):
        for number in range(1, units + 1):
            stride = 2 if number == 1 and stage > 2 else 1
            x = _unit(b, x, half, stride, projected=number == 1, name=f"stage{stage}_{number}")
    x = conv_norm(b, x, TAIL_WIDTH, 3, padding=1, epsilon=EPSILON, name="conv_last")
    x = b.dropout(b.global_avg_pool(x, name="pool"), 0.2, name="dropout")
    return finish_classifier(b, b.dense(x, classes, gain=CLASSIFIER_GAIN**2, name="logits"), TORCH, resolution)


def _unit(b: GraphBuilder, x: str, half: int, stride: int, *, projected: bool, name: str) -> str:
    """Even channels to the left, odd ones through the branch on the right; join to 2 * half channels.

    The left half passes, or is projected by a dense 3x3 convolution in a stage's first unit; in the others the branch
    is added to its input. A 1x1 convolution mixes the halves where the map shrank.
    """
    channels = b.channels(x)
    x = b.channel_shuffle(x, channels // 2, name=f"{name}/sort")
    left, right = b.split(x, (channels // 2, channels // 2), name=f"{name}/split")
    if projected:
        layer = f"{name}/project"
        left = conv_norm(b, left, half, 3, stride=stride, padding=1, activation=None, epsilon=EPSILON, name=layer)
    y = conv_norm(b, right, half, 1, epsilon=EPSILON, name=f"{name}/reduce")
    y = conv_norm(b, y, half, 3, stride=stride, padding=1, groups=GROUPS, epsilon=EPSILON, name=f"{name}/grouped")
    gain = GATED_GAIN * (1.0 if projected else BRANCH_GAIN)
    y = conv_norm(b, y, half, 1, activation=None, gain=gain, epsilon=EPSILON, name=f"{name}/expand")
    y = squeeze_excite(b, y, half, "sigmoid", prefix=f"{name}/squeeze_excite_")
    if not projected:
        y = b.add(right, y, name=f"{name}/add")
    x = b.activation(b.concat([left, y], name=f"{name}/concat"), "relu", name=f"{name}/relu")
    return conv_norm(b, x, 2 * half, 1, epsilon=EPSILON, name=f"{name}/down") if stride == 2 else x

"""MobileNet V1 and V2 as Keras builds them: layer names, padding and epsilon included, so that its weights fit.

V2 can have PyTorch's padding and epsilon instead.

Structures: arXiv:1704.04861 table 1, arXiv:1801.04381 table 2.
"""

from __future__ import annotations

from dataclasses import replace

from edgekit.data.preprocess import KERAS_TF
from edgekit.errors import ModelError
from edgekit.graph.builder import CLASSIFIER_GAIN, GraphBuilder, Padding
from edgekit.graph.ir import Graph
from edgekit.zoo.mobilenet_published import V1_PUBLISHED, V2_PUBLISHED
from edgekit.zoo.naming import graph_name, if_on
from edgekit.zoo.options import ALPHA, CLASSES, RESOLUTION, SEED, SHALLOW, Option
from edgekit.zoo.registry import register

EPSILON = 1e-3
TORCH_EPSILON = 1e-5
V1_CLASSIFIER_GAIN = (6 * CLASSIFIER_GAIN) ** 2
"""Without residuals, random features of V1 fade to about a sixth; this keeps the random classifier's softmax peaked."""

BEHIND = (0, 1, 0, 1)
"""One row below and one column to the right: how MobileNet V1 pads before a stride of 2, whatever the input's size."""

V1_ROWS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""(channels, stride) of the 13 depthwise separable units. The paper prints stride 2 for the last; 7x7 says 1."""

LEFT_OUT = (512, 1)
"""The five units that the shallow network lacks (table 5)."""

V2_ROWS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""(expansion, channels, repeats, stride of the first) of the inverted residuals."""


def make_divisible(value: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `value`, at least `divisor`, and at least nine tenths of `value`."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


UNIT = Option(
    "unit",
    str,
    "separable",
    "dense: one full 3x3 convolution instead of a depthwise and a 1x1, the paper's Conv MobileNet",
    choices=("separable", "dense"),
)


@register(
    "mobilenet_v1",
    paper="arXiv:1704.04861",
    options=(
        ALPHA,
        replace(SHALLOW, help="without the five units of 512 channels that repeat"),
        UNIT,
        RESOLUTION,
        CLASSES,
        SEED,
    ),
    published=V1_PUBLISHED,
)
def mobilenet_v1(
    *,
    alpha: float = 1.0,
    shallow: str = "off",
    unit: str = "separable",
    resolution: int = 224,
    classes: int = 1000,
    seed: int = 0,
) -> Graph:
    """MobileNet V1: depthwise separable convolutions; every width is int(alpha * channels).

    Input (1, resolution, resolution, 3) in [-1, 1], output (1, classes) probabilities. Raises ModelError where alpha
    leaves a layer without channels. Source: arXiv:1704.04861, table 1; tables 4 and 5 for `unit` and `shallow`.
    """
    name = graph_name("mobilenet_v1", f"{alpha:g}", if_on(shallow, "shallow"), "dense" * (unit == "dense"), resolution)
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = b.conv2d("input", _v1_width(32, alpha), 3, stride=2, name="conv1")
    x = _bn_relu6(b, x, "conv1_bn", "conv1_relu")
    rows = [row for row in V1_ROWS if shallow == "off" or row != LEFT_OUT]
    for i, (channels, stride) in enumerate(rows, start=1):
        padding, width = BEHIND if stride == 2 else "same", _v1_width(channels, alpha)
        if unit == "dense":
            x = b.conv2d(x, width, 3, stride=stride, padding=padding, name=f"conv_{i}")
            x = _bn_relu6(b, x, f"conv_{i}_bn", f"conv_{i}_relu")
            continue
        x = b.depthwise(x, 3, stride=stride, padding=padding, name=f"conv_dw_{i}")
        x = _bn_relu6(b, x, f"conv_dw_{i}_bn", f"conv_dw_{i}_relu")
        x = b.conv2d(x, width, 1, name=f"conv_pw_{i}")
        x = _bn_relu6(b, x, f"conv_pw_{i}_bn", f"conv_pw_{i}_relu")
    x = b.global_avg_pool(x, keep_dims=True, name="global_average_pooling2d")
    x = b.dropout(x, 1e-3, name="dropout")
    x = b.conv2d(x, classes, 1, bias=True, gain=V1_CLASSIFIER_GAIN, name="conv_preds")
    x = b.reshape(x, (1, classes), name="reshape_2")
    return _finish(b, b.activation(x, "softmax", name="predictions"), resolution)


PADDING = Option(
    "padding",
    str,
    "same",
    "same: Keras's and TFLite's; symmetric: PyTorch's, with its epsilon",
    choices=("same", "symmetric"),
)


@register(
    "mobilenet_v2",
    paper="arXiv:1801.04381",
    options=(ALPHA, PADDING, RESOLUTION, CLASSES, SEED),
    published=V2_PUBLISHED,
)
def mobilenet_v2(
    *, alpha: float = 1.0, padding: str = "same", resolution: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """MobileNet V2: inverted residuals with linear bottlenecks; widths are multiples of 8.

    Input (1, resolution, resolution, 3) in [-1, 1], output (1, classes) probabilities. The last convolution grows with
    alpha, but never shrinks. Source: arXiv:1801.04381, table 2.
    """
    symmetric = padding == "symmetric"
    name = graph_name("mobilenet_v2", f"{alpha:g}", "symmetric" if symmetric else "", f"{resolution}")
    epsilon, around = (TORCH_EPSILON, 1) if symmetric else (EPSILON, "same")
    b = GraphBuilder(name, (1, resolution, resolution, 3), seed=seed)
    x = b.conv2d("input", make_divisible(32 * alpha), 3, stride=2, padding=around, name="Conv1")
    x = _bn_relu6(b, x, "bn_Conv1", "Conv1_relu", epsilon)
    block = 0
    for expansion, channels, repeats, first_stride in V2_ROWS:
        for i in range(repeats):
            prefix = f"block_{block}_" if block else "expanded_conv_"
            width = make_divisible(int(channels * alpha))
            x = _inverted_residual(b, x, expansion, width, first_stride if i == 0 else 1, around, epsilon, prefix)
            block += 1
    x = b.conv2d(x, make_divisible(1280 * alpha) if alpha > 1 else 1280, 1, name="Conv_1")
    x = _bn_relu6(b, x, "Conv_1_bn", "out_relu", epsilon)
    x = b.global_avg_pool(x, name="global_average_pooling2d")
    x = b.dense(x, classes, name="predictions")
    return _finish(b, b.activation(x, "softmax", name="predictions_softmax"), resolution)


def _inverted_residual(
    b: GraphBuilder, x: str, expansion: int, width: int, stride: int, padding: Padding, epsilon: float, prefix: str
) -> str:
    """Expand (not by 1), filter per channel, project without activation; add the input where shapes allow."""
    y, channels = x, b.channels(x)
    if expansion > 1:
        y = b.conv2d(y, expansion * channels, 1, name=f"{prefix}expand")
        y = _bn_relu6(b, y, f"{prefix}expand_BN", f"{prefix}expand_relu", epsilon)
    # Keras pads by hand before a stride of 2, by a rule that is SAME for 3x3 windows: (0, 1) if even, (1, 1) if odd.
    y = b.depthwise(y, 3, stride=stride, padding=padding, name=f"{prefix}depthwise")
    y = _bn_relu6(b, y, f"{prefix}depthwise_BN", f"{prefix}depthwise_relu", epsilon)
    y = b.conv2d(y, width, 1, gain=1.0, name=f"{prefix}project")
    y = b.batch_norm(y, epsilon=epsilon, name=f"{prefix}project_BN")
    return b.add(x, y, name=f"{prefix}add") if stride == 1 and channels == width else y


def _bn_relu6(b: GraphBuilder, x: str, norm: str, activation: str, epsilon: float = EPSILON) -> str:
    return b.activation(b.batch_norm(x, epsilon=epsilon, name=norm), "relu6", name=activation)


def _v1_width(channels: int, alpha: float) -> int:
    width = int(channels * alpha)
    if width < 1:
        raise ModelError(f"alpha {alpha:g} leaves a layer of {channels} channels without any; give at least 1/32")
    return width


def _finish(b: GraphBuilder, output: str, resolution: int) -> Graph:
    graph = b.finish(output)
    graph.metadata["preprocessing"] = KERAS_TF.with_size(resolution, resolution).to_metadata()
    return graph

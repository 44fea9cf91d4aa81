"""What the paper and Keras print about DenseNet."""

from __future__ import annotations

from edgekit.zoo.registry import Published

_PAPER = "arXiv:1608.06993, table 3"
_CIFAR = "arXiv:1608.06993, table 2; CIFAR-10 with augmentation"
_KERAS = "keras.applications, table of its documentation; counts batch norm statistics too"

# depth, top-1 and top-5 of the paper, parameters in M, top-1 and top-5 of Keras's weights
_IMAGENET = (
    (121, 74.98, 92.29, 8.1, 75.0, 92.3),
    (169, 76.20, 93.15, 14.3, 76.2, 93.2),
    (201, 77.42, 93.66, 20.2, 77.3, 93.6),
)

IMAGENET_PUBLISHED = tuple(
    row
    for depth, top1, top5, keras_params, keras_top1, keras_top5 in _IMAGENET
    for row in (
        Published({"depth": depth}, None, None, top1, top5, _PAPER),
        Published({"depth": depth}, keras_params, None, keras_top1, keras_top5, _KERAS),
    )
)

# depth, growth, bottleneck and compression (the BC form), parameters in M, top-1
_ROWS = (
    (40, 12, "off", 1.0, 1.0, 94.76),
    (100, 12, "off", 1.0, 7.0, 95.90),
    (100, 12, "on", 0.5, 0.8, 95.49),
    (250, 24, "on", 0.5, 15.3, 96.38),
    (190, 40, "on", 0.5, 25.6, 96.54),
)

CIFAR_PUBLISHED = tuple(
    Published(
        {"depth": depth, "growth": growth, "bottleneck": bottleneck, "compression": compression},
        params,
        None,
        top1,
        None,
        _CIFAR,
    )
    for depth, growth, bottleneck, compression, params, top1 in _ROWS
)

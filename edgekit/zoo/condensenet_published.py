"""What the authors of CondenseNet print. Their parameters and MACs count the pruned weights of a dense classifier's
network on CIFAR, and of the converted one on ImageNet; their MACs add activations, pooling and the last bias."""

from __future__ import annotations

from edgekit.zoo.registry import Published

_README = "the authors' README"

# layers, first growth, parameters in M, MACs in M, top-1 on CIFAR-10
_CIFAR = (
    (50, 8, 0.22, 28.6, 93.78),
    (74, 8, 0.41, 51.9, 94.72),
    (86, 8, 0.52, 65.8, 94.94),
    (98, 8, 0.65, 81.3, 95.17),
    (110, 8, 0.79, 98.2, 95.37),
    (122, 8, 0.95, 116.7, 95.52),
    (182, 12, 4.2, 513, 96.24),
)

CIFAR_PUBLISHED = tuple(
    Published({"depth": depth, "growth": growth}, params, macs, top1, None, f"{_README}, CIFAR-10")
    for depth, growth, params, macs, top1 in _CIFAR
)

IMAGENET_PUBLISHED = (
    Published({"groups": 4, "condense": 4}, 4.8, 529, 73.8, 91.7, _README),
    Published({"groups": 8, "condense": 8}, 2.9, 274, 71.0, 90.0, _README),
)

"""What the papers, Keras and torchvision print about AlexNet and VGG."""

from __future__ import annotations

from edgekit.zoo.registry import Published

_TORCHVISION = "torchvision 0.28, weights IMAGENET1K_V1"
_ALEXNET = "NIPS 2012, section 1; accuracy, with response normalization: arXiv:1602.07360, table 2"
_VGG_TABLE = "arXiv:1409.1556, tables 2 and 3 (one scale of the whole picture)"

ALEXNET_PUBLISHED = (
    Published({"form": "paper"}, 60, None, 57.2, 80.3, _ALEXNET),
    Published({"form": "torch", "resolution": 224}, 61.1, 714, 56.522, 79.066, _TORCHVISION),
)

# depth, parameters in M, top-1, top-5
_VGG_PAPER = ((11, 133, 70.4, 89.6), (13, 133, 71.3, 90.1), (16, 138, 74.4, 91.9), (19, 144, 74.5, 92.0))

VGG_PUBLISHED = tuple(
    Published({"depth": depth}, parameters, None, top1, top5, _VGG_TABLE)
    for depth, parameters, top1, top5 in _VGG_PAPER
)

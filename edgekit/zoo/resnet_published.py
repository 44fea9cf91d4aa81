"""What the papers, their authors and Keras print about the residual networks."""

from __future__ import annotations

from edgekit.zoo.registry import Published

_KERAS = "keras.applications, table of its documentation"
_AUTHORS = "MACs: arXiv:1512.03385, table 1; accuracy: the authors' repository, one crop"
_TORCHVISION = "torchvision 0.28, weights IMAGENET1K_V1"

# depth, MACs in M, top-1, top-5
_PAPER = ((50, 3800, 75.3, 92.2), (101, 7600, 76.4, 92.9), (152, 11300, 77.0, 93.3))

# depth, parameters in M, MACs in M, top-1, top-5
_TORCH = (
    (18, 11.690, 1814, 69.758, 89.078),
    (34, 21.798, 3664, 73.314, 91.420),
    (50, 25.557, 4089, 76.130, 92.862),
    (101, 44.549, 7801, 77.374, 93.546),
    (152, 60.193, 11514, 78.312, 94.046),
)

# depth, parameters in M, top-1, top-5
_KERAS_V1 = ((50, 25.6, 74.9, 92.1), (101, 44.7, 76.4, 92.8), (152, 60.4, 76.6, 93.1))
_KERAS_V2 = ((50, 25.6, 76.0, 93.0), (101, 44.7, 77.2, 93.8), (152, 60.4, 78.0, 94.2))

RESNET_PUBLISHED = (
    *(Published({"depth": depth}, None, macs, top1, top5, _AUTHORS) for depth, macs, top1, top5 in _PAPER),
    *(
        Published({"depth": depth, "form": "torch"}, parameters, macs, top1, top5, _TORCHVISION)
        for depth, parameters, macs, top1, top5 in _TORCH
    ),
    *(
        Published({"depth": depth, "form": "keras"}, parameters, None, top1, top5, _KERAS)
        for depth, parameters, top1, top5 in _KERAS_V1
    ),
)

RESNET_V2_PUBLISHED = (
    Published({"depth": 152, "resolution": 320}, None, None, 78.9, 94.5, "arXiv:1603.05027, table 5"),
    *(
        Published({"depth": depth, "form": "keras"}, parameters, None, top1, top5, _KERAS)
        for depth, parameters, top1, top5 in _KERAS_V2
    ),
)

RESNEXT_PUBLISHED = (
    Published({"depth": 50}, 25.0, 4200, 77.8, None, "arXiv:1611.05431, tables 1 and 3"),
    Published({"depth": 50, "groups": 32, "group_width": 4}, 25.029, 4230, 77.618, 93.698, _TORCHVISION),
)

SE_RESNET_PUBLISHED = (Published({"depth": 50}, None, 3870, 76.71, 93.38, "arXiv:1709.01507, table 2"),)

# depth, parameters in M, top-1 on CIFAR-10
_CIFAR = ((20, 0.27, 91.25), (32, 0.46, 92.49), (44, 0.66, 92.83), (56, 0.85, 93.03), (110, 1.7, 93.57))

CIFAR_PUBLISHED = (
    *(
        Published({"depth": depth}, parameters, None, top1, None, "arXiv:1512.03385, table 6, CIFAR-10")
        for depth, parameters, top1 in _CIFAR
    ),
    Published({"depth": 110, "version": "2"}, None, None, 93.63, None, "arXiv:1603.05027, table 2, CIFAR-10"),
)

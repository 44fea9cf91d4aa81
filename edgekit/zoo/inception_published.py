"""What the papers, Keras and torchvision print about Inception v1 and v3 and Xception."""

from __future__ import annotations

from edgekit.zoo.registry import Published

_KERAS = "keras.applications, table of its documentation; counts batch norm statistics too"

_V1_PAPER = "arXiv:1409.4842, section 1 and table 3; accuracy with response normalization"

V1_PUBLISHED = (
    Published({"form": "paper"}, None, 1500, None, 89.93, _V1_PAPER),
    Published({"form": "torchvision"}, 6.6, None, 69.778, 89.530, "torchvision 0.28, googlenet weights IMAGENET1K_V1"),
)

V3_PUBLISHED = (
    Published({}, None, 5000, 78.8, 94.4, "arXiv:1512.00567, section 1 and table 3"),
    Published({"resolution": 299}, 23.9, None, 77.9, 93.7, _KERAS),
)

XCEPTION_PUBLISHED = (
    Published({}, 22.855952, None, 79.0, 94.5, "arXiv:1610.02357, tables 1 and 3"),
    Published({"resolution": 299}, 22.9, None, 79.0, 94.5, _KERAS),
)

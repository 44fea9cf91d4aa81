"""What the papers and Keras's tables print about the MobileNets."""

from __future__ import annotations

from edgekit.zoo.registry import Published

_V1_PAPER = "arXiv:1704.04861, tables 6 and 7"
_V2_TABLE = "keras.applications.mobilenet_v2, table of its documentation"

# alpha, resolution, parameters in M, MACs in M, top-1
_V1 = (
    (1.0, 224, 4.2, 569, 70.6),
    (0.75, 224, 2.6, 325, 68.4),
    (0.5, 224, 1.3, 149, 63.7),
    (0.25, 224, 0.5, 41, 50.6),
    (1.0, 192, 4.2, 418, 69.1),
    (1.0, 160, 4.2, 290, 67.2),
    (1.0, 128, 4.2, 186, 64.4),
)

# alpha, resolution, parameters in M, MACs in M, top-1, top-5
_V2 = (
    (1.4, 224, 6.06, 582, 75.0, 92.5),
    (1.3, 224, 5.34, 509, 74.4, 92.1),
    (1.0, 224, 3.47, 300, 71.8, 91.0),
    (1.0, 192, 3.47, 221, 70.7, 90.1),
    (1.0, 160, 3.47, 154, 68.8, 89.0),
    (1.0, 128, 3.47, 99, 65.3, 86.9),
    (1.0, 96, 3.47, 56, 60.3, 83.2),
    (0.75, 224, 2.61, 209, 69.8, 89.6),
    (0.75, 192, 2.61, 153, 68.7, 88.9),
    (0.75, 160, 2.61, 107, 66.4, 87.3),
    (0.75, 128, 2.61, 69, 63.2, 85.3),
    (0.75, 96, 2.61, 39, 58.8, 81.6),
    (0.5, 224, 1.95, 97, 65.4, 86.4),
    (0.5, 192, 1.95, 71, 63.9, 85.4),
    (0.5, 160, 1.95, 50, 61.0, 83.2),
    (0.5, 128, 1.95, 32, 57.7, 80.8),
    (0.5, 96, 1.95, 18, 51.2, 75.8),
    (0.35, 224, 1.66, 59, 60.3, 82.9),
    (0.35, 192, 1.66, 43, 58.2, 81.2),
    (0.35, 160, 1.66, 30, 55.7, 79.1),
    (0.35, 128, 1.66, 20, 50.8, 75.0),
    (0.35, 96, 1.66, 11, 45.5, 70.4),
)

V1_PUBLISHED = (
    *(
        Published({"alpha": alpha, "resolution": size}, params, macs, top1, None, _V1_PAPER)
        for alpha, size, params, macs, top1 in _V1
    ),
    Published({"shallow": "on"}, 2.9, 307, 65.3, None, "arXiv:1704.04861, table 5"),
    Published({"unit": "dense"}, 29.3, 4866, 71.7, None, "arXiv:1704.04861, table 4"),
)

V2_PUBLISHED = tuple(
    Published({"alpha": alpha, "resolution": size}, params, macs, top1, top5, _V2_TABLE)
    for alpha, size, params, macs, top1, top5 in _V2
)

"""What the papers, their authors' repository and torchvision print about the ShuffleNets."""

from __future__ import annotations

from edgekit.zoo.registry import Published

_V1_PAPER = "arXiv:1707.01083, tables 2 and 5"
_V1_README = "megvii-model/ShuffleNet-Series, ShuffleNetV1"
_V2_PAPER = "arXiv:1807.11164, table 6"
_V2_README = "megvii-model/ShuffleNet-Series, ShuffleNetV2"
_TORCHVISION = "torchvision 0.28, shufflenet_v2 weights IMAGENET1K_V1"

# alpha, groups, parameters in M, MACs in M, top-1, top-5: trained anew by the authors
_V1_RETRAINED = (
    (2.0, 3, 5.4, 524, 74.1, 91.4),
    (2.0, 8, 6.5, 522, 72.9, 90.8),
    (1.5, 3, 3.4, 292, 71.6, 90.2),
    (1.5, 8, 4.3, 290, 71.0, 89.6),
    (1.0, 3, 1.9, 138, 67.8, 87.7),
    (1.0, 8, 2.4, 138, 68.0, 86.4),
    (0.5, 3, 0.7, 38, 57.3, 80.0),
    (0.5, 8, 1.0, 40, 58.8, 81.0),
)

# alpha, groups, MACs in M, top-1 error
_V1_GROUPS = (
    (1.0, 1, 140, 33.6),
    (1.0, 2, 140, 32.7),
    (1.0, 4, 140, 32.8),
    (0.5, 1, 38, 45.1),
    (0.5, 2, 38, 44.4),
    (0.5, 4, 38, 41.6),
    (0.25, 1, 13, 57.1),
    (0.25, 2, 13, 56.8),
    (0.25, 3, 13, 55.0),
    (0.25, 4, 13, 54.2),
    (0.25, 8, 13, 52.7),
)

# The paper does not say how many channels the first convolution keeps at 0.25, nor how widths that the groups do not
# divide are rounded (2 and 4 groups at 0.5), nor which units the shallow network drops.
V1_PUBLISHED = (
    *(
        Published({"alpha": alpha, "groups": groups}, params, macs, top1, top5, _V1_README)
        for alpha, groups, params, macs, top1, top5 in _V1_RETRAINED
    ),
    *(
        Published(
            {"alpha": alpha, "groups": groups},
            None,
            macs,
            round(100 - error, 1),
            None,
            _V1_PAPER,
            hypothesis=alpha == 0.25 or (alpha == 0.5 and groups in (2, 4)),
        )
        for alpha, groups, macs, error in _V1_GROUPS
    ),
    Published({"alpha": 0.5, "groups": 3, "shallow": "on"}, None, 40, 57.2, None, _V1_PAPER, hypothesis=True),
)

# alpha, parameters in M, MACs in M, top-1, top-5
_V2_RETRAINED = (
    (2.0, 7.4, 591, 75.0, 92.4),
    (1.5, 3.5, 299, 72.6, 90.6),
    (1.0, 2.3, 146, 69.4, 88.9),
    (0.5, 1.4, 41, 61.1, 82.6),
)

# alpha, top-1, top-5
_V2_TORCHVISION = ((2.0, 76.23, 93.006), (1.5, 72.996, 91.086), (1.0, 69.362, 88.316), (0.5, 60.552, 81.746))

# The paper prints neither squeeze-excite's reduction nor, legibly, the first stage of the 50-layer network.
V2_PUBLISHED = (
    *(Published({"alpha": a}, params, macs, top1, top5, _V2_README) for a, params, macs, top1, top5 in _V2_RETRAINED),
    *(
        Published({"alpha": a, "unit": "torchvision"}, None, None, top1, top5, _TORCHVISION)
        for a, top1, top5 in _V2_TORCHVISION
    ),
    *(
        Published(
            {"alpha": a, "squeeze_excite": "on"},
            None,
            None,
            None,
            None,
            "arXiv:1807.11164, figure 2 of the appendix",
            True,
        )
        for a in (2.0, 1.5, 1.0, 0.5)
    ),
    Published({"depth": "50", "unit": "torchvision"}, None, 2300, 77.2, None, _V2_PAPER, hypothesis=True),
)

V2_LARGE_PUBLISHED = (Published({}, 140.7, 12700, 81.44, 95.52, f"{_V2_README}.Large, auxiliary classifiers included"),)

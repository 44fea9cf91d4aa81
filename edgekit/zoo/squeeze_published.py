"""What the papers and torchvision print about SqueezeNet and SqueezeNext."""

from __future__ import annotations

from edgekit.zoo.registry import Published

_SQUEEZENET = "arXiv:1602.07360"
_TORCHVISION = "torchvision 0.28, squeezenet weights IMAGENET1K_V1"
_SQUEEZENEXT = "arXiv:1803.10615, tables 1 and 2"

# SR and pct_3x3 of the explored design space; top-5
_DESIGN_SPACE = ((0.75, 0.5, 86.0), (0.5, 0.5, 85.3))

SQUEEZENET_PUBLISHED = (
    Published({"version": "1.0"}, None, None, 57.5, 80.3, f"{_SQUEEZENET}, table 2"),
    Published({"version": "1.0", "bypass": "simple"}, None, None, 60.4, 82.5, f"{_SQUEEZENET}, table 3"),
    # The table prints 7.7 MB for complex bypass; 1x1 convolutions on fire 2, 4, 6, 8 give 6.1, on all eight 7.9.
    Published({"version": "1.0", "bypass": "complex"}, None, None, 58.8, 82.0, f"{_SQUEEZENET}, table 3", True),
    *(
        Published({"sr": sr, "pct_3x3": pct}, None, None, None, top5, f"{_SQUEEZENET}, figure 3")
        for sr, pct, top5 in _DESIGN_SPACE
    ),
    Published({"version": "1.0", "resolution": 224}, None, None, 58.092, 80.42, _TORCHVISION),
    Published({"version": "1.1", "resolution": 224}, None, None, 58.178, 80.624, _TORCHVISION),
)

# version, alpha, groups, parameters in M, top-1, top-5
_SQNXT = (
    ("23", 1.0, 1, 0.72, 59.05, 82.60),
    ("23", 1.0, 2, 0.54, 57.16, 80.23),
    ("34", 1.0, 1, 1.0, 61.39, 84.31),
    ("44", 1.0, 1, 1.2, 62.64, 85.15),
    ("23", 1.5, 1, 1.4, 63.52, 85.66),
    ("34", 1.5, 1, 2.1, 66.00, 87.40),
    ("44", 1.5, 1, 2.6, 67.28, 88.15),
    ("23", 2.0, 1, 2.4, 67.18, 88.17),
    ("34", 2.0, 1, 3.8, 68.46, 88.78),
    ("44", 2.0, 1, 4.4, 69.59, 89.53),
    ("23v5", 2.0, 1, 3.2, 67.44, 88.20),
)

# No public file lists the blocks of 34 and 44.
SQUEEZENEXT_PUBLISHED = tuple(
    Published(
        {"version": version, "alpha": alpha, "groups": groups},
        params,
        None,
        top1,
        top5,
        _SQUEEZENEXT,
        hypothesis=version in ("34", "44"),
    )
    for version, alpha, groups, params, top1, top5 in _SQNXT
)

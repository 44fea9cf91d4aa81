"""What papers and authors' files print about the three generations of interleaved group convolutions."""

from __future__ import annotations

from edgekit.zoo.registry import Published

_V1_PAPER = "arXiv:1707.02725"
_V1_README = "the authors' README; its parameters leave out some weights"
_V2_PAPER = "arXiv:1804.06202; batch norm's place is a guess"
_V3_PAPER = "arXiv:1806.00178"

# L, M, layers, shortcut, classes, parameters in M
_V1_CIFAR = (
    *((24, 2, depth, "plain", 10, None) for depth in (8, 20, 38, 62)),
    *((4, 8, depth, "plain", 10, None) for depth in (8, 20, 38, 62)),
    *((24, 2, depth, "identity", 10, None) for depth in (50, 74, 98)),
    (32, 26, 20, "plain", 100, 24.1),
    (450, 2, 20, "plain", 100, 19.3),
)

IGCV1_CIFAR_PUBLISHED = (
    *(
        Published(
            {"primary": primary, "secondary": secondary, "depth": depth, "shortcut": shortcut, "classes": classes},
            params,
            None,
            None,
            None,
            _V1_PAPER,
        )
        for primary, secondary, depth, shortcut, classes, params in _V1_CIFAR
    ),
    *(
        Published({"primary": width, "secondary": 1, "depth": depth, "block": "regular"}, *(None,) * 4, _V1_PAPER)
        for width in (16, 18)
        for depth in (8, 20, 38, 62)
    ),
    *(
        Published(
            {"primary": 4, "secondary": 8, "depth": depth, "block": "sumfusion"},
            *(None,) * 4,
            f"{_V1_PAPER}; the summation is a reading",
            hypothesis=True,
        )
        for depth in (8, 20, 38, 62)
    ),
)

# L, M, what doubles, block, parameters in M, MACs in M, top-1, top-5
_V1 = (
    (4, 32, "secondary", "igc", 11.205, 1900.0, 69.23, 89.01),
    (16, 16, "secondary", "igc", 11.329, 2200.0, 70.6, 89.68),
    (100, 2, "primary", "igc", 8.61, 1300.0, 73.05, 91.08),
    (64, 1, "secondary", "regular", 11.151, 1800.0, 68.94, 88.62),
    (69, 1, "secondary", "regular", 11.333, 2100.0, 69.42, 89.23),
)

IGCV1_PUBLISHED = tuple(
    Published(
        {"primary": primary, "secondary": secondary, "widen": widen, "block": block},
        params,
        macs,
        top1,
        top5,
        _V1_README,
    )
    for primary, secondary, widen, block, params, macs, top1, top5 in _V1
)

IGCV2_CIFAR_PUBLISHED = (
    *(
        Published(
            {"variant": "igcv2*", "width": width, "classes": 10},
            0.65 if width == 416 else None,
            None,
            None,
            None,
            _V2_PAPER,
            hypothesis=True,
        )
        for width in (32, 48, 64, 80, 96, 128, 160, 256, 416)
    ),
    Published({"variant": "igcv2", "width": 64}, *(None,) * 4, _V2_PAPER, hypothesis=True),
    Published(
        {"variant": "igcv2", "width": 64, "block_layers": 2},
        *(None,) * 4,
        f"{_V2_PAPER}; two layers are Xception's block",
        hypothesis=True,
    ),
)

IGCV2_PUBLISHED = tuple(
    Published({"alpha": alpha}, *(None,) * 4, "arXiv:1804.06202; the structure is a guess", hypothesis=True)
    for alpha in (1.0, 0.5, 0.25)
)

IGCV3_PUBLISHED = (
    Published({"variant": "d", "alpha": 1.0}, 3.5, 318, 72.2, 90.5, f"{_V3_PAPER}; accuracy of the authors' README"),
    *(
        Published({"variant": "d", "alpha": alpha, "widths": widths}, *(None,) * 4, source)
        for alpha in (0.5, 0.7, 0.75, 1.4)
        for widths, source in (("clean", _V3_PAPER), ("author", "the authors' code"))
    ),
    *(
        Published({"variant": "d", "alpha": 1.0, "groups1": g1, "groups2": g2}, *(None,) * 4, _V3_PAPER)
        for g1, g2 in ((1, 2), (2, 1), (2, 4), (4, 2), (4, 4))
    ),
    Published({"variant": "w", "alpha": 1.0}, *(None,) * 4, _V3_PAPER, hypothesis=True),
    Published({"variant": "w", "alpha": 1.0, "groups1": 2, "groups2": 2}, *(None,) * 4, "the authors' code"),
)

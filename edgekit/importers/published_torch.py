"""Published weights of torchvision, whose file names end in the first digits of the file's sha256.

Where there are two recipes of training the better one (its IMAGENET1K_V2) stands first, as in torchvision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgekit.importers.published_row import FileHash, PublishedWeights, Value

HOST = "https://download.pytorch.org/models"
V2_SHORT_SIDE = 232
"""Pixels that the second recipe scales the short side to before it cuts out 224, instead of 256."""

_SQUEEZENET: Mapping[str, Value] = {
    "bypass": "none",
    "base_e": 128,
    "freq": 2,
    "incr_e": 128,
    "pct_3x3": 0.5,
    "sr": 0.125,
    "conv10_padding": 0,
}
_SHUFFLENET: Mapping[str, Value] = {
    "unit": "torchvision",
    "depth": "standard",
    "squeeze_excite": "off",
    "residual": "off",
}
_MOBILENET_V2: Mapping[str, Value] = {"alpha": 1.0, "padding": "symmetric"}
_MOBILENET_V3: Mapping[str, Value] = {"alpha": 1.0, "minimalistic": "off", "padding": "symmetric"}


def torch_rows() -> Iterator[PublishedWeights]:
    """SqueezeNet, ShuffleNet V2, MobileNet V2 and V3."""
    for version, name in (("1.0", "squeezenet1_0-b66bff10"), ("1.1", "squeezenet1_1-b8a52dc0")):
        yield _row("squeezenet", {"version": version, **_SQUEEZENET}, name)
    for alpha, name in (
        (0.5, "shufflenetv2_x0.5-f707e7126e"),
        (1.0, "shufflenetv2_x1-5666bf0f80"),
        (1.5, "shufflenetv2_x1_5-3c479a10"),
        (2.0, "shufflenetv2_x2_0-8be3c8ee"),
    ):
        # The two wider ones were trained later, by the second recipe.
        yield _row("shufflenet_v2", {"alpha": alpha, **_SHUFFLENET}, name, V2_SHORT_SIDE if alpha > 1 else None)
    yield _row("mobilenet_v2", _MOBILENET_V2, "mobilenet_v2-7ebf99e0", V2_SHORT_SIDE)
    yield _row("mobilenet_v2", _MOBILENET_V2, "mobilenet_v2-b0353104")
    yield _row("mobilenet_v3_large", _MOBILENET_V3, "mobilenet_v3_large-5c1a4163", V2_SHORT_SIDE)
    yield _row("mobilenet_v3_large", _MOBILENET_V3, "mobilenet_v3_large-8738ca79")
    yield _row("mobilenet_v3_small", _MOBILENET_V3, "mobilenet_v3_small-047dcff4")


def _row(model: str, options: Mapping[str, Value], name: str, short_side: int | None = None) -> PublishedWeights:
    file_hash = FileHash("sha256", name.rpartition("-")[2])
    return PublishedWeights(
        model, options, 224, True, f"{HOST}/{name}.pth", file_hash, "torch", "BSD-3-Clause", short_side
    )

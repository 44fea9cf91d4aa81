"""Published weights of torchvision, whose file names end in the first digits of the file's sha256.

Where there are two recipes of training the better one (its IMAGENET1K_V2) stands first, as in torchvision.
The licence is the library's. It states none for weights, and warns that data they were trained on may bring terms.
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


_VGG = {11: "vgg11-8a719046", 13: "vgg13-19584684", 16: "vgg16-397923af", 19: "vgg19-dcbb9e9d"}

_RESNET = {
    18: ("resnet18-f37072fd",),
    34: ("resnet34-b627a593",),
    50: ("resnet50-11ad3fa6", "resnet50-0676ba61"),
    101: ("resnet101-cd907fc2", "resnet101-63fe2227"),
    152: ("resnet152-f82ba261", "resnet152-394f9c45"),
}
"""By depth; of two recipes the second one comes first."""

_RESNEXT: Mapping[str, Value] = {"depth": 50, "groups": 32, "group_width": 4}


def torch_rows() -> Iterator[PublishedWeights]:
    """SqueezeNet, ShuffleNet V2, MobileNet V2 and V3, and the large networks that they are compared with."""
    yield from _small_rows()
    yield _row("alexnet", {"form": "torch", "resolution": 224}, "alexnet-owt-7be5be79")
    for depth, name in _VGG.items():
        yield _row("vgg", {"depth": depth, "resolution": 224}, name)
    for depth, names in _RESNET.items():
        for name in names:
            second = len(names) > 1 and name == names[0]
            yield _row("resnet", {"depth": depth, "form": "torch"}, name, V2_SHORT_SIDE if second else None)
    yield _row("resnext", _RESNEXT, "resnext50_32x4d-1a0047aa", V2_SHORT_SIDE)
    yield _row("resnext", _RESNEXT, "resnext50_32x4d-7cdf4587")


def _small_rows() -> Iterator[PublishedWeights]:
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

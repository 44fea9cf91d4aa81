"""Published weights of the networks that small ones are compared with. Names and hashes: Keras 3's code, torchvision.

Licences are those that Keras's documentation names for each family. It names none for EfficientNet, whose files it
converted from the authors' checkpoints: that of their repository, tensorflow/tpu.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from edgekit.importers.published_keras import HOST as KERAS_HOST
from edgekit.importers.published_row import FileHash, PublishedWeights, Value
from edgekit.importers.published_torch import HOST as TORCH_HOST

EFFICIENTNET_HOST = "https://storage.googleapis.com/keras-applications"
_KERNELS = "weights_tf_dim_ordering_tf_kernels"


class KerasFamily(NamedTuple):
    """Two files of Keras. path: without ending; endings and md5: with and without classifier."""

    model: str
    options: Mapping[str, Value]
    resolution: int
    path: str
    endings: tuple[str, str]
    md5: tuple[str, str]
    preprocessing: str = "keras_tf"
    licence: str = "Apache-2.0"


def _densenet(depth: int, *md5: str) -> KerasFamily:
    path = f"{KERAS_HOST}/densenet/densenet{depth}_{_KERNELS}"
    endings = (".h5", "_notop.h5")
    return KerasFamily("densenet", {"depth": depth}, 224, path, endings, (md5[0], md5[1]), "torch", "BSD-3-Clause")


def _efficientnet(version: str, resolution: int, *md5: str) -> KerasFamily:
    path, endings = f"{EFFICIENTNET_HOST}/efficientnet{version}", (".h5", "_notop.h5")
    return KerasFamily(f"efficientnet_{version}", {}, resolution, path, endings, (md5[0], md5[1]), "torch")


KERAS_FAMILIES = (
    _densenet(121, "9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
    _densenet(169, "d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
    _densenet(201, "1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    KerasFamily(
        "inception_v3",
        {},
        299,
        f"{KERAS_HOST}/inception_v3/inception_v3_{_KERNELS}",
        (".h5", "_notop.h5"),
        ("9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63"),
    ),
    KerasFamily(
        "xception",
        {},
        299,
        f"{KERAS_HOST}/xception/xception_{_KERNELS}",
        (".h5", "_notop.h5"),
        ("0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97"),
        licence="MIT",
    ),
    KerasFamily(
        "nasnet_mobile",
        {"repeats": 4, "filters": 1056},
        224,
        f"{KERAS_HOST}/nasnet/NASNet-mobile",
        (".h5", "-no-top.h5"),
        ("020fb642bf7360b370c678b08e0adf61", "1ed92395b5b598bdda52abe5c0dbfd63"),
    ),
    _efficientnet("b0", 224, "902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d"),
    _efficientnet("b1", 240, "1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432"),
    _efficientnet("b2", 260, "b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39"),
    _efficientnet("b3", 300, "ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226"),
    _efficientnet("b4", 380, "18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
    _efficientnet("b5", 456, "ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f"),
    _efficientnet("b6", 528, "165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743"),
    _efficientnet("b7", 600, "8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
)

TORCH_DENSENETS = {121: "densenet121-a639ec97", 169: "densenet169-b2777c0a", 201: "densenet201-c1103571"}
"""By depth. The name ends in the first digits of the file's sha256."""


def baseline_rows() -> Iterator[PublishedWeights]:
    """DenseNet, Inception v3, Xception, NASNet and EfficientNet of Keras; DenseNet of torchvision too."""
    for family in KERAS_FAMILIES:
        for classifier, ending, md5 in zip((True, False), family.endings, family.md5, strict=True):
            yield PublishedWeights(
                family.model,
                family.options,
                family.resolution,
                classifier,
                f"{family.path}{ending}",
                FileHash("md5", md5),
                family.preprocessing,
                family.licence,
            )
    for depth, name in TORCH_DENSENETS.items():
        file_hash, url = FileHash("sha256", name.rpartition("-")[2]), f"{TORCH_HOST}/{name}.pth"
        yield PublishedWeights("densenet", {"depth": depth}, 224, True, url, file_hash, "torch", "BSD-3-Clause")

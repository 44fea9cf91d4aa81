"""Published weights of keras.applications. Names, sizes and hashes: its code (Keras 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgekit.importers.published_row import FileHash, PublishedWeights, Value

HOST = "https://storage.googleapis.com/tensorflow/keras-applications"

V3_HASHES = {
    "large_224_1.0_float": "59e551e166be033d707958cf9e29a6a7",
    "large_224_0.75_float": "765b44a33ad4005b3ac83185abf1d0eb",
    "large_minimalistic_224_1.0_float": "675e7b876c45c57e9e63e6d90a36599c",
    "small_224_1.0_float": "8768d4c2e7dee89b9d02b2d03d65d862",
    "small_224_0.75_float": "cb65d4e5be93758266aa0a7f2c6708b7",
    "small_minimalistic_224_1.0_float": "99cd97fb2fcdad2bf028eb838de69e37",
}
"""md5 of the files with classifier. Those without lack `conv_2` too, so they are no use here."""


VGG_HASHES = {16: "64373286793e3c8b2b4e3219cbf3544b", 19: "cbe5617147190e668d6c5d5026f83318"}
"""md5 by depth, of the files with classifier. Those without lack the other dense layers too."""

RESNET_HASHES = {
    "resnet50": ("2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": ("f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": ("100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "resnet50v2": ("3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"),
    "resnet101v2": ("6343647c601c52e1368623803854d971", "c0ed64b8031c3730f411d2eb4eea35b5"),
    "resnet152v2": ("a49b44d1979771252814e80f8ec446f9", "ed17cf2e0169df9d443503ef94b23b33"),
}
"""md5 with and without classifier."""


def keras_rows() -> Iterator[PublishedWeights]:
    """MobileNet V1, V2 and V3, VGG, ResNet V1 and V2."""
    yield from _mobilenet_v1_rows()
    yield from _mobilenet_v2_rows()
    yield from _mobilenet_v3_rows()
    yield from _vgg_rows()
    yield from _resnet_rows()


def _row(
    model: str,
    options: Mapping[str, Value],
    resolution: int,
    classifier: bool,
    path: str,
    md5: str | None = None,
    *,
    preprocessing: str = "keras_tf",
    licence: str = "Apache-2.0",
) -> PublishedWeights:
    file_hash = None if md5 is None else FileHash("md5", md5)
    return PublishedWeights(model, options, resolution, classifier, f"{HOST}/{path}", file_hash, preprocessing, licence)


def _mobilenet_v1_rows() -> Iterator[PublishedWeights]:
    texts = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}
    for alpha, text in texts.items():
        for size in (224, 192, 160, 128):
            stem = f"mobilenet/mobilenet_{text}_{size}_tf"
            options: dict[str, Value] = {"alpha": alpha, "shallow": "off", "unit": "separable"}
            yield _row("mobilenet_v1", options, size, True, f"{stem}.h5")
            yield _row("mobilenet_v1", options, size, False, f"{stem}_no_top.h5")


def _mobilenet_v2_rows() -> Iterator[PublishedWeights]:
    stem = "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels"
    for alpha in (1.4, 1.3, 1.0, 0.75, 0.5, 0.35):
        options: dict[str, Value] = {"alpha": alpha, "padding": "same"}
        for size in (224,) if alpha > 1 else (224, 192, 160, 128, 96):
            yield _row("mobilenet_v2", options, size, True, f"{stem}_{alpha}_{size}.h5")
            yield _row("mobilenet_v2", options, size, False, f"{stem}_{alpha}_{size}_no_top.h5")


def _mobilenet_v3_rows() -> Iterator[PublishedWeights]:
    for name, md5 in V3_HASHES.items():
        minimalistic = "on" if "minimalistic" in name else "off"
        options: dict[str, Value] = {
            "alpha": float(name.split("_")[-2]),
            "minimalistic": minimalistic,
            "padding": "same",
        }
        model = f"mobilenet_v3_{name.partition('_')[0]}"
        yield _row(model, options, 224, True, f"mobilenet_v3/weights_mobilenet_v3_{name}.h5", md5)


def _vgg_rows() -> Iterator[PublishedWeights]:
    """The authors' own weights."""
    for depth, md5 in VGG_HASHES.items():
        options: dict[str, Value] = {"depth": depth, "resolution": 224}
        path = f"vgg{depth}/vgg{depth}_weights_tf_dim_ordering_tf_kernels.h5"
        yield _row("vgg", options, 224, True, path, md5, preprocessing="caffe", licence="CC-BY-4.0")


def _resnet_rows() -> Iterator[PublishedWeights]:
    """V1: the authors' own weights, under their licence. V2: by Keras's documentation ported from fb.resnet.torch."""
    for name, hashes in RESNET_HASHES.items():
        second = name.endswith("v2")
        depth = int(name.removeprefix("resnet").removesuffix("v2"))
        options: dict[str, Value] = {"depth": depth, "form": "keras"}
        for classifier, ending, md5 in ((True, "", hashes[0]), (False, "_notop", hashes[1])):
            yield _row(
                "resnet_v2" if second else "resnet",
                options,
                224,
                classifier,
                f"resnet/{name}_weights_tf_dim_ordering_tf_kernels{ending}.h5",
                md5,
                preprocessing="keras_tf" if second else "caffe",
                licence="BSD-3-Clause" if second else "MIT",
            )

"""Where published ImageNet weights live: one row a file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from edgekit.errors import WeightsError

KERAS_HOST = "https://storage.googleapis.com/tensorflow/keras-applications"
CLASSES = 1000
"""Outputs of every published classifier."""


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """One file. resolution: what it was trained at (the weights fit any). classifier: whether the last layer is in it.

    sha256 is None where the publisher gives none; preprocessing is a key of `edgekit.data.preprocess.PRESETS`.
    """

    model: str
    alpha: float
    resolution: int
    classifier: bool
    url: str
    sha256: str | None
    preprocessing: str
    licence: str

    @property
    def file_name(self) -> str:
        """The file's name, in the cache too."""
        return self.url.rpartition("/")[2]


def _keras_row(model: str, alpha: float, resolution: int, classifier: bool, path: str) -> PublishedWeights:
    url = f"{KERAS_HOST}/{path}"
    return PublishedWeights(model, alpha, resolution, classifier, url, None, "keras_tf", "Apache-2.0")


def _mobilenet_v1_rows() -> Iterator[PublishedWeights]:
    texts = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}
    for alpha, text in texts.items():
        for size in (224, 192, 160, 128):
            yield _keras_row("mobilenet_v1", alpha, size, True, f"mobilenet/mobilenet_{text}_{size}_tf.h5")
            yield _keras_row("mobilenet_v1", alpha, size, False, f"mobilenet/mobilenet_{text}_{size}_tf_no_top.h5")


def _mobilenet_v2_rows() -> Iterator[PublishedWeights]:
    stem = "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels"
    for alpha in (1.4, 1.3, 1.0, 0.75, 0.5, 0.35):
        for size in (224,) if alpha > 1 else (224, 192, 160, 128, 96):
            yield _keras_row("mobilenet_v2", alpha, size, True, f"{stem}_{alpha}_{size}.h5")
            yield _keras_row("mobilenet_v2", alpha, size, False, f"{stem}_{alpha}_{size}_no_top.h5")


PUBLISHED_WEIGHTS: tuple[PublishedWeights, ...] = (*_mobilenet_v1_rows(), *_mobilenet_v2_rows())


def choose_weights(model: str, alpha: float, resolution: int, *, classifier: bool) -> PublishedWeights:
    """The file of that width trained at the resolution nearest to `resolution` (the larger of two equally near).

    Raises WeightsError where none is published for the model, or none for that alpha.
    """
    of_model = [row for row in PUBLISHED_WEIGHTS if row.model == model and row.classifier == classifier]
    if not of_model:
        raise WeightsError(f"no ImageNet weights are published for {model or 'this model'}; use --weights PATH or none")
    of_alpha = [row for row in of_model if math.isclose(row.alpha, alpha, rel_tol=1e-6)]
    if not of_alpha:
        alphas = ", ".join(f"{a:g}" for a in dict.fromkeys(row.alpha for row in of_model))
        raise WeightsError(
            f"no ImageNet weights are published for {model} with alpha {alpha:g}; there are "
            f"{alphas}; use one of these, --weights PATH or none"
        )
    return min(of_alpha, key=lambda row: (abs(row.resolution - resolution), -row.resolution))

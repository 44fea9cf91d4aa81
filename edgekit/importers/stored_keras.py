"""Layers of Keras's weight files in the forms that the zoo's graphs have: separable halves, gammas, pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgekit.errors import WeightsError
from edgekit.graph.ir import Array
from edgekit.importers.stored import StoredLayer, StoredTensor

SEPARABLE, HALVES = "separable_conv2d", ("depthwise", "pointwise")
"""Keras's class of separable convolutions; in the zoo two nodes: `<layer>/depthwise` and `<layer>/pointwise`."""

UNNAMED = re.compile(r"(conv2d|depthwise_conv2d|separable_conv2d|batch_normalization|dense)(?:_(\d{1,9}))?")
"""Names that Keras gives to layers that nobody named. It counts on from one model of a session to the next."""

PUBLISHED_VARIANCE = (0.229, 0.224, 0.225)
"""EfficientNet's published files hold standard deviations here; a layer after it divides by their roots again."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """How a network normalizes pixels itself: (pixel - mean) / std, pixels in 0..255, one value a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def in_graph_form(layers: Iterable[StoredLayer]) -> list[StoredLayer]:
    """Separable convolutions in halves, unnamed layers numbered from 0, gammas of 1 where no batch norm has one."""
    numbered = _numbered_from_0(list(layers))
    if all(_lacks_gamma(layer) for layer in numbered if _is_batch_norm(layer)):
        numbered = [_with_gamma(layer) if _is_batch_norm(layer) else layer for layer in numbered]
    return [part for layer in numbered for part in _halves(layer)]


def without_normalization(layers: Sequence[StoredLayer], where: str) -> tuple[list[StoredLayer], Pixels | None]:
    """The layers without Keras's Normalization, and what that one does to pixels that were divided by 255 before.

    Raises WeightsError where it makes no sense.
    """
    found = [layer for layer in layers if _is_normalization(layer)]
    rest = [layer for layer in layers if not _is_normalization(layer)]
    if not found:
        return rest, None
    mean, variance = (np.asarray(tensor.read(), np.float64).ravel() for tensor in found[0].tensors[:2])
    if mean.shape != variance.shape or not np.isfinite(mean).all() or not (variance > 0).all():
        raise WeightsError(f"{where}: layer {found[0].name!r} holds no mean and positive variance a channel")
    published = variance.shape == (3,) and np.allclose(variance, PUBLISHED_VARIANCE, rtol=1e-6, atol=0)
    std = variance if published else np.sqrt(variance)
    return rest, Pixels(_rounded(mean * 255), _rounded(std * 255))


def _rounded(values: Array) -> tuple[float, ...]:
    """Without the digits that float32 did not have."""
    return tuple(float(f"{value:.7g}") for value in values)


def _is_normalization(layer: StoredLayer) -> bool:
    return layer.kind == "normalization" or {t.role for t in layer.tensors} >= {"mean", "variance"}


def _numbered_from_0(layers: list[StoredLayer]) -> list[StoredLayer]:
    """Unnamed layers of a class renamed to `conv2d`, `conv2d_1`, ... in the order of the numbers that they have."""
    numbers: dict[str, list[int]] = {}
    for layer in layers:
        if unnamed := UNNAMED.fullmatch(layer.name):
            numbers.setdefault(unnamed[1], []).append(int(unnamed[2] or 0))
    ranks = {kind: {number: i for i, number in enumerate(sorted(found))} for kind, found in numbers.items()}
    if any(len(ranks[kind]) != len(found) for kind, found in numbers.items()):
        return layers  # of several models: their numbers do not tell the order
    renamed = []
    for layer in layers:
        if unnamed := UNNAMED.fullmatch(layer.name):
            rank = ranks[unnamed[1]][int(unnamed[2] or 0)]
            layer = replace(layer, name=f"{unnamed[1]}_{rank}" if rank else unnamed[1])
        renamed.append(layer)
    return renamed


def _is_batch_norm(layer: StoredLayer) -> bool:
    return layer.kind == "batch_normalization" or any(tensor.role == "moving_mean" for tensor in layer.tensors)


def _lacks_gamma(layer: StoredLayer) -> bool:
    """Keras's scale=False: three arrays, of which none is called gamma."""
    return len(layer.tensors) == 3 and all(tensor.role != "gamma" for tensor in layer.tensors)


def _with_gamma(layer: StoredLayer) -> StoredLayer:
    """The batch norm with a gamma of ones in front."""
    shape, role = layer.tensors[0].shape, "gamma" if layer.tensors[0].role else ""
    gamma = StoredTensor(f"{layer.name}/gamma", role, shape, lambda: np.ones(shape, np.float32))
    return replace(layer, tensors=(gamma, *layer.tensors))


def _halves(layer: StoredLayer) -> list[StoredLayer]:
    """A separable convolution as its depthwise and its pointwise one, under the zoo's names; else the layer itself."""
    if layer.kind != SEPARABLE and all(tensor.role != "pointwise_kernel" for tensor in layer.tensors):
        return [layer]
    parts = (layer.tensors[:1], layer.tensors[1:])
    halves = []
    for half, tensors in zip(HALVES, parts, strict=True):
        named = tuple(replace(t, role="kernel") if t.role == "pointwise_kernel" else t for t in tensors)
        halves.append(replace(layer, name=f"{layer.name}/{half}", tensors=named))
    return halves

"""Float reference of every op, in numpy: slow, plain, and independent of the runtimes.

Each takes the input arrays and the node's attributes and returns the list of outputs. Activations are NHWC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Attrs = Mapping[str, Any]
Kernel = Callable[[Sequence[Array], Attrs], list[Array]]


def pad_spatial(x: Array, padding: Sequence[int], value: float) -> Array:
    """Pad H and W of (N, H, W, C) by (top, bottom, left, right)."""
    top, bottom, left, right = padding
    if not any(padding):
        return x
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def windows(x: Array, kernel: Sequence[int], strides: Sequence[int], dilation: Sequence[int] = (1, 1)) -> Array:
    """All windows of a padded (N, H, W, C) as a view of shape (N, OH, OW, C, kh, kw)."""
    (kh, kw), (sh, sw), (dh, dw) = kernel, strides, dilation
    full = np.lib.stride_tricks.sliding_window_view(x, ((kh - 1) * dh + 1, (kw - 1) * dw + 1), axis=(1, 2))
    view: Array = full[:, ::sh, ::sw, :, ::dh, ::dw]
    return view


def convolve(x: Array, kernel: Array, attrs: Attrs, pad_value: float = 0.0) -> Array:
    """Grouped 2-D cross-correlation without bias; x (N, H, W, C), kernel (kh, kw, C / groups, O)."""
    kh, kw, per_group, out_channels = kernel.shape
    groups = attrs["groups"]
    patches = windows(pad_spatial(x, attrs["padding"], pad_value), (kh, kw), attrs["strides"], attrs["dilation"])
    n, oh, ow = patches.shape[:3]
    out_per_group = out_channels // groups
    if per_group == 1:
        grouped = kernel.reshape(kh, kw, groups, out_per_group)
        result: Array = np.einsum("nhwcij,ijco->nhwco", patches, grouped, optimize=False)
        return result.reshape(n, oh, ow, out_channels)
    parts = []
    for g in range(groups):
        columns = patches[:, :, :, g * per_group : (g + 1) * per_group].reshape(n * oh * ow, per_group * kh * kw)
        rows = kernel[..., g * out_per_group : (g + 1) * out_per_group].transpose(2, 0, 1, 3)
        parts.append(columns @ rows.reshape(per_group * kh * kw, out_per_group))
    return np.concatenate(parts, axis=1).reshape(n, oh, ow, out_channels)


def activate(x: Array, activation: str) -> Array:
    """Apply a fused activation: none, relu or relu6."""
    if activation == "relu":
        return np.maximum(x, 0).astype(x.dtype)
    if activation == "relu6":
        return np.clip(x, 0, 6).astype(x.dtype)
    return x


def conv2d(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Convolution, bias, fused activation."""
    y = convolve(inputs[0], inputs[1], attrs)
    if len(inputs) == 3:
        y = y + inputs[2]
    return [activate(y, attrs["activation"])]


def dense(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """x (N, in) @ kernel (in, out), bias, fused activation."""
    y = inputs[0] @ inputs[1]
    if len(inputs) == 3:
        y = y + inputs[2]
    return [activate(y, attrs["activation"])]


def batch_norm(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """(x - mean) * gamma / sqrt(variance + epsilon) + beta over the last axis (arXiv:1502.03167, inference)."""
    x, gamma, beta, mean, variance = inputs
    scale = gamma / np.sqrt(variance + np.float32(attrs["epsilon"]))
    return [(x * scale + (beta - mean * scale)).astype(x.dtype)]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    result: Array = 0.5 * (1.0 + np.tanh(0.5 * x))
    return result.astype(x.dtype)


def hard_sigmoid(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """clip(slope * x + offset, 0, 1)."""
    x = inputs[0]
    return [np.clip(x * attrs["slope"] + attrs["offset"], 0, 1).astype(x.dtype)]


def softmax(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Softmax over the last axis."""
    shifted = np.exp(inputs[0] - inputs[0].max(axis=-1, keepdims=True))
    return [shifted / shifted.sum(axis=-1, keepdims=True)]


def max_pool(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Maximum over windows; padding never wins."""
    x = inputs[0]
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    padded = pad_spatial(x, attrs["padding"], lowest)
    return [windows(padded, attrs["kernel"], attrs["strides"]).max(axis=(4, 5))]


def pool_counts(height: int, width: int, attrs: Attrs) -> Array:
    """How many real (unpadded) positions each window covers: (1, OH, OW, 1), float32."""
    ones = pad_spatial(np.ones((1, height, width, 1), np.float32), attrs["padding"], 0)
    counts: Array = windows(ones, attrs["kernel"], attrs["strides"]).sum(axis=(4, 5))
    return counts


def avg_pool(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Mean over windows; padding is not counted."""
    x = inputs[0]
    total = windows(pad_spatial(x, attrs["padding"], 0), attrs["kernel"], attrs["strides"]).sum(axis=(4, 5))
    return [(total / pool_counts(x.shape[1], x.shape[2], attrs)).astype(x.dtype)]


def global_avg_pool(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Mean over H and W."""
    return [inputs[0].mean(axis=(1, 2), keepdims=attrs["keep_dims"], dtype=np.float64).astype(inputs[0].dtype)]


def split(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Consecutive pieces of the given sizes."""
    return np.split(inputs[0], np.cumsum(attrs["sizes"])[:-1], axis=attrs["axis"])


def slice_(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """x[begin:end:stride] per axis."""
    keys = zip(attrs["begin"], attrs["end"], attrs["strides"], strict=True)
    return [inputs[0][tuple(slice(b, e, s) for b, e, s in keys)]]


def pad(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Constant padding per axis."""
    widths = list(zip(attrs["before"], attrs["after"], strict=True))
    return [np.pad(inputs[0], widths, constant_values=attrs["value"])]


def shuffle_indices(channels: int, groups: int, block: int = 1) -> Array:
    """Which channel each output channel of a shuffle reads: view (groups, n, block), swap the first two, flatten."""
    indices: Array = np.arange(channels).reshape(groups, -1, block).swapaxes(0, 1).reshape(-1)
    return indices


def channel_shuffle(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Interleave the groups (arXiv:1707.01083, figure 1), `block` channels at a time."""
    return [inputs[0][..., shuffle_indices(inputs[0].shape[-1], attrs["groups"], attrs["block"])]]


def elementwise(function: Callable[[Array], Array]) -> Kernel:
    """A kernel from a function of one array."""

    def kernel(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
        return [function(inputs[0]).astype(inputs[0].dtype)]

    return kernel


def add(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Broadcasting sum, fused activation."""
    return [activate(inputs[0] + inputs[1], attrs["activation"])]


def mul(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Broadcasting product, fused activation."""
    return [activate(inputs[0] * inputs[1], attrs["activation"])]


def concat(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Join along an axis."""
    return [np.concatenate(inputs, axis=attrs["axis"])]


def gather(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Pick slices of an axis by index."""
    return [np.take(inputs[0], attrs["indices"], axis=attrs["axis"])]


def reshape(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Same elements, another shape."""
    return [inputs[0].reshape(attrs["shape"])]


def transpose(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
    """Reorder axes."""
    return [inputs[0].transpose(attrs["perm"])]

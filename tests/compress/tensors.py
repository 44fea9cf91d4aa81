"""Tensors of every kind that a coder may meet."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

DTYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64")


def bits_of(array: np.ndarray) -> bytes:
    """What must come back: shape, dtype and every bit."""
    return repr((array.shape, array.dtype.name)).encode() + array.tobytes()


def special(dtype: str) -> np.ndarray:
    """NaNs of several payloads and signs, infinities, denormals, both zeros, the extremes."""
    size = np.dtype(dtype).itemsize
    patterns = [0, 1, 2, 3, (1 << 8 * size - 1), (1 << 8 * size - 1) + 1, (1 << 8 * size) - 1, (1 << 8 * size) - 2]
    exponent = {2: 0x7C00, 4: 0x7F800000, 8: 0x7FF0000000000000}.get(size, 0)
    patterns += [exponent, exponent + 1, exponent + 2, exponent | 1 << 8 * size - 1, exponent - 1]
    return np.array([p % (1 << 8 * size) for p in patterns], f"u{size}").view(dtype)


@st.composite
def tensors(draw: st.DrawFn, max_side: int = 7) -> np.ndarray:
    """Any dtype and shape of up to five axes, empty ones too; few distinct values, many, or any bits."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=max_side))
    kind = draw(st.sampled_from(("any", "few", "sparse", "special", "bell")))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = int(np.prod(shape))
    if kind == "any":
        raw = rng.integers(0, 256, count * np.dtype(dtype).itemsize, np.uint8)
        return raw.view(dtype).reshape(shape)
    if kind == "special":
        return rng.choice(special(dtype), count).reshape(shape)
    values = np.clip(rng.standard_normal(count) * draw(st.sampled_from((0.01, 1.0, 30.0))), -100, 100)
    if kind == "few":
        values = np.round(values)
    if kind == "sparse":
        values[rng.random(count) < 0.7] = 0
    if np.dtype(dtype).kind == "u":
        values = np.abs(values)
    return values.astype(dtype).reshape(shape)


def kernel(shape: tuple[int, ...], *, codes: int = 32, zeros: float = 0.6, seed: int = 0) -> np.ndarray:
    """A float32 kernel like a pruned and clustered one: scales that differ by row and column, few values."""
    rng = np.random.default_rng(seed)
    weights = rng.laplace(size=shape) * np.exp(0.4 * rng.standard_normal((shape[0],) + (1,) * (len(shape) - 1)))
    weights[np.abs(weights) < np.quantile(np.abs(weights), zeros)] = 0
    edges = np.quantile(weights[weights != 0], np.linspace(0, 1, codes))
    near = edges[np.abs(weights[..., None] - edges).argmin(-1)]
    return np.where(weights == 0, 0, near).astype(np.float32)

"""Complementary and balance conditions of interleaved group convolutions, and the check of paths behind them.

A block is L grouped convolutions; K_l is the number of channels in a group of layer l. After layer l the channels,
seen as (C / K_l, K_l), are transposed, so that each layer mixes another digit of the channel's number.
Sources: arXiv:1804.06202, sections 3.2 and 3.3; arXiv:1806.00178, section 3.2 (the loose condition).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edgekit.errors import ModelError
from edgekit.graph.kernels import shuffle_indices
from edgekit.zoo.legal import divisors, nearest

Paths = npt.NDArray[np.int64]


def balanced_size(channels: int, layers: int, kernel: int = 3) -> float:
    """What kernel² K_1 = K_2 = ... = K_L are where nothing had to be whole: (kernel² C)^(1 / L)."""
    return float((kernel**2 * channels) ** (1 / layers))


def best_layers(channels: int, kernel: int = 3) -> float:
    """The (fractional) number of layers with the fewest weights: ln(kernel² C)."""
    return math.log(kernel**2 * channels)


def block_weights(channels: int, sizes: Sequence[int], kernel: int = 3) -> int:
    """Weights of a block with K_l = `sizes`: C (kernel² K_1 + K_2 + ... + K_L)."""
    return channels * (kernel**2 * sizes[0] + sum(sizes[1:]))


def group_sizes(channels: int, layers: int, kernel: int = 3, first: int | None = 1) -> tuple[int, ...]:
    """K_1 ... K_L: whole numbers whose product is C, with the fewest weights that this leaves (the best balance).

    first: K_1 of the spatial layer (1: depthwise), None to choose it too. The other layers mix at least two channels.
    Raises ModelError where C has no such factors, naming the nearest numbers of layers and channels that work.
    """
    check_layers(layers)
    found = min(_factorings(channels, layers, first), key=lambda k: (block_weights(channels, k, kernel), k), default=())
    if found:
        return found
    most = layers_at_most(channels // (first or 1))
    fewer = f"give {most} layers at most, or " if most >= 2 else ""
    others = nearest(channels, (c for c in range(2, 2 * channels + 2**layers) if _has_factors(c, layers, first)))
    raise ModelError(f"{channels} channels are no product of {layers - 1} group sizes; {fewer}{others} channels")


def check_layers(layers: int) -> None:
    """Raise ModelError for fewer layers than interleave."""
    if layers < 2:
        raise ModelError(f"an interleaved block has at least 2 layers, not {layers}")


def layers_at_most(channels: int) -> int:
    """Layers of the longest block over C channels: one spatial layer and one for each prime factor."""
    count, rest = 1, channels
    for prime in range(2, channels + 1):
        while rest % prime == 0:
            count, rest = count + 1, rest // prime
    return count


def complete_sizes(channels: int, layers: int, size: int) -> tuple[int, ...]:
    """K_1 = 1, K_2 = ... = K_(L-1) = `size`, and for K_L what the complementary condition leaves.

    Raises ModelError where that is no whole number of at least 2, naming the nearest sizes that work.
    """
    check_layers(layers)
    if layers == 2:
        check_complementary(channels, (1, size))
        return (1, size)
    rest, remainder = divmod(channels, size ** (layers - 2))
    if remainder or rest < 2 or size < 2:
        legal = [k for k in divisors(channels) if k > 1 and _leaves_whole(channels, layers, k)]
        raise ModelError(
            f"group size {size} breaks the complementary condition: {channels} channels are not {size}"
            f"^{layers - 2} times a whole group size; nearest that work: {nearest(size, legal)}"
        )
    return (1, *(size,) * (layers - 2), rest)


def check_complementary(channels: int, sizes: Sequence[int]) -> None:
    """Raise ModelError unless the product of all K_l is C: exactly one path from each input to each output."""
    product = math.prod(sizes)
    if product != channels:
        works = 2 <= len(sizes) <= layers_at_most(channels)
        advice = f"give {group_sizes(channels, len(sizes))}" if works else f"give other than {len(sizes)} layers"
        raise ModelError(
            f"group sizes {tuple(sizes)} break the complementary condition: "
            f"their product is {product}, not {channels}; {advice}"
        )


def check_loose(channels: int, groups: Sequence[int], where: str, others: Sequence[int] = ()) -> None:
    """Raise ModelError unless every number of groups divides the channels, naming the nearest that do.

    others: widths of other layers, which a number that is named divides too.
    With that, the super-channels of one group of the first convolution spread over all groups of the last.
    """
    for count in groups:
        if channels % count:
            raise ModelError(
                f"{where}: {channels} channels do not divide into {count} groups; "
                f"nearest that work: {nearest(count, divisors(math.gcd(channels, *others)))}"
            )


def path_counts(channels: int, sizes: Sequence[int]) -> Paths:
    """Paths from each input to each output through the block, (outputs, inputs): the product of the supports.

    All ones is the complementary condition; a zero is an output that never sees an input.
    Raises ModelError where a K_l does not divide the channels.
    """
    paths = np.eye(channels, dtype=np.int64)
    for size in sizes:
        check_loose(channels, (size,), "interleaved block")
        paths = grouped_support(channels, channels, channels // size) @ paths
        paths = paths[shuffle_indices(channels, channels // size)]
    return paths


def grouped_support(outputs: int, inputs: int, groups: int) -> Paths:
    """Where the kernel of a grouped convolution, as a matrix (outputs, inputs), is not zero."""
    to, of = np.arange(outputs) // (outputs // groups), np.arange(inputs) // (inputs // groups)
    support: Paths = (to[:, None] == of).astype(np.int64)
    return support


def _factorings(channels: int, layers: int, first: int | None) -> Iterator[tuple[int, ...]]:
    """(K_1, K_2 <= ... <= K_L) with product C: the order of the 1x1 layers changes no count."""
    for start in divisors(channels) if first is None else (first,):
        if start >= 1 and channels % start == 0:
            yield from ((start, *rest) for rest in _ascending(channels // start, layers - 1, 2))


def _ascending(product: int, count: int, least: int) -> Iterator[tuple[int, ...]]:
    if count == 1:
        if product >= least:
            yield (product,)
        return
    for head in divisors(product):
        if head >= least and head**count <= product:
            yield from ((head, *rest) for rest in _ascending(product // head, count - 1, head))


def _has_factors(channels: int, layers: int, first: int | None) -> bool:
    return next(_factorings(channels, layers, first), None) is not None


def _leaves_whole(channels: int, layers: int, size: int) -> bool:
    rest, remainder = divmod(channels, size ** (layers - 2))
    return not remainder and rest >= 2

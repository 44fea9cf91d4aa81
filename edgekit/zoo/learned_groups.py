"""Learned group convolution in numpy: which inputs a group keeps, and the same layer as index and grouped kernel.

Kernels here are matrices (inputs, outputs), as dense layers and 1x1 convolutions hold them. Group g of G are the
outputs g, g + G, g + 2 G, ... Source: arXiv:1711.09224, section 3, and the authors' numbering of the groups.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgekit.graph.ir import Array

Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]


def importance(kernel: Array, groups: int) -> Array:
    """Sum of |weights| from each input into each group, (inputs, groups)."""
    inputs, outputs = kernel.shape
    sums: Array = np.abs(kernel).reshape(inputs, outputs // groups, groups).sum(axis=1)
    return sums


def kept_inputs(kernel: Array, groups: int, kept: int) -> Index:
    """The `kept` most important inputs of each group, ascending, (groups, kept); equal ones in order of their number.

    Dropping an input never changes another's weights, so this is what all stages of condensing together leave of a
    kernel that is not trained between them.
    """
    order = np.argsort(-importance(kernel, groups), axis=0, kind="stable")
    index: Index = np.sort(order[:kept], axis=0).T
    return index


def mask_of(index: Index, inputs: int, outputs: int) -> Mask:
    """Which weights of a kernel (inputs, outputs) are alive where group g keeps the inputs index[g]."""
    groups = len(index)
    alive = np.zeros((inputs, groups), np.bool_)
    for group, chosen in enumerate(index):
        alive[chosen, group] = True
    return np.tile(alive, outputs // groups)


def grouped_kernel(kernel: Array, index: Index) -> Array:
    """The living weights as a grouped kernel (kept, outputs): its outputs are group after group.

    A channel shuffle by the number of groups brings the outputs back into the kernel's order.
    """
    groups = len(index)
    return np.concatenate([kernel[chosen, group::groups] for group, chosen in enumerate(index)], axis=1)

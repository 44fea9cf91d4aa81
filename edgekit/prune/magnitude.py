"""Magnitude pruning: which weights go, how many in each layer, and how fast while training.

Sources: arXiv:1506.02626 (magnitudes per layer, sensitivity by layer), arXiv:1710.01878 (gradual schedule).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.errors import ModelError
from edgekit.graph.compensation import FloatArray, IntArray, descend, sweep
from edgekit.graph.ir import Array


def prune_smallest(weights: Array, sparsity: float) -> Array:
    """The weights with the share `sparsity` of them of least magnitude set to zero, rounded down to whole weights.

    Of equal magnitudes the first ones go. Raises ModelError for a sparsity outside 0 to 1.
    """
    count = int(check_sparsity(sparsity) * weights.size)
    pruned: Array = weights.copy()
    pruned.reshape(-1)[np.argsort(np.abs(weights), axis=None, kind="stable")[:count]] = 0
    return pruned


def choose_sparsities(
    weights: Mapping[str, Array], costs: Mapping[str, float | Array], sparsity: float
) -> dict[str, float]:
    """Sparsity of each layer so that all together have `sparsity` and the sum of cost * weight^2 removed is least.

    costs: by layer, what an error of 1 in a weight costs the network: one number, or an array that broadcasts to the
    weights. Layers that are cheap to disturb give more. Raises ModelError for a sparsity outside 0 to 1 and for a
    layer without costs.
    """
    missing = [name for name in weights if name not in costs]
    if missing:
        raise ModelError(f"layer {missing[0]!r} has no sensitivity: measure it, or leave the layer out")
    saliency = {name: (np.asarray(costs[name]) * np.square(w, dtype=np.float64)).ravel() for name, w in weights.items()}
    owner = np.repeat(np.arange(len(saliency)), [len(values) for values in saliency.values()])
    order = np.argsort(np.concatenate([*saliency.values(), np.empty(0)]), kind="stable")
    removed = np.bincount(owner[order[: int(check_sparsity(sparsity) * len(order))]], minlength=len(saliency))
    return {name: removed[i] / max(len(values), 1) for i, (name, values) in enumerate(saliency.items())}


def prune_compensated(weights: FloatArray, gram: FloatArray, sparsity: float, passes: int = 1) -> FloatArray:
    """Weights (groups, K, N) of which the share `sparsity` is zero and the others make up for it, without training.

    gram: (groups, K, K), the inputs' second moments, positive definite (`graph.compensation.damped`). Which weights go
    is decided by magnitude and the power of their inputs; then the remaining ones are re-fitted.
    Raises ModelError for a sparsity outside 0 to 1.
    """
    power = np.diagonal(gram, axis1=1, axis2=2)[:, :, None]
    kept = prune_smallest(weights * np.sqrt(power), sparsity) != 0

    def choose(inputs: IntArray, values: FloatArray, costs: FloatArray) -> FloatArray:
        return np.where(kept[np.arange(len(kept)), inputs], values, 0.0)

    pruned = sweep(weights, gram, choose)
    for _ in range(passes):
        pruned = descend(weights, gram, pruned, choose)
    return pruned


@dataclass(frozen=True, slots=True)
class CubicSchedule:
    """Sparsity by training step: `initial` up to step `begin`, `final` from step `end`, in between

    final + (initial - final) * (1 - (step - begin) / (end - begin))^3: fast at first, while much can go
    (arXiv:1710.01878, equation 1). Masks are renewed every `every` steps.
    Raises ModelError for sparsities outside 0 to 1 and for an end that does not follow the beginning.
    """

    final: float
    begin: int
    end: int
    initial: float = 0.0
    every: int = 1

    def __post_init__(self) -> None:
        check_sparsity(self.initial)
        check_sparsity(self.final)
        if not 0 <= self.begin < self.end or self.every < 1:
            raise ModelError(
                f"pruning from step {self.begin} to {self.end}, every {self.every}: it must begin before it ends"
            )

    def sparsity(self, step: int) -> float:
        """The share of zeros that is wanted after `step`."""
        if step >= self.end:
            return self.final
        left = 1 - max(step - self.begin, 0) / (self.end - self.begin)
        return self.final + (self.initial - self.final) * left**3

    def is_due(self, step: int) -> bool:
        """Whether the masks are renewed at this step."""
        return self.begin <= step <= self.end and ((step - self.begin) % self.every == 0 or step == self.end)


def check_sparsity(sparsity: float) -> float:
    """The sparsity itself. Raises ModelError where it is no share."""
    if not 0 <= sparsity <= 1:
        raise ModelError(f"a sparsity of {sparsity} is no share of the weights: give 0 to 1, such as 0.7 for 70 %")
    return sparsity

"""How far a changed network's outputs have moved from the float network's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.graph.ir import Array, Graph

Outputs = Sequence[tuple[Array, ...]]
"""For each image the value of each of `head_names`."""


def head_names(graph: Graph) -> tuple[str, ...]:
    """The activations that are compared: the graph's outputs, in place of a softmax the logits that it reads."""
    names = []
    for name in graph.outputs:
        producer = graph.producer(name)
        names.append(producer.inputs[0] if producer is not None and producer.op == "softmax" else name)
    return tuple(names)


def drift(reference: Outputs, changed: Outputs) -> float:
    """Mean over the images, summed over the outputs: divergence of the class probabilities (Kullback-Leibler, nats).

    An output that is no row of several logits counts by its square error relative to the reference's power.
    """
    return float(np.mean([sum(map(_one, a, b)) for a, b in zip(reference, changed, strict=True)]))


def expected_drop(reference: Outputs, changed: Outputs) -> float:
    """Points of top-1 accuracy that the first output is expected to lose, from 0 to 100, without any labels.

    The float network's own probability of its prediction, less its probability of the changed network's prediction.
    Where it knows how sure it may be, this is the loss of accuracy, with a fraction of the noise that counting has.
    """
    lost = []
    for (a, *_), (b, *_) in zip(reference, changed, strict=True):
        probabilities = np.exp(log_probabilities(a.ravel()))
        lost.append(probabilities.max() - probabilities[int(b.argmax())])
    return 100 * float(np.mean(lost))


def log_probabilities(logits: Array) -> Array:
    """Logarithms of the softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _one(reference: Array, changed: Array) -> float:
    if reference.ndim == 2 and reference.shape[1] > 1:
        p, q = log_probabilities(reference), log_probabilities(changed)
        return float((np.exp(p) * (p - q)).sum())
    power = np.square(reference, dtype=np.float64).sum()
    return float(np.square(changed.astype(np.float64) - reference).sum() / max(power, np.finfo(np.float64).tiny))

"""What the networks for CIFAR's 32x32 pictures share: options and preprocessing."""

from __future__ import annotations

from dataclasses import replace

from edgekit.data.preprocess import Preprocessing
from edgekit.zoo.options import CLASSES, RESOLUTION

CIFAR_RESOLUTION = replace(RESOLUTION, default=32)
CIFAR_CLASSES = replace(CLASSES, default=10)

CIFAR = Preprocessing(
    height=32,
    width=32,
    mean=(125.307, 122.961, 113.8575),
    std=(62.9932, 62.0887, 66.7048),
)
"""Mean and standard deviation of CIFAR-10's training pictures (0.4914, 0.4822, 0.4465; 0.2470, 0.2435, 0.2616)."""

"""The networks of the fusion benchmark, where their torch form comes from, and what is aimed at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COLUMNS = ("int8 tflite", "fp32 tflite", "fp32 onnx", "int8 onnx")


@dataclass(frozen=True, slots=True)
class Network:
    """zoo, options: how edgekit builds it. torch: (module of pytorchcv.models, function) of the same structure.

    targets: (a)/(c) in the order of COLUMNS.
    """

    name: str
    zoo: str
    options: Mapping[str, Any] = field(default_factory=dict)
    torch: tuple[str, str] | None = None
    targets: tuple[float, ...] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that have a usual way: without a torch network, the TFLite ones.

        tf2onnx leaves Keras's grouped convolutions as a compiled function that onnxruntime does not know.
        """
        return COLUMNS if self.torch else COLUMNS[:2]


NETWORKS = (
    Network(
        "shufflenet_v1_g3", "shufflenet_v1", {"groups": 3}, ("shufflenet", "shufflenet_g3_w1"), (1.4, 1.1, 1.05, 1.1)
    ),
    Network("shufflenet_v1_g8", "shufflenet_v1", {"groups": 8}, ("shufflenet", "shufflenet_g8_w1")),
    Network("shufflenet_v2_0.5", "shufflenet_v2", {"alpha": 0.5}, ("shufflenetv2", "shufflenetv2_wd2")),
    Network("shufflenet_v2_1", "shufflenet_v2", {}, ("shufflenetv2", "shufflenetv2_w1"), (1.4, 1.2, 1.08, 1.2)),
    Network("shufflenet_v2_2", "shufflenet_v2", {"alpha": 2.0}, ("shufflenetv2", "shufflenetv2_w2")),
    Network("igcv3_d", "igcv3", {}, ("igcv3", "igcv3_w1"), (1.6, 1.35, 1.1, 1.15)),
    Network("igcv2", "igcv2"),
    Network("condensenet_g4", "condensenet", {}, ("condensenet", "condensenet74_c4_g4"), (2.6, 1.5, 1.2, 1.3)),
    Network("condensenet_g8", "condensenet", {"groups": 8, "condense": 8}, ("condensenet", "condensenet74_c8_g8")),
    Network("squeezenext_23", "squeezenext", {}, ("squeezenext", "sqnxt23_w1")),
    Network("mobilenet_v2", "mobilenet_v2", {}, ("mobilenetv2", "mobilenetv2_w1"), (1.0, 1.0, 1.0, 1.0)),
    Network("squeezenet", "squeezenet", {}, ("squeezenet", "squeezenet_v1_0"), (1.0, 1.0, 1.0, 1.0)),
)
"""All with their default input: 224 pixels, the two Squeeze networks 227."""


def network(name: str) -> Network:
    """The row of that name. Raises SystemExit with the names that there are."""
    for row in NETWORKS:
        if row.name == name:
            return row
    raise SystemExit(f"no network {name!r}; there are {', '.join(n.name for n in NETWORKS)}")

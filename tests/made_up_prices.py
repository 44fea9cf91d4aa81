"""Cost-model coefficients of no device, all above 0."""

from __future__ import annotations

from edgekit.passes.target import Coefficients

TRUE = Coefficients(
    overhead=400.0,
    byte=0.005,
    piece=1.5,
    element=0.3,
    block=2.0,
    gather=1.6,
    gather_overhead=9000.0,
    arithmetic=0.02,
    average=0.4,
    mac=0.002,
    window_mac=0.0018,
    depthwise_mac=0.015,
    ragged_depthwise_mac=0.07,
    group=0.9,
    window_group=1.4,
    grouped=0.1,
    output=0.09,
    ragged=0.2,
    weight=0.01,
    inputs_step=4,
    outputs_step=16,
    depthwise_step=8,
)

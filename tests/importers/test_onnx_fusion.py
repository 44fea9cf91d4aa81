"""An imported ShuffleNet V2 and the zoo's are the same to channel fusion."""

from __future__ import annotations

from collections import Counter

import pytest

torch = pytest.importorskip("torch")
from onnx_oracle import settled, torch_bytes  # noqa: E402 - needs torch
from pytorchcv.models import shufflenetv2, shufflenetv2b  # noqa: E402 - needs torch

from edgekit.graph import Graph  # noqa: E402
from edgekit.importers.onnx import import_onnx  # noqa: E402
from edgekit.passes import apply_passes  # noqa: E402
from edgekit.passes.fuse_channels import fuse_channels  # noqa: E402
from edgekit.passes.target import DEFAULT_ONNX, DEFAULT_TFLITE  # noqa: E402
from edgekit.zoo import build_model  # noqa: E402

SIZE = 64


def imported(module: torch.nn.Module) -> Graph:
    module.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    module = settled(module, (1, 3, SIZE, SIZE))
    return apply_passes(import_onnx(torch_bytes(module, (1, 3, SIZE, SIZE), opset=13, dynamo=False)))[0]


@pytest.mark.parametrize(
    ("build", "unit"), [(shufflenetv2.shufflenetv2_w1, "torchvision"), (shufflenetv2b.shufflenetv2b_w1, "megvii")]
)
def test_both_are_fused_alike(build, unit):
    torch.manual_seed(0)
    twins = imported(build()), apply_passes(build_model("shufflenet_v2", alpha=1.0, resolution=SIZE, unit=unit))[0]
    for target in (DEFAULT_TFLITE, DEFAULT_ONNX):
        (theirs, report), (ours, own) = (fuse_channels(twin, target) for twin in twins)
        assert report.changed
        assert report.before == own.before == {"channel_shuffle": 16, "split": 13, "concat": 16}
        assert report.after == own.after
        softmax = [n for n in ours.nodes if n.op == "softmax"]
        assert Counter(n.op for n in ours.nodes) - Counter(n.op for n in theirs.nodes) == Counter(softmax=len(softmax))
        assert sorted(ours.shape(n.output) for n in ours.nodes if n not in softmax) == sorted(
            theirs.shape(n.output) for n in theirs.nodes
        )
        prices = target.graph_ns(ours) - sum(target.node_ns(ours, n) for n in softmax), target.graph_ns(theirs)
        assert prices[0] == pytest.approx(prices[1])

"""pytorchcv's networks, narrow and short, through PyTorch's exporters: equal outputs, one op a shuffle."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorchcv")
from onnx_oracle import check_import, ops, random_inputs, run_original, settled, torch_bytes  # noqa: E402 - needs torch

from edgekit.export.onnx import onnx_bytes  # noqa: E402
from edgekit.export.tflite import tflite_bytes  # noqa: E402
from edgekit.graph import Graph  # noqa: E402
from edgekit.importers.onnx import import_onnx  # noqa: E402
from edgekit.passes import apply_passes  # noqa: E402
from edgekit.runtime import Session  # noqa: E402

Network = tuple[str, str, dict[str, Any], int, dict[str, int]]
NETWORKS: dict[str, Network] = {
    # name: (module, class or function, its arguments, input size, ops that must be there)
    "squeezenet": (
        "squeezenet",
        "SqueezeNet",
        {
            "channels": [[32, 32], [64, 48]],
            "residuals": None,
            "init_block_kernel_size": 3,
            "init_block_channels": 16,
        },
        48,
        {"conv2d": 14, "concat": 4, "max_pool": 2, "add": 0},
    ),
    "squeezeresnet": ("squeezenet", "squeezeresnet_v1_1", {}, 48, {"conv2d": 26, "add": 4}),
    "squeezenext": (
        "squeezenext",
        "SqueezeNext",
        {"channels": [[16, 16], [32, 32], [64]], "init_block_channels": 16, "final_block_channels": 32},
        64,
        {"add": 5},
    ),
    "mobilenet": (
        "mobilenet",
        "MobileNet",
        {"channels": [[8], [16], [32, 32], [64, 64]], "first_stage_stride": False},
        32,
        {"conv2d": 11, "relu": 11},
    ),
    "mobilenetv2": (
        "mobilenetv2",
        "MobileNetV2",
        {
            "channels": [[8], [12, 12], [16, 16, 24]],
            "init_block_channels": 8,
            "final_block_channels": 64,
            "remove_exp_conv": True,
        },
        32,
        {"relu6": 13, "add": 3},
    ),
    "mobilenetv3": (
        "mobilenetv3",
        "get_mobilenetv3",
        {"version": "small", "width_scale": 0.35},
        32,
        {"hard_swish": 19, "hard_sigmoid": 9, "mul": 9, "sigmoid": 0},
    ),
    "shufflenet": (
        "shufflenet",
        "ShuffleNet",
        {"channels": [[48, 48, 48], [96, 96]], "init_block_channels": 24, "groups": 3},
        32,
        {"channel_shuffle": 5, "concat": 2, "add": 3},
    ),
    "shufflenet_g8": (
        "shufflenet",
        "ShuffleNet",
        {"channels": [[96, 96], [192, 192]], "init_block_channels": 32, "groups": 8},
        32,
        {"channel_shuffle": 4},
    ),
    "shufflenetv2": (
        "shufflenetv2",
        "ShuffleNetV2",
        {"channels": [[24, 24, 24], [48, 48]], "init_block_channels": 12, "final_block_channels": 64},
        32,
        {"channel_shuffle": 5, "split": 3, "concat": 5},
    ),
    "shufflenetv2_se_residual": (
        "shufflenetv2",
        "ShuffleNetV2",
        {
            "channels": [[32, 32, 32], [64, 64]],
            "init_block_channels": 16,
            "final_block_channels": 64,
            "use_se": True,
            "use_residual": True,
        },
        32,
        {"channel_shuffle": 5, "split": 3, "mul": 5, "add": 3},
    ),
    "shufflenetv2b": (
        "shufflenetv2b",
        "ShuffleNetV2b",
        {"channels": [[24, 24, 24], [48, 48]], "init_block_channels": 12, "final_block_channels": 64},
        32,
        {"channel_shuffle": 5, "split": 3, "concat": 5},
    ),
    "shufflenetv2b_inverse": (
        "shufflenetv2b",
        "ShuffleNetV2b",
        {
            "channels": [[24, 24], [48, 48]],
            "init_block_channels": 12,
            "final_block_channels": 64,
            "shuffle_group_first": False,
        },
        32,
        {"channel_shuffle": 4},
    ),
    "menet": ("menet", "menet108_8x1_g3", {}, 32, {"channel_shuffle": 16, "sigmoid": 16}),
    "igcv3": (
        "igcv3",
        "IGCV3",
        {"channels": [[8], [12, 12], [16, 16, 24]], "init_block_channels": 8, "final_block_channels": 64},
        32,
        {"relu6": 8, "add": 3},
    ),
    "condensenet": (
        "condensenet",
        "CondenseNet",
        {"channels": [[24, 32, 40], [56, 72], [104]], "init_block_channels": 16, "groups": 4},
        32,
        {"channel_shuffle": 6, "gather": 7, "avg_pool": 2},
    ),
    "resnet": (
        "resnet",
        "ResNet",
        {
            "channels": [[16, 16], [32], [64]],
            "init_block_channels": 8,
            "bottleneck": True,
            "conv1_stride": True,
        },
        48,
        {"add": 4, "max_pool": 1},
    ),
    "seresnet": (
        "seresnet",
        "SEResNet",
        {
            "channels": [[32], [64]],
            "init_block_channels": 16,
            "bottleneck": False,
            "conv1_stride": True,
        },
        32,
        {"sigmoid": 2, "mul": 2, "add": 2},
    ),
    "densenet": (
        "densenet",
        "DenseNet",
        {"channels": [[40, 48], [32, 40, 48]], "init_block_channels": 32},
        32,
        {"concat": 5, "avg_pool": 1},
    ),
    "inceptionv3": (
        "inceptionv3",
        "InceptionV3",
        {
            "channels": [[256, 288], [768, 768], [1280, 2048]],
            "init_block_channels": 192,
            "b_mid_channels": [128],
        },
        80,
        {"conv2d": 48, "avg_pool": 4, "max_pool": 4},
    ),
    "efficientnet_b0": ("efficientnet", "efficientnet_b0", {}, 32, {"swish": 49, "sigmoid": 16, "mul": 16}),
    "efficientnet_b0b": ("efficientnet", "efficientnet_b0b", {}, 64, {"swish": 49}),
    "mixnet": ("mixnet", "mixnet_s", {}, 32, {"split": 34, "swish": 39}),
}
ALIKE = ("squeezeresnet", "menet", "mixnet", "efficientnet_b0b", "shufflenet_g8", "shufflenetv2b_inverse")
THROUGH_DYNAMO = [name for name in NETWORKS if name not in ALIKE]
"""Each of these exports takes seconds; what is left out adds nothing of its own."""
EXPORTED = ("squeezenet", "mobilenetv3", "shufflenet", "shufflenetv2b", "igcv3", "condensenet", "efficientnet_b0")


@functools.cache
def network(name: str) -> Any:
    """The network with random weights and random index layers, its last pool fit for small images."""
    family, builder, arguments, size, _ = NETWORKS[name]
    torch.manual_seed(0)
    module = getattr(importlib.import_module(f"pytorchcv.models.{family}"), builder)(**arguments)
    if "squeeze" in name and "next" not in name:
        module.output[-1] = torch.nn.AdaptiveAvgPool2d(1)
    else:
        module.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    generator = torch.Generator().manual_seed(1)
    for key, buffer in module.named_buffers():
        if key.endswith("index"):
            buffer.copy_(torch.randint(len(buffer), buffer.shape, generator=generator))
    return settled(module, (1, 3, size, size))


@functools.cache
def exported(name: str, dynamo: bool, opset: int) -> bytes:
    size = NETWORKS[name][3]
    return torch_bytes(network(name), (1, 3, size, size), opset=opset, dynamo=dynamo)


def check_ops(name: str, graph: Graph) -> None:
    """As many shuffles and index layers as the network's own modules, and no reshape or transpose around them."""
    found = ops(graph)
    modules = list(network(name).modules())
    shuffles = sum(type(m).__name__ in ("ChannelShuffle", "ChannelShuffle2") for m in modules)
    assert found.count("channel_shuffle") == shuffles
    assert found.count("gather") == sum("index" in dict(m.named_buffers(recurse=False)) for m in modules)
    assert {op: found.count(op) for op in NETWORKS[name][4]} == NETWORKS[name][4]
    assert not {"transpose", "slice", "identity", "dropout"} & set(found)
    assert found.count("reshape") <= 1  # of the vector before or after the classifier
    assert "reshape" not in found[:-2]


@pytest.mark.parametrize("name", NETWORKS)
def test_torchscript(name: str) -> None:
    check_ops(name, check_import(exported(name, False, 13), deep=True))


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("onnxscript"), reason="onnxscript is not installed")
@pytest.mark.parametrize("name", THROUGH_DYNAMO)
def test_dynamo(name: str) -> None:
    check_ops(name, check_import(exported(name, True, 20), deep=True))


@pytest.mark.parametrize("opset", [11, 15, 18])
@pytest.mark.parametrize("name", ["mobilenetv3", "shufflenet", "shufflenetv2", "condensenet"])
def test_opsets(name: str, opset: int) -> None:
    check_ops(name, check_import(exported(name, False, opset), deep=True))


@pytest.mark.parametrize("name", EXPORTED)
def test_files_written_from_the_import_agree(name: str) -> None:
    """TFLite and ONNX files, in their runtimes, against onnxruntime on PyTorch's own file."""
    source = exported(name, False, 13)
    graph = import_onnx(source)
    feeds = random_inputs(graph)
    (expected,) = run_original(source, graph, feeds)
    lowered, _ = apply_passes(graph)
    data = onnx_bytes(lowered)
    for written in (tflite_bytes(lowered), data):
        with Session.open(written) as session:
            found = session.run_float(next(iter(feeds.values())))[0]
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    again = ops(import_onnx(data))
    assert again.count("channel_shuffle") == ops(lowered).count("channel_shuffle")
    assert again.count("gather") == ops(lowered).count("gather")

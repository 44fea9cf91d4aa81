"""How other frameworks name the layers of the zoo's networks: a table of layouts, each with what it demands.

Names are those of torchvision's state dicts and of the SqueezeNet authors' Caffe file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Names = Callable[[Sequence[str], Mapping[str, Any]], Iterator[tuple[str, str]]]
"""From the graph's layers with weights and the model's options: (layer, the file's name of it)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one source names and stores the weights of one model.

    title: whose they are. requires: options that the graph must have to compute what the weights were trained for.
    preprocessing: a key of `edgekit.data.preprocess.PRESETS`. joint: what stands between a layer's name and a role's;
    roles: the file's names by the graph's.
    """

    model: str
    title: str
    requires: Mapping[str, Any]
    names: Names
    preprocessing: str
    joint: str
    roles: Mapping[str, str]


SQUEEZE_MODULES = {"1.0": (3, 4, 5, 7, 8, 9, 10, 12), "1.1": (3, 4, 6, 7, 9, 10, 11, 12)}
"""Positions of fire 2 to 9 among torchvision's `features`; pools stand between."""

SQUEEZE_PARTS = {"squeeze1x1": "squeeze", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}
CAFFE_PARTS = {"squeeze1x1": "conv1x1_1", "expand1x1": "conv1x1_2", "expand3x3": "conv3x3_2"}

SHUFFLE_PARTS = {
    "left_depthwise": "branch1.0",
    "left_depthwise_bn": "branch1.1",
    "left_pointwise": "branch1.2",
    "left_pointwise_bn": "branch1.3",
    "right_reduce": "branch2.0",
    "right_reduce_bn": "branch2.1",
    "right_depthwise": "branch2.3",
    "right_depthwise_bn": "branch2.4",
    "right_expand": "branch2.5",
    "right_expand_bn": "branch2.6",
}

SHUFFLE_ENDS = {
    "conv1": "conv1.0",
    "conv1_bn": "conv1.1",
    "conv5": "conv5.0",
    "conv5_bn": "conv5.1",
    "logits": "fc",
}


def _squeezenet(layers: Sequence[str], options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    modules = SQUEEZE_MODULES[options["version"]]
    yield from (("conv1", "features.0"), ("conv10", "classifier.1"))
    for fire, module in enumerate(modules, start=2):
        yield from ((f"fire{fire}/{part}", f"features.{module}.{name}") for part, name in SQUEEZE_PARTS.items())


def _caffe_squeezenet(layers: Sequence[str], options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from (("conv1", "conv1"), ("conv10", "conv_final"))
    for fire in range(2, 10):
        yield from ((f"fire{fire}/{part}", f"fire{fire}/{name}") for part, name in CAFFE_PARTS.items())


def _shufflenet_v2(layers: Sequence[str], options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from SHUFFLE_ENDS.items()
    for layer in layers:
        unit = re.fullmatch(r"stage(\d+)_(\d+)/(\w+)", layer)
        if unit and unit[3] in SHUFFLE_PARTS:
            yield layer, f"stage{unit[1]}.{int(unit[2]) - 1}.{SHUFFLE_PARTS[unit[3]]}"


def _mobilenet_v2(layers: Sequence[str], options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """`features.<block>.conv`: pairs of convolution and batch norm, the projection's two side by side."""
    blocks = _blocks(layers, r"(?:expanded_conv|block_(\d+))_")
    yield from (("Conv1", "features.0.0"), ("bn_Conv1", "features.0.1"), ("predictions", "classifier.1"))
    yield from (("Conv_1", f"features.{len(blocks) + 1}.0"), ("Conv_1_bn", f"features.{len(blocks) + 1}.1"))
    for number, (prefix, own) in enumerate(blocks, start=1):
        parts = [part for part in ("expand", "depthwise") if f"{prefix}{part}" in own]
        for i, part in enumerate(parts):
            yield f"{prefix}{part}", f"features.{number}.conv.{i}.0"
            yield f"{prefix}{part}_BN", f"features.{number}.conv.{i}.1"
        yield f"{prefix}project", f"features.{number}.conv.{len(parts)}"
        yield f"{prefix}project_BN", f"features.{number}.conv.{len(parts) + 1}"


def _mobilenet_v3(layers: Sequence[str], options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """`features.<block>.block.<part>`: convolution and batch norm each, squeeze-excite with `fc1` and `fc2`."""
    blocks = _blocks(layers, r"expanded_conv_(?:(\d+)_)?")
    yield from (("conv", "features.0.0"), ("conv_bn", "features.0.1"))
    yield from (("conv_1", f"features.{len(blocks) + 1}.0"), ("conv_1_bn", f"features.{len(blocks) + 1}.1"))
    yield from (("conv_2", "classifier.0"), ("logits", "classifier.3"))
    for number, (prefix, own) in enumerate(blocks, start=1):
        kinds = ("expand", "depthwise", "squeeze_excite_conv", "project")
        for i, part in enumerate([part for part in kinds if f"{prefix}{part}" in own]):
            module = f"features.{number}.block.{i}"
            second = ("_1", "fc1", "fc2") if part == "squeeze_excite_conv" else ("_bn", "0", "1")
            yield f"{prefix}{part}", f"{module}.{second[1]}"
            yield f"{prefix}{part}{second[0]}", f"{module}.{second[2]}"


ALEXNET_LAYERS = {
    **{f"conv{number}": f"features.{module}" for number, module in enumerate((0, 3, 6, 8, 10), start=1)},
    "fc6": "classifier.1",
    "fc7": "classifier.4",
    "fc8": "classifier.6",
}

VGG_ENDS = {"fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}

RESNET_ENDS = {"conv1_conv": "conv1", "conv1_bn": "bn1", "predictions": "fc"}


def _alexnet(layers: Sequence[str], options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ALEXNET_LAYERS.items()


def _vgg(layers: Sequence[str], options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """`features.<n>`: a ReLU stands behind each convolution, a pool behind each block."""
    yield from VGG_ENDS.items()
    module, block = 0, "1"
    for layer in layers:
        found = re.fullmatch(r"block(\d+)_conv\d+", layer)
        if found:
            module += found[1] != block
            block = found[1]
            yield layer, f"features.{module}"
            module += 2


def _resnet(layers: Sequence[str], options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """`layer<stage>.<unit>`: convolutions and batch norms by number, the shortcut as `downsample`."""
    yield from RESNET_ENDS.items()
    for layer in layers:
        found = re.fullmatch(r"conv(\d+)_block(\d+)_(\d)_(conv|bn)", layer)
        if found:
            unit, number, kind = f"layer{int(found[1]) - 1}.{int(found[2]) - 1}", found[3], found[4]
            shortcut = f"downsample.{0 if kind == 'conv' else 1}"
            yield layer, f"{unit}.{shortcut if number == '0' else kind + number}"


DENSENET_ENDS = {
    "conv1_conv": "features.conv0",
    "conv1_bn": "features.norm0",
    "bn": "features.norm5",
    "predictions": "classifier",
}


def _densenet(layers: Sequence[str], options: Mapping[str, Any], joint: str = "") -> Iterator[tuple[str, str]]:
    """`denseblock<b>.denselayer<n>`: norm1, conv1, norm2, conv2; `transition<b>`: norm and conv."""
    yield from DENSENET_ENDS.items()
    for layer in layers:
        if unit := re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", layer):
            kind, number = ("norm", int(unit[3]) + 1) if unit[4] == "bn" else ("conv", int(unit[3]))
            yield layer, f"features.denseblock{int(unit[1]) - 1}.denselayer{unit[2]}.{kind}{joint}{number}"
        elif transition := re.fullmatch(r"pool(\d)_(conv|bn)", layer):
            kind = "norm" if transition[2] == "bn" else "conv"
            yield layer, f"features.transition{int(transition[1]) - 1}.{kind}"


def _published_densenet(layers: Sequence[str], options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The hosted files are older than the names: `norm.1` and not `norm1`."""
    return _densenet(layers, options, joint=".")


def _blocks(layers: Sequence[str], pattern: str) -> list[tuple[str, set[str]]]:
    """(prefix, its layers) of each block, in the order of the network."""
    found: dict[str, set[str]] = {}
    for layer in layers:
        matched = re.match(pattern, layer)
        if matched:
            found.setdefault(matched[0], set()).add(layer)
    return list(found.items())


TORCH_ROLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _torchvision(model: str, names: Names, **requires: Any) -> Layout:
    return Layout(model, "torchvision", requires, names, "torch", ".", TORCH_ROLES)


LAYOUTS: tuple[Layout, ...] = (
    _torchvision("squeezenet", _squeezenet, conv10_padding=0),
    _torchvision("shufflenet_v2", _shufflenet_v2, unit="torchvision"),
    _torchvision("mobilenet_v2", _mobilenet_v2, padding="symmetric"),
    _torchvision("mobilenet_v3_small", _mobilenet_v3, padding="symmetric"),
    _torchvision("mobilenet_v3_large", _mobilenet_v3, padding="symmetric"),
    _torchvision("alexnet", _alexnet, form="torch"),
    _torchvision("vgg", _vgg),
    _torchvision("resnet", _resnet, form="torch"),
    _torchvision("resnext", _resnet),
    _torchvision("densenet", _densenet),
    _torchvision("densenet", _published_densenet),
    Layout(
        "squeezenet",
        "Caffe",
        {"version": "1.0", "conv10_padding": 1},
        _caffe_squeezenet,
        "caffe",
        "/",
        {"kernel": "w", "bias": "b"},
    ),
)

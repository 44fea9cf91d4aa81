"""Networks from PyTorch's two exporters: the import computes what onnxruntime computes, without needless nodes."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from onnx_oracle import check_import, ops, settled, torch_bytes  # noqa: E402 - needs torch

nn = torch.nn
needs_onnxscript = pytest.mark.skipif(not importlib.util.find_spec("onnxscript"), reason="onnxscript is not installed")
DYNAMO = pytest.param(True, id="dynamo", marks=needs_onnxscript)
EXPORTERS = [
    pytest.param(False, 11, id="torchscript-11"),
    pytest.param(False, 13, id="torchscript-13"),
    pytest.param(False, 17, id="torchscript-17"),
    pytest.param(True, 20, id="dynamo-20", marks=needs_onnxscript),
]


def conv_block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, **more: Any) -> list[Any]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False, **more)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU6()]


class InvertedResidual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 4 * channels
        self.layers = nn.Sequential(
            *conv_block(channels, wide, 1),
            *conv_block(wide, wide, groups=wide),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Any) -> Any:
        return x + self.layers(x)


class MobileNetLike(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*conv_block(3, 8, stride=2), InvertedResidual(8), *conv_block(8, 12, stride=2))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(12, 5))

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).mean([2, 3]))


class SqueezeExcite(nn.Module):
    def __init__(self, linear: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.act, self.pool, self.gate, self.linear = nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Hardsigmoid(), linear
        self.squeeze = nn.Linear(8, 4) if linear else nn.Conv2d(8, 4, 1)
        self.excite = nn.Linear(4, 8) if linear else nn.Conv2d(4, 8, 1)

    def forward(self, x: Any) -> Any:
        x = self.act(self.stem(x))
        y = self.pool(x)
        if self.linear:
            y = y.view(x.shape[0], x.shape[1])
        y = self.gate(self.excite(torch.relu(self.squeeze(y))))
        return x * (y.view(x.shape[0], x.shape[1], 1, 1) if self.linear else y)


class ShuffleUnit(nn.Module):
    def __init__(self, four_axes: bool) -> None:
        super().__init__()
        self.stem, self.branch = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.four_axes = four_axes

    def forward(self, x: Any) -> Any:
        left, right = self.stem(x).chunk(2, 1)
        x = torch.cat([left, torch.relu(self.branch(right))], 1)
        n, c, h, w = x.shape
        if self.four_axes:
            return x.view(n, 3, c // 3, h * w).transpose(1, 2).contiguous().view(n, c, h, w)
        return x.view(n, 3, c // 3, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)


class VggLike(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.norm = nn.Conv2d(3, 6, 3), nn.MaxPool2d(2), nn.BatchNorm1d(6 * 3 * 2)
        self.fc1, self.fc2 = nn.Linear(6 * 3 * 2, 7), nn.Linear(7, 4)

    def forward(self, x: Any) -> Any:
        x = self.norm(torch.flatten(torch.relu(self.pool(self.conv(x))), 1))
        return torch.softmax(self.fc2(torch.relu(self.fc1(x))), 1)


class Pools(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.max_ceil = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.avg_counting = nn.AvgPool2d(3, 2, 1, ceil_mode=True)
        self.avg_real = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)

    def forward(self, x: Any) -> Any:
        return self.max_ceil(x), self.avg_counting(x), self.avg_real(x), nn.functional.adaptive_max_pool2d(x, 1)


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=2)
        self.b = nn.Conv2d(8, 16, (1, 3), stride=(1, 2), padding=(0, 1), groups=8, bias=False)
        self.c = nn.SiLU()

    def forward(self, x: Any) -> Any:
        return self.c(self.b(nn.functional.pad(self.a(x), (1, 0, 2, 1))))


@pytest.mark.parametrize(("dynamo", "opset"), EXPORTERS)
@pytest.mark.parametrize("batch", [False, True])
def test_mobilenet_like(dynamo: bool, opset: int, batch: bool) -> None:
    torch.manual_seed(0)
    shape = (2 if batch and dynamo else 1, 3, 18, 14)  # the dynamo exporter takes a batch of one for fixed
    graph = check_import(torch_bytes(settled(MobileNetLike(), shape), shape, opset=opset, dynamo=dynamo, batch=batch))
    assert graph.shape("x") == (1, 18, 14, 3)
    assert not {"transpose", "reshape", "identity", "dropout"} & set(ops(graph))
    assert ops(graph).count("relu6") == 4
    assert ops(graph)[-2:] == ["global_avg_pool", "dense"]


@pytest.mark.parametrize(("dynamo", "opset"), EXPORTERS)
@pytest.mark.parametrize("linear", [False, True])
def test_squeeze_excite(dynamo: bool, opset: int, linear: bool) -> None:
    torch.manual_seed(0)
    graph = check_import(torch_bytes(SqueezeExcite(linear), (1, 3, 9, 8), opset=opset, dynamo=dynamo))
    found = ops(graph)
    assert found.count("hard_swish") == found.count("hard_sigmoid") == 1
    assert found.count("dense") == (2 if linear else 0)
    assert "transpose" not in found


@pytest.mark.parametrize(("dynamo", "opset"), EXPORTERS)
@pytest.mark.parametrize("four_axes", [False, True])
def test_shuffle_unit(dynamo: bool, opset: int, four_axes: bool) -> None:
    torch.manual_seed(0)
    graph = check_import(torch_bytes(ShuffleUnit(four_axes), (1, 3, 10, 8), opset=opset, dynamo=dynamo))
    assert ops(graph)[-1] == "channel_shuffle"
    assert graph.nodes[-1].attrs["groups"] == 3
    assert not {"transpose", "reshape", "gather"} & set(ops(graph))


@pytest.mark.parametrize(("dynamo", "opset"), EXPORTERS)
def test_flatten_permutes_dense_rows(dynamo: bool, opset: int) -> None:
    torch.manual_seed(0)
    graph = check_import(torch_bytes(settled(VggLike(), (1, 3, 8, 6)), (1, 3, 8, 6), opset=opset, dynamo=dynamo))
    assert "transpose" not in ops(graph)
    assert ops(graph).count("reshape") == 1


@pytest.mark.parametrize(("dynamo", "opset"), EXPORTERS)
@pytest.mark.parametrize("size", [(11, 8), (12, 13)])
def test_pools(dynamo: bool, opset: int, size: tuple[int, int]) -> None:
    graph = check_import(torch_bytes(Pools(), (1, 3, *size), opset=opset, dynamo=dynamo))
    assert ops(graph).count("avg_pool") == 2
    assert ops(graph).count("pad") == 1
    assert len(graph.outputs) == 4


@pytest.mark.parametrize(("dynamo", "opset"), EXPORTERS)
def test_grouped_and_dilated(dynamo: bool, opset: int) -> None:
    torch.manual_seed(0)
    graph = check_import(torch_bytes(Grouped(), (1, 4, 9, 11), opset=opset, dynamo=dynamo))
    first, second = (n for n in graph.nodes if n.op == "conv2d")
    assert first.attrs["dilation"] == (2, 2)
    assert (first.attrs["groups"], second.attrs["groups"]) == (2, 8)
    assert [op for op in ops(graph) if op != "pad"] == ["conv2d", "conv2d", "swish"]  # one exporter folds the pad


def test_layer_names_are_the_modules() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 5, 1))
    graph = check_import(torch_bytes(module, (1, 3, 5, 5), opset=17))
    assert [n.name for n in graph.nodes] == ["0", "1", "2"]
    assert {t.name for t in graph.constants()} == {"0/kernel", "2/kernel", "2/bias"}


def test_same_file_gives_same_graph() -> None:
    from edgekit.graph.text import graph_text
    from edgekit.importers.onnx import import_onnx

    torch.manual_seed(0)
    data = torch_bytes(SqueezeExcite(True), (1, 3, 8, 8), opset=13)
    assert graph_text(import_onnx(data)) == graph_text(import_onnx(data))

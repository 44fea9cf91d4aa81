"""torchvision's DenseNet: state dicts with its names, the hosted files' older ones too, give PyTorch's logits."""

from __future__ import annotations

import re

import numpy as np
import pytest
from onnx_run import run_logits
from test_torch_torchvision import refused, trained

from edgekit.importers.weights import load_weights
from edgekit.zoo import build_model

torch = pytest.importorskip("torch")
nn = torch.nn
CLASSES = 10


class Layer(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 128, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(128), nn.Conv2d(128, 32, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv2(self.norm2(self.conv1(self.norm1(x).relu())).relu())], 1)


class Transition(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x):
        return nn.functional.avg_pool2d(self.conv(self.norm(x).relu()), 2)


class DenseNet(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        parts = {"conv0": nn.Conv2d(3, 64, 7, 2, 3, bias=False), "norm0": nn.BatchNorm2d(64)}
        parts |= {"relu0": nn.ReLU(), "pool0": nn.MaxPool2d(3, 2, 1)}
        inputs = 64
        for number, count in enumerate(blocks, start=1):
            layers = {f"denselayer{i + 1}": Layer(inputs + 32 * i) for i in range(count)}
            parts[f"denseblock{number}"] = nn.Sequential()
            for name, layer in layers.items():
                parts[f"denseblock{number}"].add_module(name, layer)
            inputs += 32 * count
            if number < len(blocks):
                parts[f"transition{number}"] = Transition(inputs)
                inputs //= 2
        self.features = nn.Sequential()
        for name, part in parts.items():
            self.features.add_module(name, part)
        self.features.add_module("norm5", nn.BatchNorm2d(inputs))
        self.classifier = nn.Linear(inputs, CLASSES)

    def forward(self, x):
        return self.classifier(self.features(x).relu().mean([2, 3]))


@pytest.fixture(scope="module")
def net():
    return trained(DenseNet((6, 12, 24, 16)))


def hosted_names(state):
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value for key, value in state.items()}


@pytest.mark.parametrize("rename", [dict, hosted_names])
def test_logits_equal_torchs(tmp_path, net, rename):
    state = rename(net.state_dict())
    torch.save(state, tmp_path / "w.pth")
    plain = build_model("densenet", resolution=64, classes=CLASSES)
    graph = load_weights(plain, tmp_path / "w.pth")
    assert graph.metadata["weights"]["layout"] == "torchvision"
    assert graph.metadata["preprocessing"] == plain.metadata["preprocessing"]
    x = np.random.default_rng(1).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = net(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    assert np.ptp(theirs) > 0.01, "the test needs an output that is not flat"
    # Variances down to 1e-3: Keras's epsilon of 1.001e-5 in place of 1e-5 changes what they make by 5e-6 a layer.
    np.testing.assert_allclose(run_logits(graph, x), theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def test_another_depth_is_refused(tmp_path, net):
    torch.save(net.state_dict(), tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "no 'features.denseblock3.denselayer25.norm1.weight'", "densenet", depth=169)

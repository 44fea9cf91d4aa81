"""torchvision's AlexNet, VGG, ResNet and ResNeXt: state dicts with its names give PyTorch's outputs."""

from __future__ import annotations

import pytest
from test_torch_torchvision import CLASSES, check, refused, trained

torch = pytest.importorskip("torch")
nn = torch.nn


# -- networks whose modules bear torchvision's names -------------------------------------------------------------------


def dense(inputs, first):
    """Linear layers at `classifier.<first>`, three further and so on, as dropout and ReLU leave them."""
    drop = [nn.Dropout()] if first == 1 else []
    layers = [nn.Linear(inputs, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()]
    return nn.Sequential(*drop, *layers, *([] if drop else [nn.Dropout()]), nn.Linear(4096, CLASSES))


class Plain(nn.Module):
    def __init__(self, features, classifier):
        super().__init__()
        self.features, self.classifier = nn.Sequential(*features), classifier

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def alexnet():
    """For 95x95 pixels, of which 2x2 remain."""
    rows = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
    layers = []
    for number, row in enumerate(rows):
        layers += [nn.Conv2d(*row), nn.ReLU(), *([nn.MaxPool2d(3, 2)] if number in (0, 1, 4) else [])]
    return Plain(layers, dense(256 * 4, 1))


def vgg(counts):
    """For 64x64 pixels, of which 2x2 remain."""
    layers, inputs = [], 3
    for width, count in zip((64, 128, 256, 512, 512), counts, strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2d(2))
    return Plain(layers, dense(512 * 4, 0))


class Unit(nn.Module):
    def __init__(self, inputs, middle, width, stride, groups):
        super().__init__()
        rows = ((inputs, middle, 1, 1, 1), (middle, middle, 3, stride, groups), (middle, width, 1, 1, 1))
        if groups == 0:  # two 3x3
            rows = ((inputs, middle, 3, stride, 1), (middle, width, 3, 1, 1))
        self.count = len(rows)
        for number, (before, after, kernel, step, group) in enumerate(rows, start=1):
            conv = nn.Conv2d(before, after, kernel, step, kernel // 2, groups=group, bias=False)
            setattr(self, f"conv{number}", conv)
            setattr(self, f"bn{number}", nn.BatchNorm2d(after))
        self.downsample = None
        if stride > 1 or inputs != width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = y.relu() if number < self.count else y
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    def __init__(self, counts, groups, base=64):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for stage, count in enumerate(counts):
            width = 64 * 2**stage * (4 if groups else 1)
            units = []
            for number in range(count):
                stride = 2 if stage and not number else 1
                units.append(Unit(inputs, base * 2**stage, width, stride, groups))
                inputs = width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*units))
        self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean([2, 3]))


# -- outputs -----------------------------------------------------------------------------------------------------------

NETWORKS = [
    (alexnet, 16, "alexnet", {"form": "torch", "resolution": 95}),
    (lambda: vgg((1, 1, 2, 2, 2)), 22, "vgg", {"depth": 11}),
    (lambda: vgg((2, 2, 3, 3, 3)), 32, "vgg", {"depth": 16}),
    (lambda: ResNet((2, 2, 2, 2), 0), 122, "resnet", {"depth": 18, "form": "torch"}),
    (lambda: ResNet((3, 4, 6, 3), 1), 320, "resnet", {"depth": 50, "form": "torch"}),
    (lambda: ResNet((3, 4, 6, 3), 32, 128), 320, "resnext", {"depth": 50}),
]


@pytest.mark.parametrize(("make", "keys", "name", "options"), NETWORKS)
def test_outputs_equal_torchs(tmp_path, make, keys, name, options):
    """As many keys as the published files have."""
    net = trained(make())
    state = net.state_dict()
    assert len(state) == keys
    torch.save(state, tmp_path / "w.pth")
    check(net, tmp_path / "w.pth", name, **options)


@pytest.mark.parametrize(
    ("make", "name", "options", "message"),
    [
        (lambda: ResNet((3, 4, 6, 3), 1), "resnet", {}, "weights of resnet, .* with form paper: give --form torch"),
        (lambda: ResNet((2, 2, 2, 2), 0), "resnet", {"form": "torch"}, "weights of another architecture"),
    ],
)
def test_weights_of_another_form_or_depth_are_refused(tmp_path, make, name, options, message):
    torch.save(make().state_dict(), tmp_path / "w.pth")
    refused(tmp_path / "w.pth", message, name, **options)

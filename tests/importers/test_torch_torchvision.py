"""torchvision's networks: state dicts with its names, saved by PyTorch, give PyTorch's outputs."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

from edgekit.data.preprocess import PRESETS
from edgekit.errors import WeightsError
from edgekit.graph.interpret import interpret
from edgekit.importers.weights import load_weights
from edgekit.zoo import build_model

torch = pytest.importorskip("torch")
nn = torch.nn
CLASSES = 10


# -- networks whose modules bear torchvision's names -------------------------------------------------------------------


class Fire(nn.Module):
    def __init__(self, inputs, squeeze, expand):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)


class SqueezeNet(nn.Module):
    def __init__(self, version):
        super().__init__()
        kernel, width, pools = {"1.0": (7, 96, (2, 6, 11)), "1.1": (3, 64, (2, 5, 8))}[version]
        rows = iter([(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)])
        layers = [nn.Conv2d(3, width, kernel, 2), nn.ReLU()]
        while len(layers) < 13:
            if len(layers) in pools:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
                continue
            squeeze, expand = next(rows)
            layers.append(Fire(width, squeeze, expand))
            width = 2 * expand
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, CLASSES, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return self.classifier(self.features(x)).flatten(1)


def shuffle(x):
    n, c, h, w = x.shape
    return x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def depthwise(channels, stride):
    return nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)


def pointwise(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 1, bias=False)


class ShuffleUnit(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        half = outputs // 2
        left = [depthwise(inputs, 2), nn.BatchNorm2d(inputs), pointwise(inputs, half), nn.BatchNorm2d(half), nn.ReLU()]
        self.branch1 = nn.Sequential(*(left if stride == 2 else []))
        self.branch2 = nn.Sequential(
            *(pointwise(inputs if stride == 2 else half, half), nn.BatchNorm2d(half), nn.ReLU()),
            *(depthwise(half, stride), nn.BatchNorm2d(half)),
            *(pointwise(half, half), nn.BatchNorm2d(half), nn.ReLU()),
        )

    def forward(self, x):
        left, right = (self.branch1(x), x) if len(self.branch1) else x.chunk(2, 1)
        return shuffle(torch.cat([left, self.branch2(right)], 1))


class ShuffleNetV2(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 24
        for stage, (outputs, count) in enumerate(zip(widths, (4, 8, 4), strict=True), start=2):
            units = [ShuffleUnit(inputs, outputs, 2), *(ShuffleUnit(outputs, outputs, 1) for _ in range(count - 1))]
            setattr(self, f"stage{stage}", nn.Sequential(*units))
            inputs = outputs
        self.conv5 = nn.Sequential(pointwise(inputs, 1024), nn.BatchNorm2d(1024), nn.ReLU())
        self.fc = nn.Linear(1024, CLASSES)

    def forward(self, x):
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        return self.fc(self.conv5(x).mean([2, 3]))


def conv_norm(inputs, outputs, kernel=1, stride=1, groups=1, activation=nn.ReLU6, eps=1e-5):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs, eps=eps), *([activation()] if activation else []))


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        inner = inputs * expansion
        self.added = stride == 1 and inputs == outputs
        expand = [conv_norm(inputs, inner)] if expansion > 1 else []
        filters = conv_norm(inner, inner, 3, stride, groups=inner)
        self.conv = nn.Sequential(*expand, filters, pointwise(inner, outputs), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return x + self.conv(x) if self.added else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self):
        super().__init__()
        layers, inputs = [conv_norm(3, 32, 3, 2)], 32
        for t, c, n, s in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2)):
            for i in range(n):
                layers.append(Inverted(inputs, c, s if i == 0 else 1, t))
                inputs = c
        layers += [Inverted(160, 320, 1, 6), conv_norm(320, 1280)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, CLASSES))

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))


class Excite(nn.Module):
    def __init__(self, channels, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x):
        y = x.mean([2, 3], keepdim=True)
        return x * nn.functional.hardsigmoid(self.fc2(self.fc1(y).relu()))


class InvertedV3(nn.Module):
    def __init__(self, inputs, kernel, inner, outputs, hidden, activation, stride):
        super().__init__()
        self.added = stride == 1 and inputs == outputs
        parts = [conv_norm(inputs, inner, activation=activation, eps=1e-3)] if inner != inputs else []
        parts.append(conv_norm(inner, inner, kernel, stride, inner, activation, eps=1e-3))
        parts += [Excite(inner, hidden)] if hidden else []
        self.block = nn.Sequential(*parts, conv_norm(inner, outputs, activation=None, eps=1e-3))

    def forward(self, x):
        return x + self.block(x) if self.added else self.block(x)


HS, RE = nn.Hardswish, nn.ReLU

# Channels read, kernel, channels inside, channels put out, squeezed channels, activation, stride.
SMALL = (
    (16, 3, 16, 16, 8, RE, 2),
    (16, 3, 72, 24, 0, RE, 2),
    (24, 3, 88, 24, 0, RE, 1),
    (24, 5, 96, 40, 24, HS, 2),
    (40, 5, 240, 40, 64, HS, 1),
    (40, 5, 240, 40, 64, HS, 1),
    (40, 5, 120, 48, 32, HS, 1),
    (48, 5, 144, 48, 40, HS, 1),
    (48, 5, 288, 96, 72, HS, 2),
    (96, 5, 576, 96, 144, HS, 1),
    (96, 5, 576, 96, 144, HS, 1),
)
LARGE = (
    (16, 3, 16, 16, 0, RE, 1),
    (16, 3, 64, 24, 0, RE, 2),
    (24, 3, 72, 24, 0, RE, 1),
    (24, 5, 72, 40, 24, RE, 2),
    (40, 5, 120, 40, 32, RE, 1),
    (40, 5, 120, 40, 32, RE, 1),
    (40, 3, 240, 80, 0, HS, 2),
    (80, 3, 200, 80, 0, HS, 1),
    (80, 3, 184, 80, 0, HS, 1),
    (80, 3, 184, 80, 0, HS, 1),
    (80, 3, 480, 112, 120, HS, 1),
    (112, 3, 672, 112, 168, HS, 1),
    (112, 5, 672, 160, 168, HS, 2),
    (160, 5, 960, 160, 240, HS, 1),
    (160, 5, 960, 160, 240, HS, 1),
)


class MobileNetV3(nn.Module):
    def __init__(self, rows, last):
        super().__init__()
        width = rows[-1][3]
        first = conv_norm(3, 16, 3, 2, activation=HS, eps=1e-3)
        end = conv_norm(width, 6 * width, activation=HS, eps=1e-3)
        self.features = nn.Sequential(first, *(InvertedV3(*row) for row in rows), end)
        self.classifier = nn.Sequential(nn.Linear(6 * width, last), HS(), nn.Dropout(0.2), nn.Linear(last, CLASSES))

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))


# -- outputs -----------------------------------------------------------------------------------------------------------


def trained(net, seed=0):
    """The network with random weights of healthy size and random statistics, ready for inference."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor, low, high):
        tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.6, 1.4),
                (module.bias, -0.3, 0.3),
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 1e-3, 0.02),  # small: a wrong epsilon shows
            ):
                uniform(tensor, low, high)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            bound = (0.15 if net_has_norms(net) else 6**0.5) / module.weight[0].numel() ** 0.5
            uniform(module.weight, -bound, bound)
            if module.bias is not None:
                uniform(module.bias, -0.1, 0.1)
    return net.eval()


def net_has_norms(net):
    return any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def check(net, path, name, resolution=64, **options):
    """Our graph with the file's weights gives the network's logits."""
    plain = build_model(name, resolution=resolution, classes=CLASSES, **options)
    graph = load_weights(plain, path)
    assert graph.metadata["weights"]["layout"] == "torchvision"
    assert graph.metadata["preprocessing"] == PRESETS["torch"].with_size(resolution, resolution).to_metadata()
    x = np.random.default_rng(1).uniform(-1, 1, (1, resolution, resolution, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = net(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    (softmax,) = (node for node in graph.nodes if node.op == "softmax")
    ours = interpret(graph, {"input": x}, keep=True)[softmax.inputs[0]]
    assert np.ptp(theirs) > 0.01, "the test needs an output that is not flat"
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


NETWORKS = [
    (lambda: SqueezeNet("1.0"), 52, "squeezenet", {"version": "1.0"}),
    (lambda: SqueezeNet("1.1"), 52, "squeezenet", {"version": "1.1"}),
    (lambda: ShuffleNetV2((48, 96, 192)), 338, "shufflenet_v2", {"alpha": 0.5, "unit": "torchvision"}),
    (MobileNetV2, 314, "mobilenet_v2", {"padding": "symmetric"}),
    (lambda: MobileNetV3(SMALL, 1024), 244, "mobilenet_v3_small", {"padding": "symmetric"}),
    (lambda: MobileNetV3(LARGE, 1280), 312, "mobilenet_v3_large", {"padding": "symmetric"}),
]


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "legacy"])
@pytest.mark.parametrize(("make", "keys", "name", "options"), NETWORKS)
def test_outputs_equal_torchs(tmp_path, make, keys, name, options, zipped):
    net = trained(make())
    state = net.state_dict()
    assert len(state) == keys
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    check(net, tmp_path / "w.pth", name, **options)


def test_the_published_number_of_keys_of_x1_0():
    assert len(ShuffleNetV2((116, 232, 464)).state_dict()) == 338


@pytest.mark.parametrize("resolution", [65, 96])
def test_other_sizes_too(tmp_path, resolution):
    net = trained(MobileNetV2())
    torch.save(net.state_dict(), tmp_path / "w.pth")
    check(net, tmp_path / "w.pth", "mobilenet_v2", resolution, padding="symmetric")


def wrap(state, form):
    return {
        "module.": lambda: OrderedDict((f"module.{key}", value) for key, value in state.items()),
        "state_dict": lambda: {"epoch": 90, "best_acc1": 58.1, "arch": "squeezenet1_1", "state_dict": state},
        "model": lambda: {"model": state, "args": None, "lr": [0.1, 1e-5]},
        "both": lambda: {"model": {"state_dict": {f"module.{key}": value for key, value in state.items()}}},
        "parameters": lambda: {key: nn.Parameter(value) for key, value in state.items()},
    }[form]()


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "legacy"])
@pytest.mark.parametrize("form", ["module.", "state_dict", "model", "both", "parameters"])
def test_checkpoints_are_unwrapped(tmp_path, form, zipped):
    net = trained(SqueezeNet("1.1"))
    torch.save(wrap(net.state_dict(), form), tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    check(net, tmp_path / "w.pt", "squeezenet", version="1.1")


def test_protocol_4_and_an_optimizer_beside_are_read(tmp_path):
    net = trained(SqueezeNet("1.1"))
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    checkpoint = {"state_dict": net.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(checkpoint, tmp_path / "w.pth", pickle_protocol=4)
    check(net, tmp_path / "w.pth", "squeezenet", version="1.1")


# -- what does not fit -------------------------------------------------------------------------------------------------


def refused(path, message, name, **options):
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(build_model(name, resolution=64, classes=CLASSES, **options), path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "name", "options", "message"),
    [
        (lambda: ShuffleNetV2((48, 96, 192)), "shufflenet_v2", {"alpha": 0.5}, "with unit megvii: give --unit torchv"),
        (MobileNetV2, "mobilenet_v2", {}, "torchvision's weights of mobilenet_v2, .* same: give --padding symmetric"),
        (lambda: MobileNetV3(SMALL, 1024), "mobilenet_v3_small", {}, "with padding same: give --padding symmetric"),
        (lambda: SqueezeNet("1.0"), "squeezenet", {"conv10_padding": 1}, "give --conv10-padding 0"),
    ],
)
def test_options_that_change_the_outputs_are_asked_for(tmp_path, make, name, options, message):
    """The shapes would fit."""
    torch.save(make().state_dict(), tmp_path / "w.pth")
    refused(tmp_path / "w.pth", message, name, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("features.3.expand3x3.bias"),
            r"no 'features\.3\.expand3x3\.bias', for 'fire2/expand3x3/bias' \(64,\); 51 of 52 tensors match",
        ),
        (
            lambda state: state.update({"features.0.weight": torch.zeros(64, 3, 5, 5)}),
            r"'features\.0\.weight' has shape \(64, 3, 5, 5\), 'conv1/kernel' needs \(64, 3, 3, 3\)",
        ),
        (lambda state: state.update({"aux.weight": torch.zeros(2, 5)}), r"no place for 'aux\.weight' \(2, 5\)"),
        (lambda state: state.update({"features.0.bias": torch.zeros(64).long()}), r"'features\.0\.bias' holds int64"),
        (lambda state: state["features.0.bias"].fill_(float("nan")), "holds 64 NaN or infinite values"),
    ],
)
def test_a_key_that_is_missing_unexpected_or_of_another_shape_is_named(tmp_path, change, message):
    state = SqueezeNet("1.1").state_dict()
    change(state)
    torch.save(state, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", message, "squeezenet", version="1.1")


def test_another_version_is_refused(tmp_path):
    torch.save(SqueezeNet("1.0").state_dict(), tmp_path / "w.pth")
    refused(tmp_path / "w.pth", r"weights of another architecture: .*features\.", "squeezenet", version="1.1")


# -- unknown names -----------------------------------------------------------------------------------------------------


def test_unknown_names_are_paired_by_order_and_it_is_said(tmp_path):
    net = trained(SqueezeNet("1.1"))
    state = {f"backbone_{i // 2}.{key.rpartition('.')[2]}": v for i, (key, v) in enumerate(net.state_dict().items())}
    torch.save(state, tmp_path / "w.pth")
    notes = []
    plain = build_model("squeezenet", version="1.1", resolution=64, classes=CLASSES)
    graph = load_weights(plain, tmp_path / "w.pth", report=notes.append)
    assert [(note.kind, note.warning) for note in notes] == [("paired_by_order", True)]
    ours = graph.tensor("fire9/expand3x3/kernel").array
    np.testing.assert_array_equal(ours, net.features[12].expand3x3.weight.detach().numpy().transpose(2, 3, 1, 0))


def test_unknown_names_whose_shapes_differ_are_refused(tmp_path):
    torch.save({"a.weight": torch.zeros(64, 3, 3, 3), "a.bias": torch.zeros(5)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", r"'a\.bias' has shape \(5,\), 'conv1/bias' needs \(64,\)", "squeezenet", version="1.1")

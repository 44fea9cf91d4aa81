"""Inception v1 and v3 and Xception: counts, a torch twin of v1, map sizes, inputs that are too small."""

from __future__ import annotations

import pytest
from golden_counts import counts
from torch_logits import check_against_torch
from torch_twin import randomize_norms

from edgekit.errors import ModelError
from edgekit.zoo import build_model
from edgekit.zoo.inception_v1 import STAGES

# By hand from the paper's table; torchvision; torchvision and pytorchcv; arXiv:1610.02357, table 3.
REFERENCES = [
    ("inception_v1", {}, 6998552, 1582671872),
    ("inception_v1", {"form": "torchvision"}, 6624904, 1498376192),
    ("inception_v3", {}, 23834568, 5713216096),
    ("xception", {}, 22855952, None),
]


@pytest.mark.parametrize(("model", "options", "parameters", "macs"), REFERENCES)
def test_counts_equal_the_references(model, options, parameters, macs):
    found = counts(model, **options)
    assert found[0] == parameters
    assert macs is None or found[1] == macs


def test_xceptions_multiply_adds_equal_pytorchcvs():
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("pytorchcv.models.xception")
    macs = []

    def count(module, inputs, output):
        macs.append(output[0].numel() * module.weight[0].numel())

    with torch.device("meta"):
        net = models.xception()
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.register_forward_hook(count)
        net.eval()(torch.empty(1, 3, 299, 299))
    assert counts("xception")[1] == sum(macs)


def torch_inception_v1(form):
    """The network in torch, from torchvision's code: modules in the order of ours."""
    import torch

    nn = torch.nn

    def conv(inputs, filters, kernel, stride=1):
        layer = nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, bias=form == "paper")
        return nn.Sequential(layer, *([nn.BatchNorm2d(filters, eps=1e-3)] if form != "paper" else []), nn.ReLU())

    class Module(nn.Module):
        def __init__(self, inputs, row):
            super().__init__()
            large = 5 if form == "paper" else 3
            self.small = conv(inputs, row.conv1, 1)
            self.middle = nn.Sequential(conv(inputs, row.reduce3, 1), conv(row.reduce3, row.conv3, 3))
            self.large = nn.Sequential(conv(inputs, row.reduce5, 1), conv(row.reduce5, row.conv5, large))
            self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(inputs, row.project, 1))

        def forward(self, x):
            return torch.cat([branch(x) for branch in (self.small, self.middle, self.large, self.pooled)], 1)

    def pool(window=3):
        return nn.MaxPool2d(window, 2, ceil_mode=True)

    layers = [conv(3, 64, 7, 2), pool(), conv(64, 64, 1), conv(64, 192, 3), pool()]
    inputs = 192
    for number, stage in enumerate(STAGES, start=3):
        for row in stage:
            layers.append(Module(inputs, row))
            inputs = row.conv1 + row.conv3 + row.conv5 + row.project
        if number < 5:
            layers.append(pool(2 if number == 4 and form != "paper" else 3))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


@pytest.mark.parametrize("form", ["paper", "torchvision"])
def test_outputs_of_v1_equal_torch_with_the_same_weights(form):
    pytest.importorskip("torch")
    graph = randomize_norms(build_model("inception_v1", form=form, resolution=75, classes=10))
    check_against_torch(graph, torch_inception_v1(form))


@pytest.mark.parametrize(
    ("model", "tensor", "shape"),
    [
        ("inception_v1", "inception_3b/output", (28, 28, 480)),
        ("inception_v1", "inception_4e/output", (14, 14, 832)),
        ("inception_v1", "inception_5b/output", (7, 7, 1024)),
        ("inception_v3", "mixed2", (35, 35, 288)),
        ("inception_v3", "mixed7", (17, 17, 768)),
        ("inception_v3", "mixed10", (8, 8, 2048)),
        ("xception", "block4_pool", (19, 19, 728)),
        ("xception", "block14_sepconv2_act", (10, 10, 2048)),
    ],
)
def test_maps_have_the_sizes_of_the_papers(model, tensor, shape):
    """arXiv:1409.4842, table 1; arXiv:1512.00567, table 1; arXiv:1610.02357, figure 5."""
    assert build_model(model, classes=2).shape(tensor)[1:] == shape


@pytest.mark.parametrize(("model", "least"), [("inception_v1", 32), ("inception_v3", 75), ("xception", 32)])
def test_inputs_that_the_strides_use_up_are_refused(model, least):
    assert build_model(model, resolution=least, classes=2).outputs
    with pytest.raises(ModelError, match=f"^option resolution is {least - 1}; give an integer from {least} to 8192$"):
        build_model(model, resolution=least - 1)


def test_an_unknown_form_names_the_forms():
    with pytest.raises(ModelError, match="option form is 'caffe'; choose one of paper, torchvision"):
        build_model("inception_v1", form="caffe")

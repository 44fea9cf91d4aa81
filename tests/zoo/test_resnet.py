"""The residual networks: counts, agreement with torch, what cannot be built."""

from __future__ import annotations

import numpy as np
import pytest
from golden_counts import baseline_rows, counts
from torch_twin import randomize_norms, run_both, uninitialized

from edgekit.errors import ModelError
from edgekit.graph.interpret import interpret
from edgekit.zoo import build_model

torch = pytest.importorskip("torch")
FAMILIES = ("resnet", "resnet_v2", "resnet_cifar", "resnext", "se_resnet")


@pytest.mark.parametrize(("model", "options", "parameters", "macs"), baseline_rows(*FAMILIES))
def test_counts_equal_the_references(model, options, parameters, macs):
    assert counts(model, **options) == (parameters, macs)


@pytest.mark.parametrize(
    ("depth", "parameters"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)]
)
def test_shortcuts_of_zeros_have_no_parameters(depth, parameters):
    assert counts("resnet_cifar", depth=depth)[0] == parameters
    assert counts("resnet_cifar", depth=depth, shortcut="B")[0] == parameters + 2_752


class Zeros(torch.nn.Module):
    """Option A: every second pixel, zeros for the new channels."""

    def forward(self, x):
        return torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, x.shape[1]))


def cv(family, *, zeros=False, **options):
    """A network of pytorchcv for 10 classes and any resolution."""
    models = pytest.importorskip(f"pytorchcv.models.{family}")
    net = getattr(models, f"get_{family}")(num_classes=10, **options)
    net.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    for unit in net.modules():
        if zeros and hasattr(unit, "identity_conv"):
            unit.identity_conv = Zeros()
    return net


SMALL = {"blocks": 20, "bottleneck": False}
TWINS = [
    ("resnet", {"depth": 18}, "resnet", {"blocks": 18}),
    ("resnet", {"depth": 50}, "resnet", {"blocks": 50, "conv1_stride": True}),
    ("resnet", {"depth": 50, "form": "torch"}, "resnet", {"blocks": 50, "conv1_stride": False}),
    ("resnet_v2", {"depth": 18}, "preresnet", {"blocks": 18}),
    ("resnet_v2", {"depth": 50}, "preresnet", {"blocks": 50, "conv1_stride": True}),
    ("resnet_v2", {"depth": 50, "form": "torch"}, "preresnet", {"blocks": 50, "conv1_stride": False}),
    ("resnext", {"depth": 50}, "resnext", {"blocks": 50, "cardinality": 32, "bottleneck_width": 4}),
    ("se_resnet", {"depth": 50}, "seresnet", {"blocks": 50, "conv1_stride": True}),
    ("se_resnet", {"depth": 50, "form": "torch"}, "seresnet", {"blocks": 50, "conv1_stride": False}),
    ("resnet_cifar", {"depth": 20, "shortcut": "B"}, "resnet_cifar", SMALL),
    ("resnet_cifar", {"depth": 20}, "resnet_cifar", {**SMALL, "zeros": True}),
    ("resnet_cifar", {"depth": 20, "version": "2", "shortcut": "B"}, "preresnet_cifar", SMALL),
    ("resnet_cifar", {"depth": 20, "version": "2"}, "preresnet_cifar", {**SMALL, "zeros": True}),
]


@pytest.mark.parametrize(("model", "options", "family", "theirs"), TWINS)
def test_outputs_equal_torch_with_the_same_weights(model, options, family, theirs):
    resolution = 32 if model == "resnet_cifar" else 65
    graph = build_model(model, resolution=resolution, classes=10, **options)
    (softmax,) = (node for node in graph.nodes if node.op == "softmax")
    ours, expected = run_both(randomize_norms(graph), uninitialized(lambda: cv(family, **theirs)), softmax.inputs[0])
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def strides(graph):
    """Kernel sizes of the convolutions of stage 3 that stride, shortcuts left out."""
    nodes = (node for node in graph.nodes if node.op == "conv2d" and node.name.startswith("conv3_"))
    return {
        (node.name, graph.shape(node.inputs[1])[0])
        for node in nodes
        if node.attrs["strides"] == (2, 2) and "_0_" not in node.name
    }


@pytest.mark.parametrize(
    ("model", "form", "expected"),
    [
        ("resnet", "paper", {("conv3_block1_1_conv", 1)}),
        ("resnet", "keras", {("conv3_block1_1_conv", 1)}),
        ("resnet", "torch", {("conv3_block1_2_conv", 3)}),
        ("resnet_v2", "paper", {("conv3_block1_1_conv", 1)}),
        ("resnet_v2", "torch", {("conv3_block1_2_conv", 3)}),
        ("resnet_v2", "keras", {("conv3_block4_2_conv", 3)}),
    ],
)
def test_each_form_strides_in_its_own_place(model, form, expected):
    assert strides(build_model(model, form=form)) == expected


@pytest.mark.parametrize("depth", [50, 152])
@pytest.mark.parametrize("model", ["resnet", "resnet_v2"])
def test_random_features_neither_fade_nor_explode(model, depth):
    graph = build_model(model, depth=depth, form="torch", resolution=32, classes=200)
    x = np.random.default_rng(0).uniform(-1.7, 1.7, graph.shape("input")).astype(np.float32)
    logits = interpret(graph, {"input": x}, keep=True)["predictions"]
    assert 1 < logits.std() < 16


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("resnet", {"depth": 49}, "no network of 49 layers in the table; give depth 34 or 50"),
        ("resnet", {"depth": 200}, "no network of 200 layers in the table; give depth 152"),
        ("resnet", {"depth": 34, "form": "keras"}, "Keras has no ResNet of 34 layers; give depth 50, or form paper or"),
        ("resnet_v2", {"depth": 18, "form": "keras"}, "Keras has no ResNet of 18 layers; give depth 50, or form paper"),
        ("resnext", {"depth": 34}, "no network of 34 layers in the table; give depth 50"),
        ("se_resnet", {"depth": 100}, "no network of 100 layers in the table; give depth 50 or 101"),
        ("resnext", {"groups": 0}, "option groups is 0; give an integer from 1 to 256"),
        ("resnet_cifar", {"depth": 21}, r"depth 21 .* is not 6 n \+ 2; nearest: 20 or 26"),
        ("resnet_cifar", {"depth": 2}, r"depth 2 .* is not 6 n \+ 2; nearest: 8"),
        ("resnet_cifar", {"shortcut": "C"}, "option shortcut is 'C'; choose one of A, B"),
    ],
)
def test_what_is_not_in_the_tables_is_refused(model, options, message):
    with pytest.raises(ModelError, match=message):
        build_model(model, **options)

"""LeNet-5, AlexNet, VGG: counts, agreement with torch, what cannot be built."""

from __future__ import annotations

import numpy as np
import pytest
from golden_counts import baseline_rows, counts
from torch_twin import randomize_norms, run_both, uninitialized

from edgekit.errors import ModelError
from edgekit.graph.interpret import interpret
from edgekit.zoo import build_model
from edgekit.zoo.lenet import C3_TABLE

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.mark.parametrize(("model", "options", "parameters", "macs"), baseline_rows("alexnet", "vgg"))
def test_counts_equal_the_references(model, options, parameters, macs):
    assert counts(model, **options) == (parameters, macs)


def test_lenets_counts_are_the_papers():
    """Section II.B: 60,000 trained parameters, without the codes of the outputs; today's form has 61,706."""
    assert counts("lenet5") == (60_000, 326_520)
    assert counts("lenet5", form="modern") == (61_706, 416_520)


def check(graph, net, tensor):
    ours, theirs = run_both(randomize_norms(graph), net, tensor)
    assert np.ptp(theirs) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


# -- LeNet-5 -----------------------------------------------------------------------------------------------------------


class Squash(nn.Module):
    """The paper's 2x2 subsampling between sigmoids; its factor and offset are a depthwise convolution by 1x1."""

    def __init__(self, maps):
        super().__init__()
        self.norm = nn.BatchNorm2d(maps, eps=0.0)

    def forward(self, x):
        return self.norm(nn.functional.avg_pool2d(x.sigmoid(), 2)).sigmoid()


def test_the_papers_lenet_equals_torch():
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, 5), Squash(6), nn.Conv2d(6, 16, 5), Squash(16), nn.Conv2d(16, 120, 5), nn.Sigmoid()),
        *(nn.Flatten(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10)),
    )
    graph = randomize_norms(build_model("lenet5"))
    nodes = {node.name: node for node in graph.nodes}
    dense = torch.zeros(16, 6, 5, 5)
    rows = iter(enumerate(C3_TABLE))
    for name in ("C3_from_3", "C3_from_4", "C3_from_6"):
        kernel = graph.tensor(nodes[name].inputs[1]).array
        for i, (maps, (target, sources)) in enumerate(zip(np.moveaxis(kernel, 3, 0), rows, strict=False)):
            assert kernel.shape[2] == len(sources), i
            dense[target, list(sources)] = torch.from_numpy(maps.transpose(2, 0, 1).copy())
    assert int((dense[:, :, 0, 0] != 0).sum()) == 60
    values = {
        "0": ("C1",), "2": ("C3_from_3", "C3_from_4", "C3_from_6"), "4": ("C5",), "7": ("F6",), "9": ("codes",),
        "1.norm": ("S2",), "3.norm": ("S4",),
    }  # fmt: skip
    for path, layers in values.items():
        module = net.get_submodule(path)
        inputs = [[graph.tensor(name).array for name in nodes[layer].inputs[1:]] for layer in layers]
        if path.endswith("norm"):
            for name, value in zip(("weight", "bias", "running_mean", "running_var"), inputs[0], strict=True):
                getattr(module, name).data.copy_(torch.from_numpy(value.copy()))
            continue
        kernel = inputs[0][0]
        weight = kernel.T if kernel.ndim == 2 else kernel.transpose(3, 2, 0, 1)
        module.weight.data.copy_(dense if path == "2" else torch.from_numpy(weight.copy()))
        if module.bias is not None:
            module.bias.data.copy_(torch.from_numpy(np.concatenate([values[1] for values in inputs])))
    x = np.random.default_rng(0).uniform(-0.1, 1.2, (1, 32, 32, 1)).astype(np.float32)
    with torch.no_grad():
        theirs = net.eval()(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    ours = interpret(graph, {"input": x}, keep=True)["codes"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def test_lenets_codes_are_fixed_signs():
    """A product with codes of +-1 orders classes as the distance to them does."""
    graph = build_model("lenet5", classes=7)
    kernel, bias = (graph.tensor(name).array for name in graph.metadata["fixed"])
    assert kernel.shape == (84, 7)
    assert len(np.unique(np.abs(kernel))) == 1
    assert len(np.unique(np.sign(kernel), axis=1).T) == 7
    found = interpret(graph, {"input": np.ones((1, 32, 32, 1), np.float32)}, keep=True)
    tanh = 2 * found["F6_sigmoid"][0] - 1
    distances = ((tanh[:, None] - np.sign(kernel)) ** 2).sum(0)
    np.testing.assert_array_equal(np.argsort(found["codes"][0]), np.argsort(-distances))
    np.testing.assert_allclose(bias, -kernel.sum(0) / 2, rtol=1e-5)


def test_c3_reads_what_table_1_says():
    """Each of S2's maps goes to ten of C3's; no two of these read the same."""
    assert [sum(channel in row for row in C3_TABLE) for channel in range(6)] == [10] * 6
    assert len(set(C3_TABLE)) == 16
    assert [len(row) for row in C3_TABLE] == [3] * 6 + [4] * 9 + [6]


@pytest.mark.parametrize("resolution", [32, 40])
def test_todays_lenet_equals_torch(resolution):
    left = (resolution // 2 - 2) // 2 - 2
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 120, left), nn.ReLU(), nn.Flatten(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    check(build_model("lenet5", form="modern", resolution=resolution), net, "logits")


# -- AlexNet and VGG ---------------------------------------------------------------------------------------------------


def alexnet(form, left):
    """pytorchcv's, without response normalization; its first dense layer reads left x left pixels."""
    models = pytest.importorskip("pytorchcv.models.alexnet")
    net = models.get_alexnet(version="b" if form == "torch" else "a", num_classes=10)
    for module in net.modules():
        if isinstance(module, models.AlexConv):
            module.use_lrn = False
            wide = module.conv.in_channels, module.conv.out_channels
            if form == "paper" and wide in ((96, 256), (384, 384), (384, 256)):
                module.conv = nn.Conv2d(*wide, module.conv.kernel_size, padding=module.conv.padding, groups=2)
    net.output.fc1.fc = nn.Linear(256 * left**2, 4096)
    return net


@pytest.mark.parametrize(("form", "resolution", "left"), [("paper", 63, 1), ("ungrouped", 99, 2), ("torch", 95, 2)])
def test_alexnet_equals_torch_with_the_same_weights(form, resolution, left):
    net = uninitialized(lambda: alexnet(form, left))
    check(build_model("alexnet", form=form, resolution=resolution, classes=10), net, "fc8")


@pytest.mark.parametrize(("depth", "resolution"), [(16, 64), (11, 32)])
def test_vgg_equals_torch_with_the_same_weights(depth, resolution):
    models = pytest.importorskip("pytorchcv.models.vgg")

    def make():
        net = models.get_vgg(blocks=depth, num_classes=10)
        net.output.fc1.fc = nn.Linear(512 * (resolution // 32) ** 2, 4096)
        return net

    check(build_model("vgg", depth=depth, resolution=resolution, classes=10), uninitialized(make), "predictions")


def test_alexnets_maps_shrink_as_in_the_paper():
    graph = build_model("alexnet")
    assert [graph.shape(f"conv{i}")[1] for i in range(1, 6)] == [55, 27, 13, 13, 13]
    assert graph.shape("flatten") == (1, 6 * 6 * 256)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("vgg", {"depth": 17}, "VGG has no 17 layers; give depth 16 or 19"),
        ("vgg", {"depth": 1}, "VGG has no 1 layers; give depth 11"),
        ("alexnet", {"form": "grouped"}, "option form is 'grouped'; choose one of paper, ungrouped, torch"),
        ("alexnet", {"resolution": 62}, "option resolution is 62; give an integer from 63"),
        ("lenet5", {"form": "caffe"}, "option form is 'caffe'; choose one of paper, modern"),
    ],
)
def test_what_is_not_in_the_tables_is_refused(model, options, message):
    with pytest.raises(ModelError, match=message):
        build_model(model, **options)

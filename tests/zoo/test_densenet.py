"""DenseNet: counts, agreement with torch implementations, depths and compression."""

from __future__ import annotations

import pytest
from golden_counts import counts
from torch_logits import check_against_torch
from torch_twin import randomize_norms

from edgekit.errors import ModelError
from edgekit.zoo import build_model

# torchvision, Keras and pytorchcv alike; pytorchcv without bottlenecks has a wider stem than the paper, and compresses.
REFERENCES = [
    ("densenet", {"depth": 121}, 7978856, 2834161664),
    ("densenet", {"depth": 169}, 14149480, 3359843328),
    ("densenet", {"depth": 201}, 20013928, 4291365888),
    ("densenet_cifar", {"depth": 40}, 176122, 72365352),
    ("densenet_cifar", {"depth": 40, "bottleneck": "off", "stem": 24}, 599050, 205906452),
    ("densenet_cifar", {"bottleneck": "off", "stem": 24}, 4068490, 1324548732),
]


@pytest.mark.parametrize(("model", "options", "parameters", "macs"), REFERENCES)
def test_counts_equal_the_references(model, options, parameters, macs):
    assert counts(model, **options) == (parameters, macs)


@pytest.mark.parametrize(
    ("options", "millions"),
    [
        ({}, 0.8),
        ({"depth": 40, "bottleneck": "off", "compression": 1.0}, 1.0),
        ({"bottleneck": "off", "compression": 1.0}, 7.0),
        ({"depth": 190, "growth": 40}, 25.6),
    ],
)
def test_sizes_of_the_paper(options, millions):
    """arXiv:1608.06993, table 2."""
    assert round(counts("densenet_cifar", **options)[0] / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("twin", "options"),
    [("densenet100_k12_bc_cifar10", {}), ("densenet40_k12_cifar10", {"depth": 40, "bottleneck": "off", "stem": 24})],
)
def test_outputs_for_cifar_equal_torch_with_the_same_weights(twin, options):
    models = pytest.importorskip("pytorchcv.models.densenet_cifar")
    check_against_torch(randomize_norms(build_model("densenet_cifar", **options)), getattr(models, twin)())


@pytest.mark.parametrize("resolution", [64, 71])
def test_outputs_equal_torch_with_the_same_weights(resolution):
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("pytorchcv.models.densenet")
    net = models.densenet121(num_classes=10)
    net.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    check_against_torch(randomize_norms(build_model("densenet", resolution=resolution, classes=10)), net)


def test_every_layer_adds_its_growth():
    graph = build_model("densenet_cifar", depth=22, growth=6)
    assert [graph.shape(f"conv2_block{i}_concat")[-1] for i in (1, 2, 3)] == [18, 24, 30]
    assert graph.shape("pool2_pool") == (1, 16, 16, 15)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("densenet", {"depth": 150}, "^depth 150 is none of 121, 169, 201; nearest: 121 or 169$"),
        ("densenet_cifar", {"depth": 42}, r"with bottleneck on it is 6 n \+ 4; nearest: 40 or 46$"),
        (
            "densenet_cifar",
            {"depth": 41, "bottleneck": "off"},
            r"with bottleneck off it is 3 n \+ 4; nearest: 40 or 43$",
        ),
        ("densenet_cifar", {"depth": 7}, r"nearest: 10$"),
        ("densenet_cifar", {"depth": 4}, "option depth is 4; give an integer from 7 to 1000"),
        (
            "densenet_cifar",
            {"compression": 0.001},
            "leaves transition pool2 none of its 216 feature maps; give at least",
        ),
        ("densenet_cifar", {"compression": 0.0}, "option compression is 0.0; give a number above 0 to 1"),
        ("densenet", {"resolution": 31}, "option resolution is 31; give an integer from 32"),
    ],
)
def test_options_that_do_not_fit_name_the_nearest_that_do(model, options, message):
    with pytest.raises(ModelError, match=message):
        build_model(model, **options)


def test_variants_have_names_of_their_own():
    variants = [{}, {"bottleneck": "off"}, {"compression": 1.0}, {"compression": 0.7}, {"stem": 16}, {"growth": 13}]
    names = {build_model("densenet_cifar", depth=10, **{"growth": 4, **options}).name for options in variants}
    assert len(names) == len(variants)

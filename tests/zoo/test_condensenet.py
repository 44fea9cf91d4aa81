"""CondenseNet: counts, the three forms of learned group convolutions, agreement with a torch implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from torch_twin import randomize_norms, run_both

from edgekit.errors import ModelError
from edgekit.graph.cost import graph_cost
from edgekit.graph.interpret import interpret
from edgekit.zoo import build_model
from edgekit.zoo.learned_groups import grouped_kernel, importance, kept_inputs, mask_of

# Layers, first growth, multiply-adds and parameters as the authors' counter prints them for CIFAR-10.
AUTHORS = [
    (50, 8, 28641834, 216506),
    (74, 8, 51897066, 405466),
    (86, 8, 65816394, 520202),
    (98, 8, 81263530, 648442),
    (110, 8, 98238474, 790186),
    (122, 8, 116741226, 945434),
    (182, 12, 512671594, 4221946),
]


@pytest.mark.parametrize(("depth", "growth", "operations", "parameters"), AUTHORS)
def test_counts_in_the_authors_convention(depth, growth, operations, parameters):
    """They add one operation for each element of a ReLU, each tap of a pool and each bias."""
    graph = build_model("condensenet_cifar", depth=depth, growth=growth)
    cost, total = graph_cost(graph), 10
    for node in graph.nodes:
        size = math.prod(graph.shape(node.output))
        if node.op == "relu":
            total += size
        elif node.op == "avg_pool":
            total += size * math.prod(node.attrs["kernel"])
        elif node.op == "global_avg_pool":
            total += math.prod(graph.shape(node.inputs[0]))
    assert (cost.macs + total, cost.parameters) == (operations, parameters)


def test_imagenet_network_has_the_published_shapes():
    graph = build_model("condensenet", classes=5)
    assert graph.shape("stem_conv") == (1, 112, 112, 16)
    ends = [graph.shape(f"stage{s}_unit{n}_concat")[1:] for s, n in enumerate((4, 6, 8, 10, 8), start=1)]
    assert ends == [(112, 112, 48), (56, 56, 144), (28, 28, 400), (14, 14, 1040), (7, 7, 2064)]
    assert graph.shape("logits_index") == (1, 1032)


def norms_alike(pruned, converted):
    """Give both forms the same random batch norms: the converted ones read theirs through the index."""
    randomize_norms(pruned)
    source = {n.name: n for n in pruned.nodes}
    for node in converted.nodes:
        if node.op == "batch_norm":
            producer = converted.producer(node.inputs[0])
            index = producer.attrs["indices"] if producer.op == "gather" else slice(None)
            for mine, theirs in zip(node.inputs[1:], source[node.name].inputs[1:], strict=True):
                values = pruned.tensor(theirs).array[np.asarray(index) if producer.op == "gather" else index]
                converted.set_tensor(converted.tensor(mine).with_data(values))
    converted.set_tensor(converted.tensor("logits/bias").with_data(pruned.tensor("logits/bias").array))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("condensenet_cifar", {"depth": 26}),
        ("condensenet_cifar", {"depth": 20, "groups": 2, "condense": 8, "growth": 16, "classifier": "pruned"}),
        ("condensenet_cifar", {"depth": 14, "groups": 8, "condense": 2}),
        ("condensenet_cifar", {"depth": 14, "groups": 1, "condense": 1}),
        ("condensenet", {"resolution": 32, "classes": 10}),
        ("condensenet", {"resolution": 32, "classes": 10, "groups": 8, "condense": 8, "classifier": "dense"}),
    ],
)
def test_the_converted_form_does_what_the_pruned_form_does(model, options):
    pruned, converted = (build_model(model, form=form, **options) for form in ("pruned", "converted"))
    norms_alike(pruned, converted)
    x = np.random.default_rng(0).uniform(-2, 2, pruned.shape("input")).astype(np.float32)
    found = [interpret(g, {"input": x}, keep=True)["logits"] for g in (pruned, converted)]
    assert np.ptp(found[0]) > 0.1
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-5 * np.abs(found[0]).max())


@pytest.mark.parametrize(("groups", "condense"), [(4, 4), (2, 8), (8, 2)])
def test_the_pruned_form_keeps_one_input_in_c_for_each_group(groups, condense):
    graph = build_model("condensenet_cifar", depth=14, groups=groups, condense=condense, form="pruned")
    for node in graph.nodes:
        if node.name.endswith("_lgc_conv"):
            kernel = graph.tensor(node.inputs[1]).array[0, 0]
            alive = kernel != 0
            assert (alive.sum(axis=0) == kernel.shape[0] // condense).all()
            for group in range(groups):
                assert (alive[:, group::groups] == alive[:, group : group + 1]).all()


def test_the_trainable_form_is_dense():
    graph = build_model("condensenet_cifar", depth=14, form="trainable")
    assert all((t.array != 0).all() for t in graph.constants() if t.name.endswith("/kernel"))
    assert not any(n.op in ("gather", "channel_shuffle") for n in graph.nodes)


def test_kept_inputs_are_the_most_important_and_what_the_stages_of_condensing_leave():
    kernel = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
    index = kept_inputs(kernel, 2, 4)
    for group in range(2):
        sums = np.abs(kernel[:, group::2]).sum(axis=1)
        np.testing.assert_allclose(importance(kernel, 2)[:, group], sums, rtol=1e-6)
        assert set(index[group]) == set(np.argsort(sums)[-4:])
    mask = np.ones((16, 8), bool)
    for _ in range(3):  # C - 1 drops of 16 / C inputs each
        for group in range(2):
            living = np.flatnonzero(mask[:, group])
            sums = np.abs((kernel * mask)[:, group::2]).sum(axis=1)
            mask[living[np.argsort(sums[living])[:4]], group::2] = False
    np.testing.assert_array_equal(mask_of(index, 16, 8), mask)


def test_a_grouped_kernel_holds_the_living_weights_group_after_group():
    kernel = np.arange(1, 25, dtype=np.float32).reshape(4, 6)
    index = np.array([[0, 3], [1, 2]])
    np.testing.assert_array_equal(grouped_kernel(kernel, index), [[1, 3, 5, 8, 10, 12], [19, 21, 23, 14, 16, 18]])


@pytest.mark.parametrize("count", [4, 8])
def test_outputs_equal_torch_with_the_same_weights(count):
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("pytorchcv.models.condensenet")
    net = getattr(models, f"condensenet74_c{count}_g{count}")(num_classes=10)
    net.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    graph = randomize_norms(build_model("condensenet", groups=count, condense=count, resolution=64, classes=10))
    ours, theirs = run_both(graph, net, "logits")
    assert np.ptp(theirs) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("condensenet", {"groups": 3}, r"groups 3 do not divide a unit's 8 new channels; nearest that do: 2 or 4"),
        ("condensenet", {"groups": 16}, r"groups 16 do not divide a unit's 8 new channels; nearest that do: 8$"),
        (
            "condensenet",
            {"condense": 32},
            r"condense 32 leaves the groups .* has 16 inputs, without any; give at most 8",
        ),
        ("condensenet", {"condense": 6}, r"condense 6 does not divide the units' inputs \(16, 24, .*that do: 4 or 8"),
        ("condensenet", {"condense": 16}, r"condense 16 does not divide .* nearest that do: 8"),
        ("condensenet_cifar", {"growth": 12, "condense": 8}, r"condense 8 does not divide .*\(24, 36, .*: 6 or 12"),
        ("condensenet_cifar", {"depth": 75}, r"depth 75 does not fill 3 blocks evenly: .*; nearest: 74 or 80"),
        ("condensenet_cifar", {"form": "dense"}, r"option form is 'dense'; choose one of trainable, pruned, converted"),
    ],
)
def test_forbidden_combinations(model, options, message):
    with pytest.raises(ModelError, match=message):
        build_model(model, **options)


@pytest.mark.parametrize("form", ["trainable", "pruned", "converted"])
def test_random_activations_neither_vanish_nor_explode(form):
    graph = build_model("condensenet_cifar", depth=50, form=form)
    x = np.random.default_rng(0).uniform(-2, 2, graph.shape("input")).astype(np.float32)
    values = interpret(graph, {"input": x}, keep=True)
    for name, value in values.items():
        if name.endswith("group_conv"):
            assert 0.02 < value.std() < 10, name

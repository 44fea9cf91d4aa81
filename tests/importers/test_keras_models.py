"""How layers are put together: models inside models, shared layers, several inputs and outputs, older files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_oracle import (
    FORMS,
    FRAMEWORKS,
    check,
    check_graph,
    framework,
    imported,
    ops,
    randomised,
    saved,
    with_config,
)

from edgekit.importers.keras import import_keras

both = pytest.mark.parametrize("name", FRAMEWORKS)
every_form = pytest.mark.parametrize("form", FORMS)


def names(graph: Any) -> list[str]:
    return [node.name for node in graph.nodes]


@both
@every_form
def test_sequential(name: str, form: str, tmp_path: Path) -> None:
    la = framework(name).layers
    model = framework(name).Sequential(
        [
            la.Input((9, 8, 3)),
            la.Rescaling(1 / 255, name="rescaling"),
            la.Conv2D(4, 3, activation="relu", name="first"),
            la.BatchNormalization(name="norm"),
            la.MaxPooling2D(name="pool"),
            la.Flatten(name="flat"),
            la.Dropout(0.5, name="drop"),
            la.Dense(3, activation="softmax", name="classes"),
        ],
        name="line",
    )
    graph = check(model, form, tmp_path)
    assert names(graph) == [
        *("rescaling", "first", "first/relu", "norm", "pool", "flat", "drop", "classes", "classes/softmax"),
    ]
    assert graph.name == ("line" if form == "object" else "model")
    assert graph.metadata["weights"]["source"] == ("object" if form == "object" else "file")


@both
@every_form
def test_sequential_that_was_built_by_a_call(name: str, form: str, tmp_path: Path) -> None:
    k = framework(name)
    model = k.Sequential([k.layers.Conv2D(4, 3), k.layers.ReLU(), k.layers.GlobalAveragePooling2D()])
    model.build((None, 9, 8, 3))
    model(np.zeros((1, 9, 8, 3), np.float32))
    assert ops(check(model, form, tmp_path)) == ["conv2d", "relu", "global_avg_pool"]


def backbone(k: Any) -> Any:
    la = k.layers
    entry = la.Input((8, 8, 3), name="image")
    x = la.ReLU(name="act")(la.BatchNormalization(name="norm")(la.Conv2D(4, 3, name="conv")(entry)))
    head = k.Sequential(
        [la.Input((6, 6, 4)), la.Conv2D(5, 1, name="conv"), la.BatchNormalization(name="norm2")], name="end"
    )
    return k.Model(entry, [head(x), la.GlobalMaxPooling2D(name="most")(x)], name="backbone")


@both
@pytest.mark.parametrize("form", ["object", ".keras"])
def test_models_inside_models(name: str, form: str, tmp_path: Path) -> None:
    k = framework(name)
    la = k.layers
    entry = la.Input((10, 10, 3), name="image")
    image, most = backbone(k)(la.Cropping2D(1, name="crop")(entry))
    x = la.Concatenate(name="join")([la.GlobalAveragePooling2D(name="mean")(image), most])
    # One level has a layer "conv" of its own, and the sequential model holds another.
    model = k.Model(entry, [la.Dense(2, name="dense")(x), la.Conv2D(2, 3, name="conv")(image)])
    graph = check(model, form, tmp_path)
    found = set(names(graph))
    assert {"backbone/conv", "backbone/norm", "backbone/end/conv", "backbone/end/norm2", "conv", "dense"} <= found


@both
def test_a_model_inside_a_model_of_an_hdf5_file(name: str, tmp_path: Path) -> None:
    k = framework(name)
    la = k.layers
    inside_entry = la.Input((8, 8, 3))
    x = la.BatchNormalization(name="norm")(la.SeparableConv2D(4, 3, name="conv")(inside_entry))
    inside = k.Model(inside_entry, la.Conv2D(4, 1, name="second")(x), name="inside")
    entry = la.Input((8, 8, 3))
    model = k.Model(entry, la.Conv2D(2, 3, name="conv")(inside(la.Conv2D(3, 1, name="second")(entry))))
    graph = check(model, ".h5", tmp_path)
    assert {"inside/conv", "inside/norm", "inside/second", "second", "conv"} <= set(names(graph))


@both
@every_form
def test_a_model_inside_with_one_layer_of_weights(name: str, form: str, tmp_path: Path) -> None:
    k = framework(name)
    la = k.layers
    inside = k.Sequential([la.Input((6, 6, 4)), la.ReLU(), la.Conv2D(5, 1, name="conv")], name="inside")
    entry = la.Input((8, 8, 3))
    graph = check(k.Model(entry, inside(la.Conv2D(4, 3, name="conv")(entry))), form, tmp_path)
    assert {"conv", "inside/conv"} <= set(names(graph))


@both
@every_form
def test_shared_layers_and_models_are_called_several_times(name: str, form: str, tmp_path: Path) -> None:
    k = framework(name)
    la = k.layers
    inner = la.Input((8, 8, 4))
    block = k.Model(inner, la.BatchNormalization()(la.Conv2D(4, 3, padding="same", name="deep")(inner)), name="block")
    entry = la.Input((8, 8, 4))
    conv = la.Conv2D(4, 1, name="same")
    x = conv(la.ReLU()(conv(entry)))
    x = block(la.Add()([block(x), conv(x)]))
    graph = check(k.Model(entry, [x, conv(x)]), form, tmp_path)
    assert [n for n in names(graph) if n.startswith("same")] == ["same", "same_1", "same_2", "same_3"]
    assert ops(graph).count("conv2d") == 6


@both
@every_form
def test_several_inputs_and_outputs(name: str, form: str, tmp_path: Path) -> None:
    k = framework(name)
    la = k.layers
    left, right, vector = (
        la.Input((8, 8, 3), name="left"),
        la.Input((8, 8, 3), name="right"),
        la.Input((5,), name="vec"),
    )
    conv = la.Conv2D(4, 3, name="conv")
    x = la.Subtract(name="difference")([conv(left), conv(right)])
    y = la.Concatenate()([la.Flatten()(x), vector])
    model = k.Model([left, right, vector], [la.Dense(3, name="a")(y), x, la.Dense(2, name="b")(vector)])
    graph = check(model, form, tmp_path)
    assert graph.inputs == ("left", "right", "vec")
    assert graph.outputs == ("a", "difference", "b")


@both
def test_outputs_are_tensors_of_their_own(name: str) -> None:
    k = framework(name)
    entry = k.layers.Input((4, 4, 2), name="in")
    x = k.layers.ReLU(name="act")(entry)
    model = k.Model(entry, [x, x, k.layers.Flatten(name="flat")(x)])
    graph = check_graph(import_keras(model), model)
    assert len(set(graph.outputs)) == 3
    model = k.Model(entry, [k.layers.Activation("linear")(entry), entry])
    graph = check_graph(import_keras(model), model)
    assert ops(graph) == ["identity", "identity"]


def test_dictionaries_of_inputs_and_outputs(tmp_path: Path) -> None:
    k = framework("keras")
    la = k.layers
    b, a = la.Input((4,), name="b"), la.Input((3,), name="a")
    inner = k.Model({"b": b, "a": a}, {"z": la.Dense(2, name="z")(b), "y": la.Dense(2, name="y")(a)}, name="inner")
    left, right = la.Input((3,), name="left"), la.Input((4,), name="right")
    found = inner({"a": left, "b": right})
    model = randomised(k.Model([left, right], [found["z"], found["y"]]))
    for form in ("object", ".keras"):
        check_graph(imported(model, form, tmp_path), model)


@both
@every_form
def test_frozen_layers_keep_the_order_of_their_weights(name: str, form: str, tmp_path: Path) -> None:
    k = framework(name)
    la = k.layers
    inner = la.Input((8, 8, 3))
    x = la.BatchNormalization(name="norm", trainable=False)(la.Conv2D(4, 3, name="conv", trainable=False)(inner))
    base = k.Model(inner, la.BatchNormalization(name="other")(x), name="base")
    base.trainable = False
    entry = la.Input((8, 8, 3))
    check(k.Model(entry, la.BatchNormalization()(base(entry, training=False))), form, tmp_path)


@both
@every_form
def test_random_networks(name: str, form: str, tmp_path: Path) -> None:
    k = framework(name)
    k.utils.set_random_seed(1)
    for seed in range(6 if form == "object" else 2):
        check(random_network(k, np.random.default_rng(seed)), form, tmp_path)


def random_network(k: Any, rng: np.random.Generator) -> Any:
    """A network of a dozen random layers, each on a random earlier image, with whatever broadcasts added up."""
    la = k.layers
    height, width, channels = (int(v) for v in rng.integers((9, 9, 1), (16, 16, 9)))
    entry = la.Input((height, width, channels))
    images = [entry]
    for _ in range(12):
        x = images[int(rng.integers(len(images)))]
        images.append(random_layer(la, x, rng))
        alike = [y for y in images if tuple(y.shape) == tuple(images[-1].shape)]
        if len(alike) > 1 and rng.random() < 0.5:
            merge = [la.Add, la.Multiply, la.Average, la.Concatenate][int(rng.integers(4))]
            images.append(merge()(alike[-2:]))
    ends = [la.Dense(2)(la.GlobalAveragePooling2D()(x)) for x in images[-3:]]
    return k.Model(entry, la.Add()(ends))


def random_layer(la: Any, x: Any, rng: np.random.Generator) -> Any:
    kernel = tuple(int(v) for v in rng.integers(1, 4, 2))
    stride = int(rng.integers(1, 3)) if min(x.shape[1:3]) > 4 else 1
    padding = "same" if min(x.shape[1:3]) < 4 or rng.random() < 0.5 else "valid"
    window = {"strides": stride, "padding": padding}
    filters = int(rng.integers(1, 9))
    match int(rng.integers(9)):
        case 0:
            return la.Conv2D(filters, kernel, activation="relu", **window)(x)
        case 1:
            return la.DepthwiseConv2D(kernel, depth_multiplier=int(rng.integers(1, 3)), **window)(x)
        case 2:
            return la.SeparableConv2D(filters, kernel, **window)(x)
        case 3:
            return la.MaxPooling2D(kernel, **window)(x)
        case 4:
            return la.AveragePooling2D(kernel, **window)(x)
        case 5:
            return la.Activation("swish")(la.BatchNormalization()(x))
        case 6:
            return la.Dense(filters)(x)
        case 7:
            return la.Permute((2, 1, 3))(la.ZeroPadding2D(((1, 0), (0, 2)))(x))
        case _:
            groups = int(rng.choice([g for g in range(1, x.shape[-1] + 1) if x.shape[-1] % g == 0]))
            return la.Conv2D(groups * filters, kernel, groups=groups, padding=padding)(x)


# -- sizes -------------------------------------------------------------------------------------------------------------


@both
@every_form
def test_open_sizes_take_an_input_shape(name: str, form: str, tmp_path: Path) -> None:
    k = framework(name)
    entry = k.layers.Input((None, None, 3))
    model = randomised(k.Model(entry, k.layers.GlobalAveragePooling2D()(k.layers.Conv2D(4, 3, strides=2)(entry))))
    graph = check_graph(imported(model, form, tmp_path, input_shape=(1, 11, 9, 3)), model)
    assert graph.shape(graph.inputs[0]) == (1, 11, 9, 3)


@both
def test_a_fixed_batch_becomes_1(name: str) -> None:
    k = framework(name)
    entry = k.layers.Input(batch_shape=(4, 6, 6, 2)) if name == "keras" else k.layers.Input((6, 6, 2), batch_size=4)
    model = k.Model(entry, k.layers.Flatten()(k.layers.Conv2D(3, 2)(entry)))
    assert import_keras(model).shape(import_keras(model).outputs[0]) == (1, 75)


# -- what pixels a model wants -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "settings", "raw"),
    [
        ("Rescaling", {"scale": 1 / 127.5, "offset": -1}, True),
        ("Rescaling", {"scale": 2.0, "offset": -1}, False),
        ("Normalization", {"mean": [123.0, 116, 103], "variance": [3400.0, 3300, 3300]}, True),
        ("Normalization", {"mean": [0.4, 0.4, 0.4], "variance": [0.05, 0.05, 0.05]}, False),
        ("ReLU", {}, False),
    ],
)
def test_models_that_scale_their_pixels_say_so(kind: str, settings: dict[str, Any], raw: bool) -> None:
    k = framework("keras")
    entry = k.layers.Input((6, 7, 3))
    graph = import_keras(k.Model(entry, k.layers.Conv2D(2, 3)(getattr(k.layers, kind)(**settings)(entry))))
    assert ("preprocessing" in graph.metadata) == raw
    if raw:
        found = graph.metadata["preprocessing"]
        assert (found["height"], found["width"]) == (6, 7)
        assert (found["mean"], found["std"]) == ([0.0] * 3, [1.0] * 3)


# -- older files -------------------------------------------------------------------------------------------------------


def test_a_sequential_configuration_that_is_a_list(tmp_path: Path) -> None:
    """As Keras before 2.2.3 wrote it: without InputLayer, the input's shape in the first layer, no version."""
    k = framework("tf_keras")
    la = k.layers
    model = randomised(k.Sequential([la.Input((6, 6, 2)), la.Conv2D(3, 2, name="c"), la.ReLU(), la.Flatten()]))

    def as_list(config: Any) -> None:
        first, *others = config["config"]["layers"]
        others[0]["config"]["batch_input_shape"] = first["config"]["batch_input_shape"]
        config["config"] = others

    graph = import_keras(with_config(saved(model, tmp_path / "old.h5"), as_list))
    check_graph(graph, model)
    assert graph.inputs == ("input_1",)


def test_a_functional_model_that_is_called_model(tmp_path: Path) -> None:
    k = framework("tf_keras")
    entry = k.layers.Input((6, 6, 2))
    model = randomised(k.Model(entry, k.layers.Conv2D(3, 2)(entry)))

    def rename(config: Any) -> None:
        config["class_name"] = "Model"
        for layer in config["config"]["layers"]:
            for key in ("module", "registered_name", "build_config"):
                layer.pop(key, None)

    check_graph(import_keras(with_config(saved(model, tmp_path / "old.h5"), rename)), model)


def test_the_file_tells_its_format_whatever_its_name(tmp_path: Path) -> None:
    k = framework("keras")
    entry = k.layers.Input((4,))
    model = randomised(k.Model(entry, k.layers.Dense(2)(entry)))
    for form, other in ((".keras", "a.h5"), (".h5", "b.keras")):
        path = saved(model, tmp_path / f"m{form}").rename(tmp_path / other)
        check_graph(import_keras(path), model)

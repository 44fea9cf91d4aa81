"""What cannot be taken, and damaged files: one clear line each."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_oracle import FRAMEWORKS, framework, saved, with_config

from edgekit.errors import EdgekitError, GraphError, ImportFileError, UnsupportedOpError, WeightsError
from edgekit.importers.keras import import_keras
from edgekit.importers.keras_source import ROOM_BYTES, ROOM_FACTOR


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good.keras and good.h5 of Keras 3, and old.keras and old.h5 of Keras 2."""
    folder = tmp_path_factory.mktemp("models")
    for kind, stem in (("keras", "good"), ("tf_keras", "old")):
        la = framework(kind).layers
        entry = la.Input((6, 6, 3), name="image")
        x = la.BatchNormalization(name="norm")(la.Conv2D(4, 3, name="conv")(entry))
        model = framework(kind).Model(entry, la.Dense(2, name="dense")(la.Flatten(name="flat")(x)))
        for suffix in (".keras", ".h5"):
            saved(model, folder / f"{stem}{suffix}")
    return folder


def refused(model: Any, message: str, error: type[EdgekitError] = ImportFileError, **options: Any) -> None:
    """The import raises this error, in one line."""
    with pytest.raises(error, match=message) as raised:
        import_keras(model, **options)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


# -- layers ------------------------------------------------------------------------------------------------------------

Make = Callable[[Any, Any], Any]

REFUSED: list[tuple[Make, type[EdgekitError], str]] = [
    (lambda la, x: la.LeakyReLU(name="leaky")(x), UnsupportedOpError, r"LeakyReLU \(node 'leaky'\): .*ReLU\(6\.0\)"),
    (lambda la, x: la.ReLU(negative_slope=0.1)(x), UnsupportedOpError, "slope or a threshold: train with ReLU"),
    (lambda la, x: la.ReLU(threshold=0.5)(x), UnsupportedOpError, "slope or a threshold"),
    (lambda la, x: la.ReLU(max_value=4.0)(x), UnsupportedOpError, r"max_value is 4.0: train with ReLU\(6\.0\)"),
    (lambda la, x: la.Activation("tanh", name="t")(x), UnsupportedOpError, r"op tanh \(node 't'\): edgekit has relu,"),
    (lambda la, x: la.Conv2D(2, 1, activation="gelu")(x), UnsupportedOpError, "op gelu"),
    (lambda la, x: la.UpSampling2D(name="up")(x), UnsupportedOpError, r"UpSampling2D \(node 'up'\): .*cut the model"),
    (lambda la, x: la.Softmax(axis=1)(x), UnsupportedOpError, "its axis is 1: only the last"),
    (lambda la, x: la.LayerNormalization()(x), UnsupportedOpError, "LayerNormalization .*replace it"),
    (
        lambda la, x: la.Lambda(lambda t: t + 1, name="code")(x),
        UnsupportedOpError,
        r"'code'\): it holds code.*never run",
    ),
    (lambda la, x: la.BatchNormalization(axis=1)(x), ImportFileError, "normalizes axis 1 of .*channels_last"),
    (lambda la, x: la.Concatenate(axis=0)([x, x]), ImportFileError, "joins along the batch"),
    (
        lambda la, x: la.GlobalAveragePooling2D(data_format="channels_first", name="gap")(x),
        UnsupportedOpError,
        r"\(node 'gap'\): its images are channels first: .*data_format='channels_last'",
    ),
    (
        lambda la, x: la.Permute((2, 4, 1, 3))(la.Reshape((2, 3, 2, 9))(x)),
        ImportFileError,
        "needs a transpose of 5 axes|5 dimensions",
    ),
]


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_layers_outside_the_table(name: str, make: Make, error: type[EdgekitError], message: str) -> None:
    k = framework(name)
    entry = k.layers.Input((6, 6, 3))
    refused(k.Model(entry, make(k.layers, entry)), message, error)


OPERATIONS: list[tuple[Make, type[EdgekitError], str]] = [
    (lambda o, x: o.exp(x), UnsupportedOpError, r"op Exp \(node 'exp'\): edgekit has no such operation"),
    (lambda o, x: o.leaky_relu(x), UnsupportedOpError, "op LeakyRelu"),
    (lambda o, x: o.divide(x, o.relu(x)), ImportFileError, "divides by an activation"),
    (lambda o, x: 1.0 / x, ImportFileError, "divides by an activation"),
    (lambda o, x: o.clip(x, -1, 1), ImportFileError, "clips to -1..1"),
    (lambda o, x: o.maximum(x, o.relu(x)), ImportFileError, "compares activations"),
    (lambda o, x: o.mean(x, axis=-1), ImportFileError, r"reduces axes \[3\]"),
    (lambda o, x: o.pad(x, 1, mode="reflect"), ImportFileError, "pads by 'reflect'"),
    (lambda o, x: o.pad(x, 1), ImportFileError, "pads the batch"),
    (lambda o, x: o.take(x, [1]), ImportFileError, "gathers from all axes at once"),
    (lambda o, x: x[:, ::-1], ImportFileError, "step of -1"),
    (lambda o, x: o.floor_divide(x, 2), ImportFileError, "rounds an activation"),
    (lambda o, x: o.softmax(x, axis=1), UnsupportedOpError, "axis is 1"),
]


@pytest.mark.parametrize(("make", "error", "message"), OPERATIONS)
def test_operations_outside_the_table(make: Make, error: type[EdgekitError], message: str) -> None:
    k = framework("keras")
    entry = k.layers.Input((6, 6, 3))
    refused(k.Model(entry, make(k.ops, entry)), message, error)


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("form", ["object", ".keras", ".h5"])
def test_layers_of_the_users_own(name: str, form: str, tmp_path: Path) -> None:
    k = framework(name)

    @k.utils.register_keras_serializable(package="mine", name=f"Twice{name}{form}")
    class Twice(k.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            return x * 2.0

    entry = k.layers.Input((6, 6, 3))
    model = k.Model(entry, Twice(name="doubling")(entry))
    message = (
        r"op Twice.* \(node 'doubling'\): (it is a class of your own.*export the model to ONNX|edgekit has no such)"
    )
    refused(model if form == "object" else saved(model, tmp_path / f"m{form}"), message, UnsupportedOpError)


def test_code_of_a_lambda_is_never_run(tmp_path: Path) -> None:
    k = framework("keras")
    entry = k.layers.Input((4,))
    path = saved(k.Model(entry, k.layers.Lambda(lambda x: x, name="trap")(entry)), tmp_path / "m.keras")
    refused(path, r"op Lambda \(node 'trap'\): it holds code, which is never run from a file", UnsupportedOpError)


def test_subclassed_models_have_no_structure(tmp_path: Path) -> None:
    k = framework("keras")

    class Mine(k.Model):  # type: ignore[misc, name-defined]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.dense = k.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Mine()
    model(np.zeros((1, 3), np.float32))
    refused(model, r"structure is code of a class.*keras.Model\(inputs, outputs\)")
    refused(saved(model, tmp_path / "m.keras"), "m.keras: describes no functional or sequential model but 'Mine'")


def test_other_objects() -> None:
    refused(3, "int is no Keras model: give a path or a functional or sequential model")
    refused(framework("keras").layers.Dense(2), "Dense is no Keras model")


# -- inputs ------------------------------------------------------------------------------------------------------------


def test_input_shapes_that_do_not_fit() -> None:
    k = framework("keras")
    entry = k.layers.Input((None, 8, 3), name="image")
    model = k.Model(entry, k.layers.ReLU()(entry))
    refused(model, r"input 'image' has the shape \(\?, \?, 8, 3\), open in axis 1: give .*--input-shape 1,224,224,3")
    for shape in ((1, 8, 3), (1, 8, 9, 3), (2, 8, 8, 3), (1, 0, 8, 3)):
        refused(model, r"input 'image' has shape \(\?, \?, 8, 3\): input_shape=.* does not fit", input_shape=shape)
    entries = [k.layers.Input((None, 8, 3)), k.layers.Input((4, 8, 3))]
    both = k.Model(entries, k.layers.Concatenate(axis=1)(entries))
    refused(both, "input_shape", input_shape=(1, 4, 8, 3))
    fixed = [k.layers.Input((4,)), k.layers.Input((4,))]
    two = k.Model(fixed, k.layers.Concatenate()(fixed))
    refused(two, "input_shape= is for one input, this model has 2", input_shape=(1, 4))
    volume = k.layers.Input((4, 4, 4, 3))
    refused(k.Model(volume, k.layers.ReLU()(volume)), r"shape \(\?, 4, 4, 4, 3\): edgekit takes images")
    words = k.layers.Input((4,), dtype="string")
    refused(k.Model(words, k.layers.Identity()(words)), "takes texts")


def test_a_sequential_model_without_any_shape(files: Path) -> None:
    def forget(config: Any) -> Any:
        layers = [x for x in config["config"]["layers"] if x["class_name"] == "Flatten"]
        return {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}

    path = with_config(files / "good.keras", forget)
    refused(path, "has no shape: give input_shape=")
    assert import_keras(path, input_shape=(1, 2, 2, 3)).shape("flat") == (1, 12)


# -- files -------------------------------------------------------------------------------------------------------------


def test_files_that_are_no_models(tmp_path: Path, files: Path) -> None:
    refused(tmp_path / "none.keras", "none.keras: no such file")
    refused(tmp_path, "is a folder")
    (tmp_path / "empty.h5").write_bytes(b"")
    refused(tmp_path / "empty.h5", "empty.h5: is empty")
    (tmp_path / "text.h5").write_bytes(b"not a model at all")
    refused(tmp_path / "text.h5", "text.h5 is no weights file|text.h5.*Keras", EdgekitError)
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "other.keras", "other.keras: is an archive without config.json")
    k = framework("keras")
    entry = k.layers.Input((4,))
    weights = tmp_path / "w.weights.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras and numpy disagree on an argument
        k.Model(entry, k.layers.Dense(2)(entry)).save_weights(weights)
    refused(weights, r"holds weights without their model: .*model.save\(\).*--weights w.weights.h5")


@pytest.mark.parametrize("stem", ["good", "old"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_truncated_files(files: Path, tmp_path: Path, stem: str, suffix: str, share: float) -> None:
    data = (files / f"{stem}{suffix}").read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(data[: int(len(data) * share)])
    refused(tmp_path / f"cut{suffix}", f"cut{suffix}", EdgekitError)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"not json", "is no JSON"),
        (b'"text"', "describes no functional or sequential model"),
        (b'{"class_name": "Functional"}', "describes no functional or sequential model but 'Functional'"),
        (b"[" * 100_000, "is nested too deep|is no JSON"),
        (b"[" * 300 + b"]" * 300, "is nested too deep"),
        (
            b'{"class_name": "Functional", "config": {"layers": [], "input_layers": [], "output_layers": []}}',
            "has no outputs",
        ),
        (b'{"class_name": "Sequential", "config": {"layers": []}}', "has no layers"),
        (b'{"class_name": "Sequential", "config": {"layers": [3]}}', "layer without a name or a class: 3"),
    ],
)
def test_configurations_that_make_no_sense(files: Path, suffix: str, text: bytes, message: str) -> None:
    refused(with_config(files / f"good{suffix}", lambda _: text), f"{suffix}.*{message}")


def nested(depth: int) -> dict[str, Any]:
    model: dict[str, Any] = {"class_name": "Flatten", "config": {"name": "flat"}}
    for i in range(depth):
        model = {"class_name": "Sequential", "config": {"name": f"s{i}", "layers": [model]}}
    return model


def test_models_inside_models_without_end(files: Path) -> None:
    refused(with_config(files / "good.keras", lambda _: nested(40)), "models inside models, more than 20 deep")


def test_calls_that_multiply(files: Path) -> None:
    """A model that is called ten times by one that is called ten times by ...: a small file of 10 ** 12 calls."""

    model: dict[str, Any] = {"class_name": "ReLU", "config": {"name": "relu", "trainable": True}}
    for i in range(12):
        entry = {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 4]}, "name": "in"}
        calls = [[["in", 0, 0, {}]], *([["x", n, 0, {}]] for n in range(9))]
        inner = {**model, "name": "x", "inbound_nodes": calls}
        inner["config"] = {**inner["config"], "name": "x"}
        config = {"layers": [entry, inner], "input_layers": ["in", 0, 0], "output_layers": ["x", 9, 0]}
        model = {"class_name": "Functional", "config": {"name": f"m{i}", **config}}
    refused(with_config(files / "good.keras", lambda _: model), "calls more than 5000 layers")


def layer_of(config: Any, name: str) -> Any:
    return next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == name)


def setting(layer: str, key: str, value: Any) -> Callable[[Any], None]:
    def edit(config: Any) -> None:
        layer_of(config, layer)["config"][key] = value

    return edit


@pytest.mark.parametrize("stem", ["good", "old"])
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (setting("conv", "filters", "many"), r"layer 'conv' \(Conv2D\): its setting 'filters' is 'many'"),
        (setting("conv", "filters", True), "its setting 'filters' is True: it must be a whole number"),
        (setting("conv", "kernel_size", [3]), r"'kernel_size' is \[3\]: it must be two positive"),
        (setting("conv", "strides", [0, 1]), "'strides' is .*two positive"),
        (setting("conv", "padding", "around"), "'padding' is 'around'"),
        (setting("conv", "groups", 2), "3 input channels do not divide into 2 groups"),
        (setting("conv", "use_bias", "yes"), "'use_bias' is 'yes': it must be true or false"),
        (setting("conv", "activation", 3), "'activation' is 3"),
        (setting("norm", "epsilon", None), "'epsilon' is None: it must be a number"),
        (setting("image", "batch_shape", [None, 6, -6, 3]), "(input 'image' has a shape that makes no sense)|(open)"),
    ],
)
def test_settings_that_make_no_sense(files: Path, stem: str, edit: Callable[[Any], None], message: str) -> None:
    if stem == "old" and "batch_shape" in repr(edit.__closure__):
        pytest.skip("Keras 2 calls it batch_input_shape")
    refused(with_config(files / f"{stem}.keras", edit), message)


def test_references_that_lead_nowhere(files: Path) -> None:
    def unknown(config: Any) -> None:
        config["config"]["output_layers"] = [["nobody", 0, 0]]

    def second_output(config: Any) -> None:
        config["config"]["output_layers"] = [["dense", 0, 1]]

    def ring(config: Any) -> None:
        tensor = layer_of(config, "conv")["inbound_nodes"][0]["args"][0]
        tensor["config"]["keras_history"] = ["norm", 0, 0]

    def not_an_input(config: Any) -> None:
        config["config"]["input_layers"] = [["conv", 0, 0]]

    def twice(config: Any) -> None:
        config["config"]["layers"].append(config["config"]["layers"][1])

    for edit, message in (
        (unknown, "reads 'nobody', which does not give that"),
        (second_output, "reads 'dense', which does not give that"),
        (ring, "waits for its own output"),
        (not_an_input, "its inputs are not input layers of its own"),
        (twice, "two layers of the same name"),
        (lambda c: c["config"].update(output_layers=7), "has an input or output 7, which names no layer"),
    ):
        refused(with_config(files / "good.keras", edit), message)


# -- weights and sizes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["good.keras", "good.h5", "old.keras", "old.h5"])
def test_weights_that_do_not_fit(files: Path, file: str) -> None:
    refused(
        with_config(files / file, setting("dense", "units", 5)),
        r"layer 'dense': its kernel has shape \(64, 2\), its settings need \(64, 5\)",
        WeightsError,
    )
    refused(
        with_config(files / file, setting("dense", "use_bias", False)),
        "layer 'dense' needs kernel; the weights hold 2 arrays",
        WeightsError,
    )

    def another(config: Any) -> None:
        extra = json.loads(json.dumps(layer_of(config, "conv")).replace('"conv"', '"more"'))
        config["config"]["layers"].append(extra)

    refused(with_config(files / file, another), "layer 'more' needs kernel, bias; the weights hold 0", WeightsError)


def test_huge_shapes_are_not_read(files: Path, tmp_path: Path) -> None:
    huge = 2**40
    refused(with_config(files / "good.keras", setting("dense", "units", huge)), "its settings need", WeightsError)
    large = setting("image", "batch_shape", [None, 2**30, 2**30, 3])
    refused(with_config(files / "good.keras", large), "input 'image' makes a tensor .*too large for any device")

    def shuffled(config: Any) -> None:
        layer_of(config, "image")["config"]["batch_shape"] = [None, 2, 2**25]
        layers = config["config"]["layers"]
        layer_of(config, "conv").update(class_name="Reshape")
        layer_of(config, "conv")["config"] = {"name": "conv", "trainable": True, "target_shape": [2, 2**24, 2]}
        layer_of(config, "norm").update(class_name="Permute")
        layer_of(config, "norm")["config"] = {"name": "norm", "trainable": True, "dims": [1, 3, 2]}
        layers[:] = [x for x in layers if x["config"]["name"] not in ("dense",)]
        config["config"]["output_layers"] = [["flat", 0, 0]]

    refused(with_config(files / "good.keras", shuffled), "they are more than 1048576")

    def padded(config: Any) -> None:
        layer_of(config, "flat").update(class_name="ZeroPadding2D")
        layer_of(config, "flat")["config"] = {"name": "flat", "trainable": True, "padding": 2**20}

    refused(with_config(files / "good.keras", padded), "makes a tensor .*too large for any device")


def test_an_array_of_a_size_that_the_file_cannot_hold_is_not_read(files: Path) -> None:
    """HDF5 gives zeros for what was never written: a few bytes can declare gigabytes."""
    units = (ROOM_BYTES + ROOM_FACTOR * 10**6) // (4 * 64)
    path = with_config(files / "good.h5", setting("dense", "units", units))
    with h5py.File(path, "r+") as file:
        group = file["model_weights/dense"]
        for name, shape in (("kernel", (64, units)), ("bias", (units,))):
            full = next(n for n in group.attrs["weight_names"] if str(n).endswith(name))
            del group[full]
            group.create_dataset(full, shape, np.float32)
    refused(path, r"its kernel .* is more than a file of this size can hold; not read", WeightsError)


def test_an_archive_bomb_is_not_unpacked(files: Path, tmp_path: Path) -> None:
    for member in ("config.json", "model.weights.h5"):
        path = tmp_path / "bomb.keras"
        with zipfile.ZipFile(files / "good.keras") as good, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
            for name in good.namelist():
                bomb.writestr(name, bytes(100 * 2**20) if name == member else good.read(name))
        assert path.stat().st_size < 2**20
        refused(path, f"{member} unpacks to 104857600 bytes.*not read", WeightsError)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite")])
def test_weights_that_are_not_finite(files: Path, tmp_path: Path, value: float, message: str) -> None:
    path = tmp_path / "bad.h5"
    path.write_bytes((files / "good.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["model_weights/dense/dense/bias"][0] = value
    refused(path, f"bad.h5: 'dense/bias' holds 1 {message}", GraphError)


def test_a_negative_variance(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.h5"
    path.write_bytes((files / "good.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["model_weights/norm/norm/moving_variance"][1] = -0.5
    refused(path, "layer 'norm': its moving_variance holds a negative variance", WeightsError)


def test_weights_that_an_hdf5_file_mixes(tmp_path: Path) -> None:
    k = framework("keras")
    la = k.layers

    def model(name: str, inner: Any = None) -> Any:
        entry = la.Input((4,))
        x = la.Dense(4, name="same")(entry)
        return k.Model(entry, inner(x) if inner else x, name=name)

    entry = la.Input((4,))
    path = saved(k.Model(entry, model("outer", model("inner"))(entry)), tmp_path / "m.keras")
    assert {n.name for n in import_keras(path).nodes} == {"outer/same", "outer/inner/same"}
    # Keras cannot write the same names into one group; other versions wrote paths.
    path = tmp_path / "mixed.h5"
    saved(k.Model(entry, model("outer")(entry)), path)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/outer"]
        for key in ("kernel", "bias"):
            group[f"inner/same/{key}"] = group[f"same/{key}"][()]
        group.attrs["weight_names"] = ["same/kernel", "same/bias", "inner/same/kernel", "inner/same/bias"]
    refused(path, "several layers 'same' inside 'outer', whose weights this format mixes: save the model as .keras")

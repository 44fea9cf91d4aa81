"""Files and networks that cannot be taken: one line each, with what, where and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import make_node, make_opsetid
from onnx_oracle import node_model

from edgekit.errors import EdgekitError, GraphError, ImportFileError, UnsupportedOpError
from edgekit.importers.onnx import import_onnx

IMAGE = (1, 3, 8, 8)
KERNEL = np.ones((4, 3, 3, 3), np.float32)
RELU = make_node("Relu", ["x"], ["y"])


def refuse(match: str, source: Any, kind: type[EdgekitError] = ImportFileError, **options: Any) -> str:
    """Import must fail with that error, in one line."""
    if isinstance(source, onnx.ModelProto):
        source = source.SerializeToString()
    with pytest.raises(kind, match=match) as caught:
        import_onnx(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- files -------------------------------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    refuse(r"nowhere\.onnx: no such file", tmp_path / "nowhere.onnx")


def test_folder(tmp_path: Path) -> None:
    refuse(r"is a folder: give the \.onnx file", tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(64), "is no ONNX file, or a damaged or truncated one"),
        (b"just some text\n", "is no ONNX file, or a damaged or truncated one"),
        (node_model([RELU], IMAGE).SerializeToString()[:-7], "is no ONNX file, or a damaged or truncated one"),
    ],
)
def test_not_onnx(content: bytes, match: str, tmp_path: Path) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(content)
    assert str(path) in refuse(match, path)


def test_graph_without_nodes() -> None:
    refuse("holds a graph without nodes or outputs", node_model([], IMAGE))


def test_opsets() -> None:
    newest = onnx.defs.onnx_opset_version()
    refuse(r"opset 10 is older than 11: export again with opset_version=11", node_model([RELU], IMAGE, opset=10))
    refuse(rf"opset {newest + 1} is newer than {newest}.*update onnx", node_model([RELU], IMAGE, opset=newest + 1))
    model = node_model([RELU], IMAGE)
    del model.opset_import[:]
    model.opset_import.append(make_opsetid("ai.onnx.ml", 2))
    refuse("names no opset of the ONNX standard", model)


def test_newer_ir_version() -> None:
    model = node_model([RELU], IMAGE)
    model.ir_version = onnx.IR_VERSION + 1
    refuse(rf"IR version {onnx.IR_VERSION + 1} is newer than {int(onnx.IR_VERSION)}, .*update onnx, or export", model)
    model.ir_version = -1
    refuse("is no ONNX file, or a damaged", model)


def test_quantized_files() -> None:
    constants = {"s": np.float32(0.1), "z": np.uint8(3)}
    for node in (
        make_node("QuantizeLinear", ["x", "s", "z"], ["y"], name="q0"),
        make_node("QLinearAdd", ["x"], ["y"], name="q0", domain="com.microsoft"),
    ):
        refuse(r"is quantized \(node 'q0' is a QL?.*export the float model", node_model([node], IMAGE, constants))


# -- external data -----------------------------------------------------------------------------------------------------


@pytest.fixture
def external(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    model = node_model([make_node("Conv", ["x", "k"], ["y"])], IMAGE, {"k": KERNEL})
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    return path


def relocate(path: Path, **facts: str) -> None:
    """Change where the file says that its weights are."""
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = facts.get(entry.key, entry.value)
    path.write_bytes(model.SerializeToString())


def test_missing_external_data(external: Path) -> None:
    (external.parent / "net.data").unlink()
    refuse(r"its weights file 'net\.data' is missing: put it beside the \.onnx file", external)


def test_external_data_of_bytes(external: Path) -> None:
    refuse(r"its weights lie in another file, 'net\.data': give the path", external.read_bytes())


def test_truncated_external_data(external: Path) -> None:
    (external.parent / "net.data").write_bytes(bytes(10))
    refuse(r"weights 'k' ends behind the end of net\.data", external)


@pytest.mark.parametrize("location", ["../net.data", "/etc/passwd", "C:\\net.data", "a/../../net.data", ""])
def test_external_data_elsewhere(external: Path, location: str) -> None:
    relocate(external, location=location)
    refuse("refuses weights outside its own folder", external)


def test_external_data_behind_a_link(external: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_bytes((external.parent / "net.data").read_bytes())
    (external.parent / "net.data").unlink()
    (external.parent / "net.data").symlink_to(outside)
    refuse(r"refuses weights outside its own folder \('net\.data' is a link\)", external)


def test_external_data_with_bad_numbers(external: Path) -> None:
    relocate(external, length="many")
    refuse(r"offset or length in net\.data is no number", external)


# -- inputs ------------------------------------------------------------------------------------------------------------


def test_open_dimensions() -> None:
    model = node_model([RELU], ("N", 3, "height", "width"))
    refuse(r"input 'x' has the open dimension 'height' \(axis 2 of \(N, 3, height, width\)\): give input_shape=", model)
    refuse(r"input_shape=\(1, 4, 8, 8\) does not fit", model, input_shape=(1, 4, 8, 8))
    refuse(r"input_shape=\(1, 3, 8\) does not fit", model, input_shape=(1, 3, 8))
    refuse(r"input_shape=\(1, 3, 0, 8\) does not fit", model, input_shape=(1, 3, 0, 8))


def test_input_without_shape() -> None:
    model = node_model([RELU], IMAGE)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    refuse("input 'x' has no shape: give input_shape=", model)


def test_input_shape_for_several_inputs() -> None:
    model = node_model([make_node("Add", ["x", "z"], ["y"])], IMAGE, inputs=("x", "z"))
    refuse("input_shape= is for one input, this file has x, z", model, input_shape=IMAGE)


@pytest.mark.parametrize("shape", [(1, 3, 8), (1, 3, 4, 8, 8), (1,)])
def test_inputs_of_other_ranks(shape: tuple[int, ...]) -> None:
    refuse(
        r"input 'x' has shape .*: edgekit takes images \(N, C, H, W\) and vectors \(N, F\)", node_model([RELU], shape)
    )


def test_integer_input() -> None:
    model = node_model([RELU], (1, 5))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    refuse("input 'x' is of type int64", model)


# -- nodes -------------------------------------------------------------------------------------------------------------


def test_unknown_op() -> None:
    model = node_model([make_node("Multinomial", ["x"], ["y"], name="odd")], IMAGE)
    text = refuse(r"cannot take op Multinomial \(node 'odd'\): replace it or cut", model, UnsupportedOpError)
    assert "the importer takes Add, AveragePool" in text
    for op in ("Gelu", "Erf"):
        match = rf"cannot take op {op} .*edgekit has no GELU, use hard-swish or swish instead and train again"
        refuse(match, _one(op, opset=20), UnsupportedOpError)
    refuse("StatefulPartitionedCall .*Keras compiles its grouped", _one("StatefulPartitionedCall"), UnsupportedOpError)
    refuse("com.microsoft::FastGelu .*no GELU", _one("FastGelu", domain="com.microsoft"), UnsupportedOpError)
    refuse("com.microsoft::FusedConv .*onnxruntime", _one("FusedConv", domain="com.microsoft"), UnsupportedOpError)
    refuse("cannot take op LogSoftmax.*end the network at its logits", _one("LogSoftmax"), UnsupportedOpError)
    refuse("cannot take op mine::Relu", _one("Relu", domain="mine"), UnsupportedOpError)


def _one(op: str, inputs: tuple[str, ...] = ("x",), shape: Any = IMAGE, **attrs: Any) -> onnx.ModelProto:
    constants = {
        "k": KERNEL,
        "v3": np.ones(3, np.float32),
        "v5": np.ones(5, np.float32),
        "m": np.ones((8, 2), np.float32),
        "one": np.float32(1),
        "two": np.asarray([2], np.int64),
        "text": np.asarray(["a"], object),
        "pads": np.asarray([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "minus": np.asarray([0, 0, -1, 0, 0, 0, 0, 0], np.int64),
        "table": np.zeros((2, 2), np.int64),
        "seven": np.asarray([7, 1, 5, 1], np.int64),
        "huge": np.asarray([2**20, 2**20, 1, 1, 1, 1], np.int64),
        "often": np.asarray([1, 99, 1, 1], np.int64),
        "none": np.asarray([], np.int64),
        "yes": np.asarray(True),
        "nought": np.asarray([0], np.int64),
        "zero2": np.asarray([0, 0, 0], np.int64),
    }
    opset = attrs.pop("opset", 17)
    return node_model([make_node(op, list(inputs), ["y"], name="n", **attrs)], shape, constants, opset=opset)


POOL = {"kernel_shape": [2, 2]}
BAD_NODES = {
    "dynamic kernel": (_one("Conv", ("x", "x")), r"its kernel 'x' is computed from the input: it must be a constant"),
    "dynamic matrix": (_one("MatMul", ("x", "x"), (1, 8)), "its kernel 'x' is computed from the input"),
    "dynamic bias": (_one("Gemm", ("x", "m", "x"), (1, 8)), "its bias 'x' is computed from the input"),
    "one dimension": (_one("Conv", ("x", "v3"), (1, 3)), "is a convolution of 0 dimensions"),
    "wrong channels": (_one("Conv", ("x", "k"), (1, 5, 8, 8)), "5 input and 4 output channels in 1 groups do not fit"),
    "groups of zero": (_one("Conv", ("x", "k"), group=0), "in 0 groups do not fit"),
    "strides of zero": (
        _one("Conv", ("x", "k"), strides=[0, 1]),
        r"'strides' is \(0, 1\): it must be two positive",
    ),
    "negative pads": (_one("Conv", ("x", "k"), pads=[-1, 0, 0, 0]), "attribute 'pads' is .* none of them negative"),
    "odd auto_pad": (_one("Conv", ("x", "k"), auto_pad="SOME"), "attribute 'auto_pad' is 'SOME'"),
    "attribute type": (_one("Conv", ("x", "k"), group="two"), "attribute 'group' is not an int"),
    "kernel shape": (_one("Conv", ("x", "k"), kernel_shape=[5, 5]), "attribute 'kernel_shape' contradicts the kernel"),
    "window too large": (_one("Conv", ("x", "k"), (1, 3, 2, 2)), r"window \(3, 3\) does not fit into 2x2"),
    "bias size": (_one("Conv", ("x", "k", "v3")), r"bias has shape \(3,\), not \(4,\)"),
    "transposed input": (_one("Gemm", ("x", "m"), (1, 8), transA=1), "transA=1"),
    "matrix of other size": (_one("Gemm", ("x", "m"), (1, 5)), r"its kernel \(8, 2\) does not fit an input \(1, 5\)"),
    "dense bias": (_one("Gemm", ("x", "m", "v3"), (1, 8)), r"its bias \(3,\) does not fit 2 outputs"),
    "dense on an image": (_one("MatMul", ("x", "m")), r"works on a tensor \(1, 3, 8, 8\): .* vectors \(N, F\) only"),
    "training": (
        _one("BatchNormalization", ("x", *["v3"] * 4), training_mode=1),
        r"in training mode: call model\.eval\(\)",
    ),
    "statistics": (_one("BatchNormalization", ("x", "v3", "v3", "v5", "v3")), "its mean has 5 values for 3 channels"),
    "clip": (_one("Clip", ("x", "one")), r"clips to 1\.\.inf: only 0\.\.6 \(relu6\), 0\.\.inf \(relu\) and two"),
    "clip bounds": (_one("Clip", ("x", "v3")), r"its min has shape \(3,\)"),
    "strings": (_one("Add", ("x", "text")), "its operand is of type object: it must be numbers"),
    "quotient": (_one("Div", ("x", "x")), "its divisor 'x' is computed from the input"),
    "pool dilation": (_one("MaxPool", dilations=[2, 1], **POOL), r"is a pool with dilations \(2, 1\)"),
    "pool without window": (_one("MaxPool"), "attribute 'kernel_shape' is missing"),
    "pool of a vector": (_one("MaxPool", shape=(1, 3), **POOL), r"pools a tensor \(1, 3\)"),
    "max of tensors": (_one("Max", ("x", "x")), "compares tensors: only one activation and one number"),
    "min alone": (_one("Min", ("x", "one")), r"clips to -inf\.\.1: only 0\.\.6"),
    "power": (_one("Pow", ("x", "v5")), r"raises to the power .*: only 1 and 2 can be taken"),
    "swish": (_one("Swish", alpha=2.0, opset=24), "has alpha 2: only 1 can be taken"),
    "expand": (_one("Expand", ("x", "seven")), r"cannot expand \(1, 3, 8, 8\) to \(7, 1, 5, 1\)"),
    "huge expand": (_one("Expand", ("x", "huge")), r"makes a tensor \(1048576, 1048576, 1, 3, 8, 8\), which is too"),
    "tile ranks": (_one("Tile", ("x", "two")), r"its repeats \(2,\) do not fit \(1, 3, 8, 8\)"),
    "tile often": (_one("Tile", ("x", "often")), r"repeats axis 1 99 times: at most 64"),
    "no indices": (_one("Gather", ("x", "none")), "has an empty list of indices: it must take something"),
    "dropout in training": (_one("Dropout", ("x", "one", "yes")), r"drops values as in training: call model\.eval"),
    "channel mean": (_one("ReduceMean", axes=[1]), r"reduces axes \(1,\) of \(1, 3, 8, 8\): only height and width"),
    "reflect": (_one("Pad", ("x", "pads"), mode="reflect"), "pads by 'reflect': only zeros"),
    "pad value": (_one("Pad", ("x", "pads", "one")), r"pads with 1\.0: only zeros"),
    "crop": (_one("Pad", ("x", "minus")), "none of them negative"),
    "pad count": (_one("Pad", ("x", "two")), r"its pads \(2,\) do not fit"),
    "gather table": (_one("Gather", ("x", "table")), r"has indices of shape \(2, 2\): only a list"),
    "gather outside": (_one("Gather", ("x", "two")), "axis 2 is outside rank 1"),
    "slice lengths": (
        _one("Slice", ("x", "two", "zero2")),
        r"its starts \(2,\), ends \(0, 0, 0\), axes .* differ in length",
    ),
    "slice step": (_one("Slice", ("x", "two", "two", "two", "nought")), "has a step of 0"),
    "empty slice": (_one("Slice", ("x", "two", "two", "two")), "is empty or outside"),
    "reshape": (_one("Reshape", ("x", "two")), r"cannot reshape \(1, 3, 8, 8\) to \(2,\)"),
    "squeeze": (_one("Squeeze", ("x", "two")), r"cannot squeeze axes \[2\] of \(1, 3, 8, 8\)"),
    "transpose": (_one("Transpose", perm=[0, 1, 2, 2]), r"its perm \(0, 1, 2, 2\) does not fit"),
    "cast to int": (_one("Cast", to=7), "casts an activation to ONNX type 7"),
    "softmax axis": (_one("Softmax", axis=7), "its axis 7 is outside"),
    "constant where activation": (_one("Relu", ("k",)), "its input 'k' is a constant where an activation is needed"),
    "missing input": (_one("Relu", ("",)), "its input 0 is missing"),
    "unknown input": (_one("Relu", ("ghost",)), "reads 'ghost', which nothing before it makes"),
    "concat shapes": (_one("Concat", ("x", "k"), axis=1), "its input 'k' is a constant"),
    "fold": (_one("Add", ("v3", "v5")), "its constant inputs do not fit"),
}


@pytest.mark.parametrize("name", BAD_NODES)
def test_nodes_that_cannot_be_taken(name: str) -> None:
    model, match = BAD_NODES[name]
    text = refuse(match, model)
    assert f"node 'n' ({model.graph.node[0].op_type}): " in text


def test_dropout_mask_and_pool_indices() -> None:
    refuse("returns its mask", node_model([make_node("Dropout", ["x"], ["y", "mask"])], IMAGE))
    refuse("returns the indices", node_model([make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2])], IMAGE))
    statistics = {"v": np.ones(3, np.float32)}
    norm = make_node("BatchNormalization", ["x", "v", "v", "v", "v"], ["y", "m", "s"])
    refuse("is in training mode", node_model([norm], IMAGE, statistics))


def test_tensors_of_three_and_five_dimensions() -> None:
    tokens = [
        make_node("Reshape", ["x", "s"], ["t"]),
        make_node("Transpose", ["t"], ["u"], perm=[0, 2, 1]),
        make_node("MatMul", ["u", "k"], ["y"], name="qkv"),
    ]
    constants = {"s": np.asarray([1, 3, -1]), "k": np.ones((3, 4), np.float32)}
    refuse(
        r"node 'qkv' \(MatMul\): works on a tensor of 3 dimensions \(1, 64, 3\)", node_model(tokens, IMAGE, constants)
    )
    blocks = [
        make_node("Reshape", ["x", "s"], ["t"]),
        make_node("Transpose", ["t"], ["u"], perm=[0, 1, 4, 2, 5, 3]),
        make_node("Reshape", ["u", "o"], ["v"]),
        make_node("Conv", ["v", "k"], ["y"], name="after"),
    ]
    unshuffle = {
        "s": np.asarray([1, 3, 4, 2, 4, 2]),
        "o": np.asarray([1, 6, 4, 8]),
        "k": np.ones((2, 6, 1, 1), np.float32),
    }
    refuse(r"node 'after' \(Conv\): needs a transpose of .* axes", node_model(blocks, IMAGE, unshuffle))


def test_name_made_twice() -> None:
    refuse("makes 'y' a second time", node_model([RELU, RELU], IMAGE))


def test_output_that_is_made_by_nothing_or_constant() -> None:
    refuse("output 'z' is made by no node", node_model([RELU], IMAGE, outputs=("z",)))
    constant = make_node("Identity", ["c"], ["y"])
    refuse("output 'y' does not depend on the input", node_model([constant], IMAGE, {"c": np.ones(3, np.float32)}))


def test_nan_names_the_tensor() -> None:
    kernel = KERNEL.copy()
    kernel[1, 2, 0, 1] = np.nan
    nodes = [make_node("Conv", ["x", "first.weight"], ["c"]), make_node("Relu", ["c"], ["y"])]
    model = node_model(nodes, IMAGE, {"first.weight": kernel})
    refuse("'first/kernel' holds 1 NaN or infinite values", model, GraphError)


def test_huge_constants() -> None:
    size = {"s": np.asarray([2**20, 2**20])}
    refuse("is too large", node_model([make_node("ConstantOfShape", ["s"], ["y"])], IMAGE, size))


def test_sparse_and_damaged_weights() -> None:
    model = node_model([make_node("Conv", ["x", "k"], ["y"])], IMAGE, {"k": KERNEL})
    model.graph.initializer[0].raw_data = b"123"
    refuse("tensor 'k' is damaged", model)
    model.graph.sparse_initializer.add()
    refuse("has sparse weights: export them dense", model)


def test_op_names_with_line_breaks_stay_in_one_line() -> None:
    refuse(r"cannot take op Re\?lu", _one("Re\nlu"), UnsupportedOpError)


def test_overflowing_weights_name_the_tensor() -> None:
    model = node_model(
        [make_node("Gemm", ["x", "k"], ["y"], alpha=1e38)], (1, 2), {"k": np.full((2, 2), 1e9, np.float32)}
    )
    refuse("'y/kernel' holds 4 NaN or infinite values", model, GraphError)

"""What cannot be taken is refused in one line that says what, where and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_files import Op, edited, tflite_file

from edgekit.errors import GraphError, ImportFileError, UnsupportedOpError
from edgekit.importers.tflite import import_tflite

X, Y = ["x"], ["y"]
RELU = [Op("RELU", X, Y)]
WINDOW = {"strideH": 1, "strideW": 1, "filterHeight": 2, "filterWidth": 2}
CONV = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
ONES = np.ones((3, 2, 2, 2), np.float32)


def ints(*values: Any) -> np.ndarray:
    return np.asarray(values, np.int32)


def options(op: str, table: str, constants: Sequence[str] = (), **fields: Any) -> list[Op]:
    return [Op(op, ["x", *constants], Y, table, fields)]


def refused(data: bytes, match: str, error: type[Exception] = ImportFileError, **given: Any) -> None:
    with pytest.raises(error, match=match) as caught:
        import_tflite(data, **given)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("op", "match"),
    [
        ("LEAKY_RELU", r"cannot take op LEAKY_RELU \(node 'y'\): train with ReLU"),
        ("PRELU", "train with ReLU"),
        ("TANH", "train with ReLU"),
        ("GELU", "train with ReLU"),
        ("MIRROR_PAD", "pad with zeros instead"),
        ("LOG_SOFTMAX", "end the network at its logits"),
        ("ARG_MAX", "end the network at its scores"),
        ("WHILE", "constant control flow"),
        ("IF", "constant control flow"),
        ("TRANSPOSE_CONV", "cut the network before it; the importer takes ADD, AVERAGE_POOL_2D"),
        ("QUANTIZE", "export the float model, edgekit quantizes it itself"),
        ("FlexErf", r"op FlexErf .*convert without SELECT_TF_OPS"),
        ("TFLite_Detection_PostProcess", "custom op, whose meaning the file does not tell"),
    ],
)
def test_ops_outside_the_table(op: str, match: str) -> None:
    refused(tflite_file([Op(op, X, Y)]), match, UnsupportedOpError)


Case = tuple[list[Op], Mapping[str, np.ndarray], str]
CASES: dict[str, Case] = {
    "tanh": (options("ADD", "AddOptions", ["c"], fusedActivationFunction=4), {"c": ONES}, "fused activation TANH"),
    "relu n1": (options("MUL", "MulOptions", ["c"], fusedActivationFunction=2), {"c": ONES}, "RELU_N1_TO_1: edgekit"),
    "strides": (options("MAX_POOL_2D", "Pool2DOptions", filterHeight=2, filterWidth=2), {}, "StrideH and StrideW"),
    "padding": (options("MAX_POOL_2D", "Pool2DOptions", **WINDOW, padding=5), {}, "padding number 5"),
    "window": (options("MAX_POOL_2D", "Pool2DOptions", **{**WINDOW, "filterWidth": 9, "padding": 1}), {}, "window"),
    "filter": (options("CONV_2D", "Conv2DOptions", ["k"], **CONV), {"k": ONES[..., :0]}, "does not fit 2 channels"),
    "filter rank": (options("CONV_2D", "Conv2DOptions", ["k"], **CONV), {"k": ONES[0]}, "four dimensions"),
    "filter type": (
        options("CONV_2D", "Conv2DOptions", ["k"], **CONV),
        {"k": ONES.astype(np.int8)},
        "of type int8 without scales",
    ),
    "computed filter": (options("CONV_2D", "Conv2DOptions", ["x"], **CONV), {}, "filter is computed from the input"),
    "bias": (
        options("CONV_2D", "Conv2DOptions", ["k", "b"], **CONV),
        {"k": ONES, "b": np.ones(2, np.float32)},
        r"bias \(2,\) does not fit 3 outputs",
    ),
    "other options": (options("CONV_2D", "MulOptions", ["k"]), {"k": ONES}, "options of another op"),
    "shuffled": (
        options("FULLY_CONNECTED", "FullyConnectedOptions", ["w"], weightsFormat=1),
        {"w": np.ones((3, 2), np.float32)},
        "shuffled weights",
    ),
    "dense": (
        options("FULLY_CONNECTED", "FullyConnectedOptions", ["w"]),
        {"w": np.ones((3, 5), np.float32)},
        "do not fit an input",
    ),
    "adjoint": (
        options("BATCH_MATMUL", "BatchMatMulOptions", ["w"], adjX=True),
        {"w": np.ones((4, 3), np.float32)},
        "transposed activation",
    ),
    "beta": (options("SOFTMAX", "SoftmaxOptions", beta=0.0), {}, "beta 0"),
    "maximum": (options("MAXIMUM", "MaximumMinimumOptions", ["c"]), {"c": np.float32([1])}, "only 0 .a ReLU."),
    "minimum": (options("MINIMUM", "MaximumMinimumOptions", ["c"]), {"c": np.float32([6])}, "only 6 together with a"),
    "divisor": (options("DIV", "DivOptions", ["x"]), {}, "divisor is computed"),
    "mean": ([Op("MEAN", ["x", "a"], Y)], {"a": ints(1, 3)}, "only neighbouring axes"),
    "all": ([Op("MEAN", ["x", "a"], Y)], {"a": ints(0, 1, 2, 3)}, "not all"),
    "axis": ([Op("MEAN", ["x", "a"], Y)], {"a": ints(4)}, "axis 4 lies outside 4 dimensions"),
    "reverse": (
        [Op("STRIDED_SLICE", ["x", "a", "b", "c"], Y)],
        {"a": ints(3), "b": ints(0), "c": ints(-1)},
        "reverses",
    ),
    "step": ([Op("STRIDED_SLICE", ["x", "a", "b", "c"], Y)], {"a": ints(0), "b": ints(0), "c": ints(0)}, "stride of 0"),
    "ellipsis": (
        options("STRIDED_SLICE", "StridedSliceOptions", ["a", "a", "a"], ellipsisMask=1),
        {"a": ints(0)},
        "ellipsis or new axes",
    ),
    "slice": ([Op("SLICE", ["x", "a", "b"], Y)], {"a": ints(0, 0, 0, 1), "b": ints(1, 4, 4, 2)}, "lies outside"),
    "gather": ([Op("GATHER", ["x", "i"], Y)], {"i": ints([0, 1], [1, 0])}, "only one list for all"),
    "index": (options("GATHER", "GatherOptions", ["i"], axis=3), {"i": ints(2)}, "indices lie outside axis 3"),
    "pads": ([Op("PAD", ["x", "w"], Y)], {"w": ints(-1, 0, 0, 0, 0, 0, 0, 0)}, "does not fit"),
    "huge": ([Op("PAD", ["x", "w"], Y)], {"w": ints(0, 0, 2**30, 2**30, 0, 0, 0, 0)}, "edgekit takes up to"),
    "reshape": ([Op("RESHAPE", ["x", "s"], Y)], {"s": ints(1, 5)}, r"cannot reshape \(1, 4, 4, 2\) to \(1, 5\)"),
    "squeeze": (options("SQUEEZE", "SqueezeOptions", squeezeDims=ints(1)), {}, r"cannot squeeze axes \[1\]"),
    "split": ([Op("SPLIT", ["a", "x"], ["y", "z", "u"])], {"a": ints(3)}, "cannot split 2 into 3"),
    "fill": ([Op("FILL", ["s", "v"], Y)], {"s": ints(2**30, 2**30), "v": np.float32(1)}, "edgekit takes up to"),
    "fold": ([Op("ADD", ["a", "b"], Y)], {"a": ints(1, 2), "b": ints(1, 2, 3)}, "constant inputs do not fit"),
    "batches": ([Op("BATCH_TO_SPACE_ND", ["x", "b", "c"], Y)], {"b": ints(2, 2), "c": ints(0, 0, 0, 0)}, "reads no"),
    "spread": (
        [Op("SPACE_TO_BATCH_ND", ["x", "b", "c"], ["z"]), Op("RELU", ["z"], Y)],
        {"b": ints(2, 2), "c": ints(0, 0, 0, 0)},
        "only a convolution can",
    ),
    "cycle": ([Op("RELU", ["z"], ["y"]), Op("RELU", ["y"], ["z"])], {}, "reads 'z', which nothing before it makes"),
    "twice": ([*RELU, *RELU], {}, "makes 'y' a second time"),
    "unmade": ([Op("RELU", X, ["z"])], {}, "output 'y' is made by no operator"),
    "constant": ([Op("NEG", ["c"], Y)], {"c": ONES}, "output 'y' does not depend on the input"),
    "left out": ([Op("ADD", ["x", None], Y)], {}, "lacks an input"),
    "nothing": ([Op("CONCATENATION", [], Y)], {}, "has no input or no output"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_ops_cannot_have(name: str) -> None:
    made, constants, match = CASES[name]
    refused(tflite_file(made, constants), match)


def _tensor(model: Any, name: str) -> Any:
    return next(
        t for t in model.subgraphs[0].tensors if (t.name if isinstance(t.name, str) else t.name.decode()) == name
    )


def _set(tensor: str, /, **fields: Any) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        for key, value in fields.items():
            setattr(_tensor(model, tensor), key, value)

    return edit


def _quantized(name: str, kind: int) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = np.float32([0.1]), np.int64([3])
        _set(name, type=kind, quantization=quantization)(model)

    return edit


def _two_graphs(model: Any) -> None:
    model.subgraphs = model.subgraphs * 2


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (
            _quantized("x", 9),
            "is quantized .*'x', which is int8.*: export the float model, edgekit quantizes it itself",
        ),
        (_quantized("y", 3), "is quantized .*'y', which is uint8"),
        (_set("x", type=2), "input 'x' is of type int32: edgekit takes float32"),
        (_set("x", type=10), "input 'x' is of type float64"),
        (_set("y", type=1), "'y' of type float16: activations must be float32"),
        (_set("x", shape=ints(1, 2, 2, 2, 2)), r"has shape \(1, 2, 2, 2, 2\)"),
        (_set("x", shape=ints(1, 0, 4, 2)), "empty shape"),
        (_set("x", shape=ints(1, -4, 4, 2)), "which cannot be"),
        (_set("x", shape=ints(1, 2**31 - 1, 2**31 - 1, 3)), "edgekit takes up to"),
        (
            _set("x", shapeSignature=ints(-1, -1, 4, 2)),
            r"open dimensions besides the batch \(\?, \?, 4, 2\): give input_",
        ),
        (_set("x", shape=ints(*[1] * 9)), "claims 9 entries of Shape"),
        (_two_graphs, "holds 2 graphs: edgekit takes one, without control flow"),
        (lambda model: setattr(model, "subgraphs", []), "holds 0 graphs"),
        (lambda model: setattr(model.subgraphs[0], "inputs", ints()), "no inputs"),
        (lambda model: setattr(model.subgraphs[0], "inputs", ints(7)), "no tensor 7"),
        (lambda model: setattr(model.subgraphs[0], "outputs", ints(-1)), "an output is left out"),
        (lambda model: setattr(model.subgraphs[0], "outputs", ints()), "needs inputs and outputs"),
        (lambda model: setattr(model.subgraphs[0].operators[0], "opcodeIndex", 5), "no operator code 5"),
        (lambda model: setattr(model.subgraphs[0].operators[0], "outputs", ints(-1)), "no input or no output"),
        (_set("x", name="n" * 200_000), "names are longer"),
    ],
)
def test_what_files_cannot_have(edit: Callable[[Any], None], match: str) -> None:
    refused(edited(tflite_file(RELU), edit), match, (ImportFileError, GraphError))  # type: ignore[arg-type]


def _bytes_behind(model: Any) -> None:
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, 10**6, 32


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (_set("c", shape=ints(2**30, 2**30)), "'c' holds 96 bytes, where float32.* takes 4611686018427387904"),
        (_set("c", shape=ints(-3, -8)), "the file is damaged"),
        (_set("c", shape=ints(23)), "holds 96 bytes, where float32.23,. takes 92"),
        (_set("c", type=17), "of type int4: edgekit reads float32, float16 and int8"),
        (_set("c", buffer=99), "has no buffer 99"),
        (_set("c", sparsity=schema.SparsityParametersT()), "stored sparse"),
        (_bytes_behind, "buffer 1 ends behind its end"),
    ],
)
def test_what_constants_cannot_be(edit: Callable[[Any], None], match: str) -> None:
    refused(edited(tflite_file([Op("ADD", ["x", "c"], Y)], {"c": ONES}), edit), match)


def test_scales_must_fit_the_constant() -> None:
    def edit(model: Any) -> None:
        _quantized("c", 9)(model)
        _tensor(model, "c").quantization.scale = np.ones(5, np.float32)

    data = tflite_file([Op("ADD", ["x", "c"], Y)], {"c": ONES.astype(np.int8)}, edit=edit)
    refused(data, "has 5 scales and 1 zero points on axis 0: they do not fit")


def test_weights_that_are_not_numbers() -> None:
    data = tflite_file([Op("ADD", ["x", "c"], Y)], {"c": np.float32([np.nan, 1])})
    refused(data, "holds 1 NaN or infinite values", GraphError)


def test_a_few_bytes_cannot_ask_for_gigabytes() -> None:
    """Each fill stays within bounds, all of them together do not."""
    fills = [Op("FILL", ["s", "v"], [f"f{i}"]) for i in range(6)]
    constants = {"s": ints(2**20), "v": np.float32(1)}
    assert import_tflite(tflite_file([*fills[:3], *RELU], constants)).nodes
    refused(tflite_file([*fills, *RELU], constants), r"makes constants of more than \d+ elements out of \d+ bytes")


def test_paths(tmp_path: Path) -> None:
    (tmp_path / "cut.tflite").write_bytes(tflite_file(RELU)[:100])
    (tmp_path / "text.tflite").write_bytes(b"<html>no model</html>")
    (tmp_path / "empty.tflite").touch()
    for name, match in (
        ("none.tflite", "none.tflite: no such file"),
        ("cut.tflite", "cut.tflite: is a damaged or truncated TFLite file"),
        ("text.tflite", "its identifier is not TFL3"),
        ("empty.tflite", "is empty"),
        ("", "cannot be read: .*[Dd]irectory"),
    ):
        with pytest.raises(ImportFileError, match=match):
            import_tflite(tmp_path / name)


def test_input_shape_fills_what_is_open() -> None:
    data = tflite_file(RELU, edit=_set("x", shapeSignature=ints(-1, -1, -1, 2)))
    graph = import_tflite(data, input_shape=(2, 5, 6, 2), name="named")
    assert (graph.name, graph.shape("x")) == ("named", (2, 5, 6, 2))
    refused(data, r"has shape \(\?, \?, \?, 2\): input_shape=\(1, 5, 6, 3\) does not fit it", input_shape=(1, 5, 6, 3))
    refused(data, "does not fit it", input_shape=(1, 5, 6))
    two = tflite_file([Op("ADD", ["x", "z"], Y)], inputs=("x", "z"))
    refused(two, "is for one input, this file has 'x, z'", input_shape=(1, 4, 4, 2))


def test_names_are_kept_cleaned_and_unique() -> None:
    def rename(model: Any) -> None:
        for tensor, name in zip(
            model.subgraphs[0].tensors,
            ("serving_default_in:0", "a/Relu6;a/BiasAdd;a/Conv2D", "a/Relu6;b", "net/torch.nn.modules.Re_1;", "\n;;"),
            strict=True,
        ):
            tensor.name = name

    chain = [Op("RELU", [a], [b]) for a, b in zip("xabc", "abcy", strict=True)]
    graph = import_tflite(tflite_file(chain, edit=rename))
    assert graph.inputs == ("serving_default_in",)
    assert [n.output for n in graph.nodes] == ["a/Relu6", "a/Relu6_1", "net/Re_1", "_"]

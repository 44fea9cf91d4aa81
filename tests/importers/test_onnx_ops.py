"""One op at a time against onnxruntime, in every form that the opsets from 11 on have for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import make_node
from onnx_oracle import check_import, node_model, ops

RNG = np.random.default_rng(7)
KERNEL = RNG.standard_normal((6, 3, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(6).astype(np.float32)
IMAGE = (1, 3, 8, 7)


def run(
    nodes: list[onnx.NodeProto],
    shape: tuple[int, ...] = IMAGE,
    /,
    *,
    opset: int = 17,
    nhwc_output: bool = False,
    outputs: tuple[str, ...] | list[str] = ("y",),
    **constants: Any,
) -> list[str]:
    """Import, compare with onnxruntime, return the graph's ops."""
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    return ops(check_import(node_model(nodes, shape, arrays, opset=opset, outputs=outputs), nhwc_output=nhwc_output))


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 3)])
def test_conv_auto_pad(auto_pad: str, strides: tuple[int, int]) -> None:
    node = make_node("Conv", ["x", "k", "b"], ["y"], auto_pad=auto_pad, strides=strides)
    assert run([node], k=KERNEL, b=BIAS) == ["conv2d"]


def test_conv_defaults_and_depthwise_multiplier() -> None:
    assert run([make_node("Conv", ["x", "k"], ["y"])], k=KERNEL) == ["conv2d"]
    assert run([make_node("Conv", ["x", "k"], ["y"], group=3, pads=[0, 1, 2, 3])], k=KERNEL[:, :1]) == ["conv2d"]


@pytest.mark.parametrize("transpose", [0, 1])
def test_gemm_folds_alpha_beta_and_bias_shapes(transpose: int) -> None:
    matrix = RNG.standard_normal((5, 4)).astype(np.float32)
    for bias in (np.ones((1, 4), np.float32), np.float32(2.0), np.arange(4, dtype=np.float32)):
        node = make_node("Gemm", ["x", "k", "b"], ["y"], alpha=0.5, beta=2.0, transB=transpose)
        assert run([node], (1, 5), k=matrix.T if transpose else matrix, b=bias) == ["dense"]


def test_matmul_and_add_become_one_dense_layer() -> None:
    matrix = RNG.standard_normal((5, 4)).astype(np.float32)
    nodes = [make_node("MatMul", ["x", "k"], ["m"]), make_node("Add", ["b", "m"], ["y"])]
    assert run(nodes, (1, 5), k=matrix, b=BIAS[:4]) == ["dense"]
    read_twice = [*nodes[:1], make_node("Add", ["m", "b"], ["a"]), make_node("Mul", ["a", "m"], ["y"])]
    assert run(read_twice, (1, 5), k=matrix, b=BIAS[:4]) == ["dense", "add", "mul"]


def test_conv_and_add_become_one_convolution() -> None:
    nodes = [make_node("Conv", ["x", "k"], ["c"]), make_node("Add", ["c", "b"], ["y"])]
    assert run(nodes, k=KERNEL, b=BIAS.reshape(1, 6, 1, 1)) == ["conv2d"]
    assert run(nodes, k=KERNEL, b=np.ones((6, 6, 5), np.float32)) == ["conv2d", "add"]


def test_batch_norm_on_images_and_vectors() -> None:
    node = make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], epsilon=1e-2)
    values = {"g": BIAS[:3], "b": BIAS[3:], "m": BIAS[1:4], "v": np.abs(BIAS[:3])}
    assert run([node], **values) == ["batch_norm"]
    assert run([node], (1, 3), **values) == ["batch_norm"]


@pytest.mark.parametrize(("low", "high", "op"), [(0, 6, "relu6"), (0, 3.5e38, "relu"), (0, None, "relu")])
def test_clip_of_newer_opsets(low: float, high: float | None, op: str) -> None:
    limits = {"lo": np.float32(low)} | ({} if high is None else {"hi": np.float32(min(high, 3.4028235e38))})
    assert run([make_node("Clip", ["x", *limits], ["y"])], **limits) == [op]


def test_clip_without_bounds_is_nothing() -> None:
    assert run([make_node("Clip", ["x"], ["c"]), make_node("Relu", ["c"], ["y"])]) == ["relu"]


@pytest.mark.parametrize(
    ("onnx_op", "op", "opset", "attrs"),
    [
        ("Relu", "relu", 13, {}),
        ("Sigmoid", "sigmoid", 13, {}),
        ("HardSigmoid", "hard_sigmoid", 13, {}),
        ("HardSigmoid", "hard_sigmoid", 13, {"alpha": 0.25, "beta": 0.4}),
        ("HardSwish", "hard_swish", 14, {}),
    ],
)
def test_activations(onnx_op: str, op: str, opset: int, attrs: dict[str, float]) -> None:
    assert run([make_node(onnx_op, ["x"], ["y"], **attrs)], opset=opset) == [op]


NUMBERS = {
    name: np.float32(value)
    for name, value in {"c0": 0, "half": 0.5, "c1": 1, "c3": 3, "c6": 6, "s": 1 / 6, "r2": 2**-0.5}.items()
}
PLUS = [make_node("Add", ["x", "c3"], ["a"]), make_node("Clip", ["a", "c0", "c6"], ["r"])]
PATTERNS = {
    "gate-product-quotient": [*PLUS, make_node("Mul", ["x", "r"], ["m"]), make_node("Div", ["m", "c6"], ["y"])],
    "gate-quotient-product": [*PLUS, make_node("Div", ["r", "c6"], ["m"]), make_node("Mul", ["m", "x"], ["y"])],
    "sixth-times-gate": [*PLUS, make_node("Div", ["x", "c6"], ["m"]), make_node("Mul", ["r", "m"], ["y"])],
    "product-times-sixth": [*PLUS, make_node("Mul", ["r", "x"], ["m"]), make_node("Mul", ["m", "s"], ["y"])],
    "min-max": [
        make_node("Add", ["c3", "x"], ["a"]),
        make_node("Max", ["a", "c0"], ["p"]),
        make_node("Min", ["c6", "p"], ["r"]),
        make_node("Div", ["r", "c6"], ["g"]),
        make_node("Mul", ["g", "x"], ["y"]),
    ],
    "relu-min": [
        make_node("Add", ["x", "c3"], ["a"]),
        make_node("Relu", ["a"], ["p"]),
        make_node("Min", ["p", "c6"], ["r"]),
        make_node("Mul", ["x", "r"], ["m"]),
        make_node("Div", ["m", "c6"], ["y"]),
    ],
    "unit-clip-of-quotient": [
        make_node("Add", ["x", "c3"], ["a"]),
        make_node("Div", ["a", "c6"], ["d"]),
        make_node("Clip", ["d", "c0", "c1"], ["r"]),
        make_node("Mul", ["x", "r"], ["y"]),
    ],
    "unit-clip-of-sum": [
        make_node("Mul", ["x", "s"], ["a"]),
        make_node("Add", ["half", "a"], ["d"]),
        make_node("Clip", ["d", "c0", "c1"], ["r"]),
        make_node("Mul", ["r", "x"], ["y"]),
    ],
    "gate-times-sixth": [*PLUS, make_node("Mul", ["s", "r"], ["m"]), make_node("Mul", ["x", "m"], ["y"])],
    "hard-sigmoid": [make_node("HardSigmoid", ["x"], ["h"], alpha=1 / 6), make_node("Mul", ["h", "x"], ["y"])],
}


@pytest.mark.parametrize("name", PATTERNS)
def test_hard_swish_patterns(name: str) -> None:
    assert run(PATTERNS[name], **NUMBERS) == ["hard_swish"]


def test_other_patterns() -> None:
    gate = [*PLUS, make_node("Mul", ["r", "s"], ["y"])]
    assert run(gate, **NUMBERS) == ["hard_sigmoid"]
    assert run(PATTERNS["unit-clip-of-sum"][:3], outputs=["r"], **NUMBERS) == ["hard_sigmoid"]
    for product in (["x", "h"], ["h", "x"]):
        assert run([make_node("Sigmoid", ["x"], ["h"]), make_node("Mul", product, ["y"])]) == ["swish"]


def test_patterns_with_other_numbers_stay_apart() -> None:
    found = run(PATTERNS["gate-product-quotient"], **NUMBERS | {"c3": np.float32(2)})
    assert found == ["add", "relu6", "mul", "mul"]
    found = run(PATTERNS["sixth-times-gate"], **NUMBERS | {"c6": np.float32(6.5)})
    assert found == ["hard_sigmoid", "mul", "mul", "mul"]
    other = [make_node("Sigmoid", ["x"], ["h"]), make_node("Relu", ["x"], ["r"]), make_node("Mul", ["r", "h"], ["y"])]
    assert run(other) == ["sigmoid", "relu", "mul"]


SOFTMAXES = [(11, 1, (1, 5)), (13, -1, (1, 5)), (13, 1, IMAGE), (13, 3, IMAGE)]


@pytest.mark.parametrize(("opset", "axis", "shape"), SOFTMAXES)
def test_softmax(opset: int, axis: int, shape: tuple[int, ...]) -> None:
    found = run([make_node("Softmax", ["x"], ["y"], axis=axis)], shape, opset=opset, nhwc_output=axis == 3)
    assert found == (["transpose", "softmax"] if axis == 3 else ["softmax"])


def test_softmax_of_old_opsets_flattens() -> None:
    assert run([make_node("Softmax", ["x"], ["y"])], opset=11).count("softmax") == 1
    assert run([make_node("Softmax", ["x"], ["y"])], (1, 5, 1, 1), opset=11) == ["softmax"]


def test_arithmetic_with_constants() -> None:
    scale = np.asarray([1, 2, 4], np.float32).reshape(3, 1, 1)
    nodes = [
        make_node("Sub", ["x", "c"], ["a"]),
        make_node("Div", ["a", "c"], ["b"]),
        make_node("Sub", ["one", "b"], ["c2"]),
        make_node("Mul", ["c2", "full"], ["d"]),
        make_node("Sub", ["d", "x"], ["y"]),
    ]
    full = RNG.standard_normal((1, 3, 8, 7)).astype(np.float32)
    found = run(nodes, c=scale, one=np.ones((1, 1, 1, 1), np.float32), full=full)
    assert found == ["add", "mul", "mul", "add", "mul", "mul", "add"]


def test_broadcast_of_a_vector_over_an_image() -> None:
    nodes = [
        make_node("GlobalAveragePool", ["x"], ["p"]),
        make_node("Flatten", ["p"], ["f"]),
        make_node("Unsqueeze", ["f", "axes"], ["u"]),
        make_node("Mul", ["x", "u"], ["y"]),
    ]
    assert run(nodes, axes=np.asarray([2, -1])) == ["global_avg_pool", "mul"]


@pytest.mark.parametrize("opset", [11, 13])
def test_squeeze_and_unsqueeze_forms(opset: int) -> None:
    pool = make_node("GlobalAveragePool", ["x"], ["p"])
    if opset == 11:
        nodes = [pool, make_node("Squeeze", ["p"], ["y"], axes=[2, 3])]
        assert run(nodes, opset=opset) == ["global_avg_pool"]
    else:
        nodes = [pool, make_node("Squeeze", ["p", "axes"], ["y"])]
        assert run(nodes, opset=opset, axes=np.asarray([-1, 2])) == ["global_avg_pool"]


def test_concat_on_each_axis() -> None:
    for axis in (1, 2, -1):
        nodes = [make_node("Relu", ["x"], ["r"]), make_node("Concat", ["x", "r"], ["y"], axis=axis)]
        assert run(nodes) == ["relu", "concat"]


@pytest.mark.parametrize(
    ("opset", "attrs", "sizes"),
    [(11, {"split": [1, 2]}, None), (11, {}, None), (13, {}, [2, 1]), (18, {"num_outputs": 2}, None)],
)
def test_split_forms(opset: int, attrs: dict[str, Any], sizes: list[int] | None) -> None:
    given = {} if sizes is None else {"s": np.asarray(sizes)}
    nodes = [
        make_node("Split", ["x", *given], ["a", "b"], axis=1 if attrs or given else 2, **attrs),
        make_node("Concat", ["b", "a"], ["y"], axis=1 if attrs or given else 2),
    ]
    assert run(nodes, opset=opset, **given) == ["split", "concat"]


def test_slice_forms() -> None:
    bounds = {"s": np.asarray([1, -3]), "e": np.asarray([2**62, 7]), "a": np.asarray([1, -1]), "t": np.asarray([1, 2])}
    assert run([make_node("Slice", ["x", "s", "e", "a", "t"], ["y"])], **bounds) == ["slice"]
    everything = [make_node("Slice", ["x", "s", "e"], ["z"]), make_node("Relu", ["z"], ["y"])]
    assert run(everything, s=np.zeros(4, np.int64), e=np.full(4, 99)) == ["relu"]


def test_reversed_axis_is_a_gather() -> None:
    bounds = {"s": np.asarray([-1]), "e": np.asarray([-99]), "a": np.asarray([1]), "t": np.asarray([-1])}
    assert run([make_node("Slice", ["x", "s", "e", "a", "t"], ["y"])], **bounds) == ["gather"]


def test_gather_forms() -> None:
    node = make_node("Gather", ["x", "i"], ["y"], axis=1)
    assert run([node], i=np.asarray([2, 0, -2])) == ["gather"]
    one = [make_node("Gather", ["x", "i"], ["g"], axis=2), make_node("Unsqueeze", ["g", "a"], ["y"])]
    assert run(one, i=np.asarray(3), a=np.asarray([2])) == ["slice"]


@pytest.mark.parametrize("opset", [11, 18])
def test_pad_forms(opset: int) -> None:
    assert run([make_node("Pad", ["x", "p"], ["y"])], opset=opset, p=np.asarray([0, 0, 1, 2, 0, 1, 3, 0])) == ["pad"]
    if opset == 18:
        node = make_node("Pad", ["x", "p", "", "a"], ["y"])
        assert run([node], opset=opset, p=np.asarray([1, 2, 3, 4]), a=np.asarray([3, -2])) == ["pad"]


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(("reduce", "op"), [("ReduceMean", "global_avg_pool"), ("ReduceMax", "max_pool")])
def test_reductions(opset: int, keepdims: int, reduce: str, op: str) -> None:
    if opset == 18:
        node = make_node(reduce, ["x", "a"], ["y"], keepdims=keepdims)
        assert op in run([node], opset=opset, a=np.asarray([-1, 2]))
    else:
        assert op in run([make_node(reduce, ["x"], ["y"], axes=[2, 3], keepdims=keepdims)], opset=opset)


def test_mean_over_a_flattened_image() -> None:
    nodes = [make_node("Reshape", ["x", "s"], ["r"]), make_node("ReduceMean", ["r"], ["y"], axes=[2], keepdims=0)]
    assert "transpose" not in run(nodes, s=np.asarray([0, 0, -1]))


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_pool_auto_pad(op: str, auto_pad: str) -> None:
    node = make_node(op, ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 1], auto_pad=auto_pad)
    assert len(run([node])) == 1


@pytest.mark.parametrize("counting", [0, 1])
def test_asymmetric_average_pool(counting: int) -> None:
    node = make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[0, 1, 2, 0], count_include_pad=counting)
    assert run([node]) == ["pad", "avg_pool"] if counting else ["avg_pool"]


def test_global_max_pool() -> None:
    assert run([make_node("GlobalMaxPool", ["x"], ["y"])]) == ["max_pool"]


def test_transposes_that_cancel_leave_nothing() -> None:
    nodes = [
        make_node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        make_node("Relu", ["t"], ["r"]),
        make_node("Transpose", ["r"], ["y"], perm=[0, 3, 1, 2]),
    ]
    assert run(nodes) == ["relu"]


def test_transposes_that_remain_are_one_node() -> None:
    assert run([make_node("Transpose", ["x"], ["y"], perm=[0, 1, 3, 2])]) == ["transpose"]
    flat = [make_node("Transpose", ["x"], ["t"]), make_node("Reshape", ["t", "s"], ["y"])]
    assert "transpose" in run(flat, s=np.asarray([1, -1]))


def test_flatten_of_a_graph_output_moves_memory() -> None:
    assert run([make_node("Flatten", ["x"], ["y"])])[-1] == "reshape"


def test_channel_permutation_that_is_no_shuffle_is_one_gather() -> None:
    nodes = [
        make_node("Reshape", ["x", "a"], ["r"]),
        make_node("Transpose", ["r"], ["t"], perm=[0, 3, 2, 1, 4, 5]),
        make_node("Reshape", ["t", "b"], ["y"]),
    ]
    assert run(nodes, (1, 12, 3, 2), a=np.asarray([1, 2, 3, 2, 3, 2]), b=np.asarray([1, 12, 3, 2])) == ["gather"]


def test_reshape_that_cuts_no_axis_moves_memory() -> None:
    nodes = [make_node("Reshape", ["x", "s"], ["r"]), make_node("Relu", ["r"], ["y"])]
    found = run(nodes, (1, 6, 4, 5), s=np.asarray([1, 4, 6, 5]), nhwc_output=True)
    assert found.count("transpose") == found.count("relu") == 1


def test_allowzero_and_shape_arithmetic_fold() -> None:
    nodes = [
        make_node("Shape", ["x"], ["shape"]),
        make_node("Gather", ["shape", "zero"], ["n"]),
        make_node("Unsqueeze", ["n", "first"], ["n1"]),
        make_node("ConstantOfShape", ["first1"], ["filled"], value=onnx.numpy_helper.from_array(np.asarray([-1]))),
        make_node("Concat", ["n1", "filled"], ["target"], axis=0),
        make_node("Reshape", ["x", "target"], ["f"], allowzero=1),
        make_node("Dropout", ["f"], ["d"]),
        make_node("Identity", ["d"], ["i"]),
        make_node("Cast", ["i"], ["c"], to=1),
        make_node("MatMul", ["c", "k"], ["y"]),
    ]
    matrix = RNG.standard_normal((3 * 8 * 7, 4)).astype(np.float32)
    constants = {"zero": np.asarray(0), "first": np.asarray([0]), "first1": np.asarray([1]), "k": matrix}
    assert run(nodes, **constants) == ["reshape", "dense"]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types_become_float32(dtype: Any) -> None:
    nodes = [make_node("Cast", ["k"], ["k32"], to=1), make_node("Conv", ["x", "k32"], ["y"])]
    graph = check_import(node_model(nodes, IMAGE, {"k": KERNEL.astype(dtype)}))
    assert {t.dtype for t in graph.tensors.values()} == {"float32"}


def test_one_dense_layer_after_a_shuffle_takes_the_shuffle_in() -> None:
    nodes = [
        make_node("Reshape", ["x", "a"], ["r"]),
        make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]),
        make_node("Flatten", ["t"], ["f"]),
        make_node("Gemm", ["f", "k"], ["y"]),
    ]
    matrix = RNG.standard_normal((6 * 3 * 2, 4)).astype(np.float32)
    assert run(nodes, (1, 6, 3, 2), a=np.asarray([1, 2, 3, 3, 2]), k=matrix) == ["reshape", "dense"]


def test_several_inputs_and_an_output_that_is_an_input() -> None:
    model = node_model(
        [
            make_node("Add", ["x", "z"], ["y"]),
            make_node("Identity", ["x"], ["same"]),
            make_node("Identity", ["y"], ["y2"]),
        ],
        IMAGE,
        inputs=("x", "z"),
        outputs=("y", "same", "y2"),
    )
    graph = check_import(model)
    assert graph.inputs == ("x", "z")
    assert graph.outputs == ("y", "same", "y2")

"""Each row of the table: what TensorFlow's converter writes for it, and what only other writers do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tflite_files import Op, tflite_file
from tflite_oracle import check_import, convert, ops

RNG = np.random.default_rng(0)


def kernel(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) * 0.4).astype(np.float32)


def functions() -> dict[str, Callable[[Any], Any]]:
    """What to compute of an image (1, 9, 10, 8), by name."""
    import tensorflow as tf

    nn = tf.nn
    bias = kernel(6)
    rows = tf.constant(kernel(80, 5))
    return {
        "conv same": lambda x: nn.conv2d(x, kernel(3, 3, 8, 6), 2, "SAME") + bias,
        "conv valid relu": lambda x: nn.relu(nn.conv2d(x, kernel(3, 2, 8, 6), (1, 2), "VALID") + bias),
        "conv grouped": lambda x: nn.conv2d(x, kernel(3, 3, 2, 12), 1, "SAME"),
        "conv dilated": lambda x: nn.relu6(nn.conv2d(x, kernel(3, 3, 8, 6), 1, "SAME", dilations=2) + bias),
        "depthwise": lambda x: nn.depthwise_conv2d(x, kernel(3, 3, 8, 1), [1, 2, 2, 1], "SAME"),
        "depthwise multiplier": lambda x: nn.depthwise_conv2d(x, kernel(3, 3, 8, 3), [1, 1, 1, 1], "VALID"),
        "add": lambda x: nn.relu(x + x[:, :1]),
        "add constant": lambda x: x + kernel(8),
        "sub": lambda x: x - nn.sigmoid(x),
        "sub constant": lambda x: nn.relu(x - kernel(1, 1, 1, 8)),
        "constant sub": lambda x: kernel(8) - x,
        "mul": lambda x: nn.relu6(x * nn.sigmoid(x[:, :, :1])),
        "mul scalar": lambda x: x * 2.5,
        "mul image": lambda x: x * kernel(9, 10, 1),
        "div": lambda x: x / (kernel(8) + 3),
        "relu": nn.relu,
        "relu6": lambda x: nn.relu6(4 * x),
        "clip": lambda x: tf.minimum(tf.maximum(3 * x, 0), 6),
        "clip from above": lambda x: tf.maximum(tf.minimum(5 * x, 6), 0),
        "hard swish": lambda x: x * nn.relu6(x + 3) / 6,
        "hard swish in another order": lambda x: (x + 1) * (nn.relu6((x + 1) + 3) * (1 / 6)),
        "hard sigmoid": lambda x: nn.relu6(x + 3) * (1 / 6),
        "hard sigmoid of a layer": lambda x: nn.relu6(nn.conv2d(x, kernel(1, 1, 8, 6), 1, "SAME") + bias + 3) / 6,
        "swish": nn.silu,
        "sigmoid": nn.sigmoid,
        "negative": lambda x: -x,
        "softmax": lambda x: nn.softmax(x[:, 0, 0]),
        "softmax of an image": nn.softmax,
        "max pool": lambda x: nn.max_pool2d(x, 3, 2, "SAME"),
        "average pool": lambda x: nn.avg_pool2d(x, (2, 3), (2, 1), "SAME"),
        "average pool valid": lambda x: nn.relu(nn.avg_pool2d(x, 2, 2, "VALID")),
        "mean": lambda x: tf.reduce_mean(x, [1, 2]),
        "mean kept": lambda x: tf.reduce_mean(x, [1, 2], keepdims=True),
        "mean of rows": lambda x: tf.reduce_mean(x, 1),
        "mean of columns": lambda x: tf.reduce_mean(x, [2], keepdims=True),
        "mean of channels": lambda x: tf.reduce_mean(x, -1),
        "mean of a sequence": lambda x: tf.reduce_mean(tf.reshape(x, (1, 90, 8)), 1),
        "sum": lambda x: tf.reduce_sum(x, [1, 2]),
        "max": lambda x: tf.reduce_max(x, [1, 2]),
        "max kept": lambda x: tf.reduce_max(x, [1, 2], keepdims=True),
        "max of channels": lambda x: tf.reduce_max(x, 3),
        "concat": lambda x: tf.concat([x, nn.relu(x), x], -1),
        "split": lambda x: tf.split(x, 4, 3)[2],
        "split by sizes": lambda x: tf.split(x, [1, 5, 2], 3)[1] * tf.split(x, [1, -1, 2], 3)[0],
        "slice": lambda x: tf.slice(x, [0, 1, 0, 2], [1, 4, -1, 3]),
        "strided slice": lambda x: x[:, 1::2, :-1, ::3],
        "strided slice that shrinks": lambda x: x[:, 2, -3],
        "gather": lambda x: tf.gather(x, [3, 1, 2, 0, 7], axis=3),
        "gather one": lambda x: tf.gather(x, 4, axis=2),
        "pad": lambda x: tf.pad(x, [[0, 0], [1, 0], [2, 1], [0, 3]]),
        "pad with a number": lambda x: tf.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0]], constant_values=2.0),
        "reshape": lambda x: tf.reshape(x, (1, -1, 4)),
        "transpose": lambda x: tf.transpose(x, (0, 2, 1, 3)),
        "squeeze": lambda x: tf.squeeze(x[:, :1], 1),
        "expand": lambda x: tf.expand_dims(x[:, 0], 1),
        "pack": lambda x: tf.stack([x[:, 0], x[:, 1]], 2),
        "unpack": lambda x: tf.unstack(x, axis=1)[3] + tf.unstack(x, axis=1)[0],
        "broadcast": lambda x: tf.broadcast_to(x[:, :1, :1], (1, 3, 4, 8)),
        "dense": lambda x: nn.relu(tf.matmul(tf.reshape(x, (9, 80)), rows) + kernel(5)),
        "dense of a sequence": lambda x: tf.matmul(tf.reshape(x, (1, 9, 80)), rows[None]),
    }


@pytest.fixture(scope="session")
def converted() -> tuple[list[str], bytes]:
    """All of them in one file, which costs one conversion."""
    chosen = functions()
    return list(chosen), convert(lambda x: [f(x) for f in chosen.values()], (1, 9, 10, 8))


def test_every_op_equals_the_runtime(converted: tuple[list[str], bytes]) -> None:
    names, data = converted
    graph = check_import(data)
    assert len(graph.outputs) == len(names)
    assert {"hard_swish", "hard_sigmoid", "swish", "relu6", "split", "gather"} <= set(ops(graph))


def test_an_open_batch_makes_the_same_graph() -> None:
    chosen = functions()
    names = ("conv dilated", "depthwise", "mean", "strided slice that shrinks", "gather", "hard swish", "max")
    graph = check_import(convert(lambda x: [chosen[n](x) for n in names], (None, 9, 10, 8)))
    dilated = next(n for n in graph.nodes if n.op == "conv2d" and n.attrs["groups"] == 1)
    assert (dilated.attrs["dilation"], dilated.attrs["padding"]) == ((2, 2), (2, 2, 2, 2))


# -- what the converter does not write by itself -----------------------------------------------------------------------

X, Y = ["x"], ["y"]
INT = np.int32


def ints(*values: Any) -> np.ndarray:
    return np.asarray(values if len(values) != 1 else values[0], INT)


CONV = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
BUILT = {
    "relu to one": ([Op("RELU_0_TO_1", X, Y)], {}),
    "softmax beta": ([Op("SOFTMAX", X, Y, "SoftmaxOptions", {"beta": 0.5})], {}),
    "conv": (
        [Op("CONV_2D", ["x", "k", "b"], Y, "Conv2DOptions", {**CONV, "padding": 1, "fusedActivationFunction": 1})],
        {"k": kernel(3, 2, 2, 2), "b": np.zeros(3, np.float32)},
    ),
    "dense that keeps its axes": (
        [Op("FULLY_CONNECTED", ["x", "w", None], Y, "FullyConnectedOptions", {"keepNumDims": True})],
        {"w": kernel(3, 2)},
    ),
    "dense of an image": ([Op("FULLY_CONNECTED", ["x", "w"], Y, "FullyConnectedOptions")], {"w": kernel(3, 32)}),
    "reshape by its options": (
        [Op("RESHAPE", X, Y, "ReshapeOptions", {"newShape": ints(1, 8, 4)})],
        {},
    ),
    "split by sizes": (
        [
            Op("SPLIT_V", ["x", "s", "a"], ["p", "q"], "SplitVOptions", {"numSplits": 2}),
            Op("CONCATENATION", ["q", "p"], Y, "ConcatenationOptions", {"axis": 1}),
        ],
        {"s": ints(1, 3), "a": ints(1)},
    ),
    "max pool over the lowest": (
        [
            Op("PADV2", ["x", "w", "v"], ["p"], "PadV2Options"),
            Op(
                "MAX_POOL_2D",
                ["p"],
                Y,
                "Pool2DOptions",
                {"filterHeight": 3, "filterWidth": 3, "strideH": 2, "strideW": 2, "padding": 1},
            ),
        ],
        {"w": ints([[0, 0], [1, 1], [1, 1], [0, 0]]), "v": np.asarray(np.finfo(np.float32).min)},
    ),
    "shapes that are computed": (
        [
            Op("SHAPE", X, ["shape"], "ShapeOptions", {"outType": 2}),
            Op("STRIDED_SLICE", ["shape", "0", "1", "1"], ["n"], "StridedSliceOptions", {"shrinkAxisMask": 1}),
            Op("PACK", ["n", "minus", "four"], ["target"], "PackOptions", {"valuesCount": 3}),
            Op("RESHAPE", ["x", "target"], Y),
        ],
        {"0": ints([0]), "1": ints([1]), "minus": ints(-1), "four": ints(4)},
    ),
}


def built(name: str, **options: Any) -> bytes:
    made, constants = BUILT[name]
    integers = {"shape": ints([0] * 4), "n": ints(0), "target": ints([0] * 3)}

    def typed(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            if tensor.name in integers and tensor.name not in constants:
                tensor.type, tensor.shape = 2, np.asarray(integers[tensor.name].shape, INT)

    return tflite_file(made, constants, edit=typed, **options)


@pytest.mark.parametrize("name", BUILT)
def test_what_others_write_equals_the_runtime(name: str) -> None:
    check_import(built(name))


def test_a_bias_of_zeros_is_left_out() -> None:
    (conv, _) = check_import(built("conv")).nodes
    assert (conv.op, len(conv.inputs)) == ("conv2d", 2)


def test_padding_that_never_wins_goes_into_the_max_pool() -> None:
    from edgekit.passes.registry import apply_passes

    graph, _ = apply_passes(check_import(built("max pool over the lowest")))
    (pool,) = graph.nodes
    assert (pool.op, pool.attrs["padding"]) == ("max_pool", (1, 1, 1, 1))


@pytest.mark.parametrize(
    ("between", "perm", "shape"),
    [
        ((1, 4, 4, 2, 3), (0, 1, 2, 4, 3), (1, 4, 4, 6)),
        ((4, 4, 2, 3), (0, 1, 3, 2), (1, 4, 4, 6)),
        ((1, 16, 2, 3), (0, 1, 3, 2), (1, 4, 4, 6)),
        ((16, 2, 3), (0, 2, 1), (1, 4, 4, 6)),
        ((1, 4, 4, 3, 2), (0, 1, 2, 4, 3), (1, 16, 6)),
    ],
)
def test_shuffles_of_every_form_are_one_op(
    between: tuple[int, ...], perm: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    moves = [
        Op("RESHAPE", ["x", "a"], ["r"]),
        Op("TRANSPOSE", ["r", "p"], ["t"], "TransposeOptions"),
        Op("RESHAPE", ["t", "b"], Y),
    ]
    data = tflite_file(moves, {"a": ints(between), "p": ints(perm), "b": ints(shape)}, shape=(1, 4, 4, 6))
    graph = check_import(data)
    assert ops(graph) == ["channel_shuffle", "reshape"][: 1 + (len(shape) == 3)]
    assert graph.nodes[0].attrs["groups"] == between[-2]


def test_other_moves_stay_or_become_a_gather() -> None:
    moves = [
        Op("RESHAPE", ["x", "a"], ["r"]),
        Op("TRANSPOSE", ["r", "p"], ["t"], "TransposeOptions"),
        Op("RESHAPE", ["t", "b"], Y),
    ]
    shapes = {"a": ints(1, 16, 2, 2, 2), "p": ints(0, 1, 4, 3, 2), "b": ints(1, 4, 4, 8)}
    assert ops(check_import(tflite_file(moves, shapes, shape=(1, 4, 4, 8)))) == ["gather"]
    shapes = {"a": ints(1, 4, 4, 8), "p": ints(0, 2, 1, 3), "b": ints(1, 16, 8)}
    assert ops(check_import(tflite_file(moves, shapes, shape=(1, 4, 4, 8)))) == ["transpose", "reshape"]


TO_NHWC, TO_NCHW = ints(0, 2, 3, 1), ints(0, 3, 1, 2)
TORCH_NET = [
    Op("TRANSPOSE", ["x", "nhwc"], ["image"]),
    Op("CONV_2D", ["image", "k", "b"], ["conv"], "Conv2DOptions", {**CONV, "padding": 1}),
    Op("TRANSPOSE", ["conv", "nchw"], ["planes"]),
    Op("RESHAPE", ["planes", "apart"], ["groups"]),
    Op("TRANSPOSE", ["groups", "swap"], ["swapped"]),
    Op("RESHAPE", ["swapped", "together"], ["shuffled"]),
    Op("TRANSPOSE", ["shuffled", "nhwc"], ["back"]),
    Op("RELU", ["back"], ["relu"]),
    Op("TRANSPOSE", ["relu", "nchw"], ["last"]),
    Op("MEAN", ["last", "axes"], ["y"], "ReducerOptions", {"keepDims": False}),
]
TORCH_CONSTANTS = {
    "nhwc": TO_NHWC,
    "nchw": TO_NCHW,
    "k": kernel(6, 2, 2, 3),
    "b": kernel(6),
    "apart": ints(1, 2, 3, 3, 4),
    "swap": ints(0, 2, 1, 3, 4),
    "together": ints(1, 6, 3, 4),
    "axes": ints(2, 3),
}


def test_networks_from_pytorch_become_nhwc_throughout() -> None:
    """As PyTorch's converter writes them: NCHW at the ends and wherever the module moves data."""
    graph = check_import(tflite_file(TORCH_NET, TORCH_CONSTANTS, shape=(1, 3, 4, 5)), nchw_input=True)
    assert graph.shape("x") == (1, 4, 5, 3)
    assert ops(graph) == ["conv2d", "channel_shuffle", "relu", "global_avg_pool"]


def test_an_nchw_input_that_is_read_as_it_is_stays() -> None:
    both = [Op("TRANSPOSE", ["x", "nhwc"], ["y"]), Op("RELU", ["x"], ["z"])]
    graph = check_import(tflite_file(both, {"nhwc": TO_NHWC}, shape=(1, 3, 4, 5), outputs=("y", "z")))
    assert graph.shape("x") == (1, 3, 4, 5)


def test_a_batch_of_eight_becomes_one() -> None:
    chain = [
        Op("SLICE", ["x", "b", "s"], ["c"], "SliceOptions"),
        Op("RESHAPE", ["c", "flat"], ["f"]),
        Op("FULLY_CONNECTED", ["f", "w"], Y, "FullyConnectedOptions"),
    ]
    constants = {"b": ints(0, 1, 0, 0), "s": ints(8, 3, 4, 2), "flat": ints(8, 24), "w": kernel(3, 24)}
    one = {**constants, "s": ints(1, 3, 4, 2), "flat": ints(1, 24)}
    shapes = {"c": (8, 3, 4, 2), "f": (8, 24)}
    from edgekit.graph.text import graph_text
    from edgekit.importers.tflite import import_tflite

    eight = import_tflite(tflite_file(chain, constants, shape=(8, 4, 4, 2), shapes=shapes))
    assert graph_text(eight) == graph_text(check_import(tflite_file(chain, one)))


def test_pixels_may_come_as_uint8() -> None:
    def pixels(model: Any) -> None:
        model.subgraphs[0].tensors[0].type = 3

    chain = [Op("CAST", X, ["f"], "CastOptions"), Op("RELU", ["f"], Y)]
    graph = check_import(tflite_file(chain, edit=pixels), pixels=True)
    assert (ops(graph), graph.tensor("x").dtype) == (["relu"], "float32")


def test_a_constant_that_two_layers_share_is_stored_once() -> None:
    chain = [
        Op("FULLY_CONNECTED", ["x", "w", None], ["h"], "FullyConnectedOptions"),
        Op("FULLY_CONNECTED", ["h", "w", None], Y, "FullyConnectedOptions"),
    ]
    graph = check_import(tflite_file(chain, {"w": kernel(6, 6)}, shape=(1, 6)))
    assert len(graph.constants()) == 1

"""Channel shuffles and index layers in every form that people write them: one op each, and nothing around it."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import make_node
from onnx_oracle import check_import, node_model, ops, torch_bytes

from edgekit.graph import Graph
from edgekit.graph.interpret import interpret
from edgekit.importers.onnx import import_onnx

CHANNELS, HEIGHT, WIDTH = 12, 5, 4
IMAGE = (1, CHANNELS, HEIGHT, WIDTH)
KERNEL = np.random.default_rng(1).standard_normal((CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
BEFORE, AFTER = make_node("Conv", ["x", "k"], ["c"]), make_node("Conv", ["s", "k"], ["y"])
NEWEST = min(26, onnx.defs.onnx_opset_version())
"""The last opset that both onnxruntime and the installed onnx know."""
OPSETS = (11, 13, 15, 18, NEWEST)


def reshape_transpose_reshape(
    middle: tuple[int, ...], perm: tuple[int, ...], end: tuple[int, ...] = IMAGE
) -> onnx.ModelProto:
    """Convolution, shuffle, convolution."""
    nodes = [
        BEFORE,
        make_node("Reshape", ["c", "middle"], ["r"]),
        make_node("Transpose", ["r"], ["t"], perm=perm),
        make_node("Reshape", ["t", "end"], ["s"]),
        AFTER,
    ]
    return node_model(nodes, IMAGE, {"k": KERNEL, "middle": np.asarray(middle), "end": np.asarray(end)})


H, W = HEIGHT, WIDTH
FORMS = {
    "five axes": ((1, 3, 4, H, W), (0, 2, 1, 3, 4), IMAGE),
    "five axes, inverse": ((1, 4, 3, H, W), (0, 2, 1, 3, 4), IMAGE),
    "pixels joined": ((1, 3, 4, H * W), (0, 2, 1, 3), IMAGE),
    "batch joined": ((3, 4, H * W), (1, 0, 2), IMAGE),
    "pixels joined and left open": ((0, 3, 4, -1), (0, 2, 1, 3), (0, CHANNELS, H, -1)),
    "rows and batch joined": ((3, 4, H, W), (1, 0, 2, 3), (-1, CHANNELS, H, W)),
    "six axes": ((1, 1, 3, 4, H, W), (0, 1, 3, 2, 4, 5), IMAGE),
    "two factors at once": ((1, 3, 2, 2, H, W), (0, 2, 3, 1, 4, 5), IMAGE),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    middle, perm, end = FORMS[form]
    graph = check_import(reshape_transpose_reshape(middle, perm, end))
    assert ops(graph) == ["conv2d", "channel_shuffle", "conv2d"]
    assert graph.nodes[1].attrs["groups"] == (4 if "inverse" in form else 3)


def nhwc(*shuffle: onnx.NodeProto, **constants: Any) -> onnx.ModelProto:
    """An NHWC network as tf2onnx writes it: transposes around the convolutions, the shuffle from "n" to "m"."""
    to_nchw, to_nhwc = (0, 3, 1, 2), (0, 2, 3, 1)
    nodes = [
        make_node("Transpose", ["x"], ["xt"], perm=to_nchw),
        make_node("Conv", ["xt", "k"], ["c"]),
        make_node("Transpose", ["c"], ["n"], perm=to_nhwc),
        *shuffle,
        make_node("Transpose", ["m"], ["s"], perm=to_nchw),
        AFTER,
    ]
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    return node_model(nodes, (1, HEIGHT, WIDTH, CHANNELS), {"k": KERNEL, **arrays})


NHWC_FORMS = {
    "five axes": ((1, H, W, 3, 4), (0, 1, 2, 4, 3)),
    "pixels joined": ((1, H * W, 3, 4), (0, 1, 3, 2)),
    "all but channels joined": ((H * W, 3, 4), (0, 2, 1)),
    "open": ((-1, H, W, 3, 4), (0, 1, 2, 4, 3)),
    "inverse": ((H * W, 4, 3), (0, 2, 1)),
}


@pytest.mark.parametrize("form", NHWC_FORMS)
def test_nhwc_forms(form: str) -> None:
    middle, perm = NHWC_FORMS[form]
    shuffle = [
        make_node("Reshape", ["n", "middle"], ["r"]),
        make_node("Transpose", ["r"], ["t"], perm=perm),
        make_node("Reshape", ["t", "end"], ["m"]),
    ]
    graph = check_import(nhwc(*shuffle, middle=middle, end=(1, H, W, CHANNELS)), nhwc_input=True)
    assert ops(graph) == ["conv2d", "channel_shuffle", "conv2d"]
    assert graph.nodes[1].attrs["groups"] == (4 if form == "inverse" else 3)


def test_index_layers_are_gathers() -> None:
    chosen = np.asarray([3, 3, 0, 11, 7, 1, 2, 9, 9, 5, 4, 6])
    nodes = [BEFORE, make_node("Gather", ["c", "i"], ["s"], axis=1), AFTER]
    graph = check_import(node_model(nodes, IMAGE, {"k": KERNEL, "i": chosen}))
    assert ops(graph) == ["conv2d", "gather", "conv2d"]
    assert graph.nodes[1].attrs == {"axis": 3, "indices": tuple(chosen.tolist())}
    found = check_import(nhwc(make_node("Gather", ["n", "i"], ["m"], axis=-1), i=chosen), nhwc_input=True)
    assert ops(found) == ["conv2d", "gather", "conv2d"]


def test_index_layer_that_shuffles() -> None:
    order = np.arange(CHANNELS).reshape(3, 4).T.reshape(-1)
    nodes = [BEFORE, make_node("Gather", ["c", "i"], ["s"], axis=1), AFTER]
    graph = check_import(node_model(nodes, IMAGE, {"k": KERNEL, "i": order}))
    assert ops(graph) == ["conv2d", "channel_shuffle", "conv2d"]
    assert graph.nodes[1].attrs["groups"] == 3
    same = check_import(node_model(nodes, IMAGE, {"k": KERNEL, "i": np.arange(CHANNELS)}))
    assert ops(same) == ["conv2d", "conv2d"]


def test_shuffle_that_several_read_is_one() -> None:
    model = reshape_transpose_reshape((1, 3, 4, H, W), (0, 2, 1, 3, 4))
    del model.graph.node[-1]
    more = [
        make_node("Relu", ["s"], ["a"]),
        make_node("Conv", ["a", "k"], ["b"]),
        make_node("Conv", ["s", "k"], ["d"]),
        make_node("Sum", ["b", "d", "s"], ["y"]),
    ]
    model.graph.node.extend(more)
    assert ops(check_import(model)).count("channel_shuffle") == 1


def test_two_shuffles_stay_two() -> None:
    model = reshape_transpose_reshape((1, 3, 4, H, W), (0, 2, 1, 3, 4))
    del model.graph.node[-1]
    more = [
        make_node("Relu", ["s"], ["a"]),
        make_node("Reshape", ["a", "middle"], ["r2"]),
        make_node("Transpose", ["r2"], ["t2"], perm=(0, 2, 1, 3, 4)),
        make_node("Reshape", ["t2", "end"], ["y"]),
    ]
    model.graph.node.extend(more)
    assert ops(check_import(model)) == ["conv2d", "channel_shuffle", "relu", "channel_shuffle"]


def test_shuffle_of_rows_is_none() -> None:
    """The same three nodes over height and width mix pixels, not channels."""
    model = reshape_transpose_reshape((1, CHANNELS, H, 2, 2), (0, 1, 2, 4, 3))
    assert "channel_shuffle" not in ops(check_import(model))


# -- through the exporters ---------------------------------------------------------------------------------------------


def view_five(x: Any, groups: int) -> Any:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def view_joined(x: Any, groups: int) -> Any:
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h * w).permute(0, 2, 1, 3).reshape(n, -1, h, w)


def flatten_of_unflatten(x: Any, groups: int) -> Any:
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def builtin(x: Any, groups: int) -> Any:
    import torch

    return torch.nn.functional.channel_shuffle(x, groups)


def sizes_as_tensors(x: Any, groups: int) -> Any:
    batch, channels, height, width = x.size()
    x = x.view(batch, groups, channels // groups, height, width)
    return x.permute(0, 2, 1, 3, 4).contiguous().view(batch, -1, height, width)


def index_select(x: Any, groups: int) -> Any:
    import torch

    order = torch.arange(x.shape[1]).reshape(groups, -1).T.reshape(-1)
    return torch.index_select(x, 1, order)


needs_onnxscript = pytest.mark.skipif(not importlib.util.find_spec("onnxscript"), reason="onnxscript is not installed")
WRITTEN = (view_five, view_joined, flatten_of_unflatten, builtin, sizes_as_tensors, index_select)


def shuffling(written: Callable[[Any, int], Any]) -> Any:
    """A convolution, the shuffle in 3 groups, another convolution and the shuffle in 4 groups: its inverse."""
    torch = pytest.importorskip("torch")

    class Shuffling(torch.nn.Module):  # type: ignore[name-defined,misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv2d(3, CHANNELS, 3)
            self.second = torch.nn.Conv2d(CHANNELS, CHANNELS, 3, groups=3)

        def forward(self, x: Any) -> Any:
            return written(self.second(written(self.first(x), 3)), 4)

    torch.manual_seed(0)
    return Shuffling()


def check_shuffling(graph: Graph) -> None:
    assert ops(graph) == ["conv2d", "channel_shuffle"] * 2
    assert [n.attrs["groups"] for n in graph.nodes if n.op == "channel_shuffle"] == [3, 4]


TORCHSCRIPT = [
    pytest.param(written, opset, id=f"{written.__name__}-{opset}")
    for written in WRITTEN
    for opset in OPSETS[:4]
    if written is not builtin and (written is not flatten_of_unflatten or opset > 11)  # the exporter refuses these
]


@pytest.mark.parametrize(("written", "opset"), TORCHSCRIPT)
def test_torchscript(written: Callable[[Any, int], Any], opset: int) -> None:
    check_shuffling(check_import(torch_bytes(shuffling(written), (1, 3, 8, 7), opset=opset)))


def test_torchscript_with_an_open_batch() -> None:
    """Sizes come from the file's own Shape and Gather nodes."""
    data = torch_bytes(shuffling(sizes_as_tensors), (1, 3, 8, 7), opset=13, batch=True)
    assert "Shape" in {n.op_type for n in onnx.load_model_from_string(data).graph.node}
    check_shuffling(check_import(data))


def test_authors_split_by_channel_parity() -> None:
    """ShuffleNet V2 as its authors write it: half a shuffle, whose two halves are taken apart."""
    torch = pytest.importorskip("torch")

    class Unit(torch.nn.Module):  # type: ignore[name-defined,misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.stem = torch.nn.Conv2d(3, CHANNELS, 3)
            self.branch = torch.nn.Conv2d(CHANNELS // 2, CHANNELS // 2, 3, padding=1)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            n, c, h, w = x.shape
            x = x.reshape(n * c // 2, 2, h * w).permute(1, 0, 2).reshape(2, -1, c // 2, h, w)
            return torch.cat((x[0], self.branch(x[1])), 1)

    torch.manual_seed(0)
    for batch in (False, True):
        graph = check_import(torch_bytes(Unit(), (1, 3, 8, 7), opset=13, batch=batch))
        assert ops(graph) == ["conv2d", "channel_shuffle", "split", "conv2d", "concat"]


@needs_onnxscript
def test_dynamo_with_external_data(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about itself
        torch.onnx.export(
            shuffling(view_five), (torch.zeros(1, 3, 8, 7),), path, dynamo=True, external_data=True, verbose=False
        )
    assert (tmp_path / "net.onnx.data").stat().st_size > 4 * CHANNELS * 3 * 9
    check_shuffling(check_import(path))


@needs_onnxscript
@pytest.mark.parametrize("batch", [False, True])
def test_dynamo(batch: bool) -> None:
    """All in one module, one after the other: each export costs seconds."""
    torch = pytest.importorskip("torch")
    parts = [shuffling(written) for written in WRITTEN]
    for part in parts[1:]:
        part.first = torch.nn.Conv2d(CHANNELS, CHANNELS, 1)
    shape = (2 if batch else 1, 3, 16, 15)  # the exporter takes a batch of one for fixed
    data = torch_bytes(torch.nn.Sequential(*parts), shape, opset=23 if batch else 18, dynamo=True, batch=batch)
    graph = check_import(data)
    assert ops(graph) == ["conv2d", "channel_shuffle"] * 2 * len(WRITTEN)
    assert [n.attrs["groups"] for n in graph.nodes if n.op == "channel_shuffle"] == [3, 4] * len(WRITTEN)


@pytest.mark.parametrize("opset", OPSETS)
def test_opsets(opset: int) -> None:
    model = reshape_transpose_reshape((1, 3, 4, H, W), (0, 2, 1, 3, 4))
    model.opset_import[0].version = opset
    assert ops(check_import(model)) == ["conv2d", "channel_shuffle", "conv2d"]


def test_newest_opset_of_onnx() -> None:
    """Newer than the runtime: compared with the same nodes of an opset that it knows."""
    model = reshape_transpose_reshape((1, 3, 4, H, W), (0, 2, 1, 3, 4))
    known = check_import(model)
    model.opset_import[0].version = onnx.defs.onnx_opset_version()
    newest = import_onnx(model.SerializeToString())
    feeds = {"x": np.random.default_rng(0).standard_normal((1, H, W, CHANNELS)).astype(np.float32)}
    np.testing.assert_array_equal(interpret(newest, feeds)["y"], interpret(known, feeds)["y"])
    assert ops(newest) == ops(known)

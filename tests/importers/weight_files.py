"""Small networks and Keras-like weight files written by hand, for the tests of the readers."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from edgekit.graph import Graph, GraphBuilder
from edgekit.importers.stored import target_layers

Layer = tuple[str, str, list[tuple[str, np.ndarray]]]
"""A layer's name, its class in snake case, and its arrays by Keras's names, in Keras's layout and order."""

CLASS_NAMES = {
    "conv2d": "Conv2D",
    "depthwise_conv2d": "DepthwiseConv2D",
    "batch_normalization": "BatchNormalization",
    "dense": "Dense",
}


def tiny_graph(seed: int = 0, *, classes: int = 3, width: int = 4) -> Graph:
    """8x8x3 -> conv, bn, depthwise, bn, 1x1 conv with bias, mean, dense; all weights random."""
    b = GraphBuilder("tiny", (1, 8, 8, 3), seed=seed)
    x = b.batch_norm(b.conv2d("input", width, 3, stride=2, name="conv1"), name="conv1_bn")
    x = b.batch_norm(b.depthwise(b.activation(x, "relu6", name="r1"), 3, name="dw"), name="dw_bn")
    x = b.conv2d(b.activation(x, "relu6", name="r2"), 5, 1, bias=True, name="conv2")
    graph = b.finish(b.dense(b.global_avg_pool(x, name="gap"), classes, name="fc"))
    graph.metadata["model"] = {"name": "tiny", "alpha": 1.0, "resolution": 8, "classes": classes}
    graph.metadata["weights"] = {"source": "random", "seed": seed}
    return randomised(graph, seed)


def randomised(graph: Graph, seed: int) -> Graph:
    """The graph with its vectors (biases, statistics) random too."""
    rng = np.random.default_rng(seed)
    for tensor in graph.constants():
        if len(tensor.shape) == 1:
            low = 0.5 if tensor.name.endswith(("gamma", "variance")) else -0.5
            graph.set_tensor(tensor.with_data(rng.uniform(low, 1.5, tensor.shape).astype(np.float32)))
    return graph


def keras_layers(graph: Graph) -> list[Layer]:
    """The graph's weights as Keras would hold them."""
    found: list[Layer] = []
    for node in graph.nodes:
        if node.op not in ("batch_norm", "conv2d", "dense"):
            continue
        arrays = [graph.tensor(name).array for name in node.inputs[1:]]
        if node.op == "batch_norm":
            roles = ("gamma", "beta", "moving_mean", "moving_variance")
            found.append((node.name, "batch_normalization", list(zip(roles, arrays, strict=True))))
        else:
            kind, kernel_name = node.op, "kernel"
            if node.op == "conv2d" and node.attrs["groups"] > 1:
                kind, kernel_name = "depthwise_conv2d", "depthwise_kernel"
                arrays[0] = arrays[0].transpose(0, 1, 3, 2)
            found.append((node.name, kind, list(zip((kernel_name, "bias"), arrays, strict=False))))
    return found


def write_legacy(path: Path, layers: Sequence[Layer], *, prefix: str = "", suffix: str = ":0", pieces: int = 1) -> Path:
    """Keras 1 and 2's layout; with `prefix` as a full model; with several `pieces` its lists of names are cut up."""
    with h5py.File(path, "w") as file:
        root = file.require_group(prefix) if prefix else file
        names = [name.encode() for name, _, _ in layers]
        write_names(root, "layer_names", [b"input_1", *names], pieces)
        root.create_group("input_1").attrs["weight_names"] = np.zeros(0, "S1")
        for name, _, arrays in layers:
            group = root.create_group(name)
            write_names(group, "weight_names", [f"{name}/{role}{suffix}".encode() for role, _ in arrays], 1)
            for role, array in arrays:
                group[f"{name}/{role}{suffix}"] = array
    return path


def write_names(group: Any, attribute: str, names: list[bytes], pieces: int) -> None:
    if pieces == 1:
        group.attrs[attribute] = names
        return
    for i, part in enumerate(np.array_split(np.asarray(names), pieces)):
        group.attrs[f"{attribute}{i}"] = part


def write_keras3(
    target: Path | io.BytesIO, layers: Sequence[Layer], *, names: bool = True, group: str = "layers"
) -> Any:
    """Keras 3's `.weights.h5`: groups called after classes, arrays by number."""
    with h5py.File(target, "w") as file:
        used: Counter[str] = Counter()
        for name, kind, arrays in layers:
            numbered = f"{kind}_{used[kind]}" if used[kind] else kind
            used[kind] += 1
            variables = file.create_group(f"{group}/{numbered}/vars")
            if names:
                variables.attrs["name"] = name
            for i, (_, array) in enumerate(arrays):
                variables[str(i)] = array
        file["optimizer/vars/0"] = np.zeros(3, np.int64)
        file[f"{group}/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)
    return target


def write_archive(path: Path, layers: Sequence[Layer], *, names: bool = True, config: bool = True) -> Path:
    """A `.keras` archive."""
    weights = io.BytesIO()
    write_keras3(weights, layers, names=names)
    described = [{"class_name": CLASS_NAMES[kind], "config": {"name": name}} for name, kind, _ in layers]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        if config:
            archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": described}}))
        archive.writestr("model.weights.h5", weights.getvalue())
    return path


def same_weights(left: Graph, right: Graph) -> bool:
    pairs = zip(left.constants(), right.constants(), strict=True)
    return all(a.name == b.name and np.array_equal(a.array, b.array) for a, b in pairs)


# -- PyTorch's archives, written without PyTorch -----------------------------------------------------------------------


def torchvision_tensors(graph: Graph) -> dict[str, np.ndarray]:
    """The graph's weights as torchvision's state dict of that model would hold them."""
    from edgekit.importers.torch_layouts import LAYOUTS
    from edgekit.importers.torch_weights import _file_names, _in_file_form

    model = graph.metadata["model"]
    layout = next(row for row in LAYOUTS if (row.model, row.title) == (model["name"], "torchvision"))
    targets = [_in_file_form(graph, target) for target in target_layers(graph)]
    found = {}
    for constant, name in _file_names(targets, layout, model).items():
        array = graph.tensor(constant).array
        found[name] = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
    return found


def torch_pickle(tensors: dict[str, tuple[int, ...]]) -> bytes:
    """The pickle of a state dict of float32 tensors of those shapes: tensor i is the whole of storage i."""
    out = [b"\x80\x02}("]
    for i, (name, shape) in enumerate(tensors.items()):
        count = int(np.prod(shape))
        strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
        out += [text(name), b"ctorch._utils\n_rebuild_tensor_v2\n(("]
        out += [
            text("storage"),
            b"ctorch\nFloatStorage\n",
            text(str(i)),
            text("cpu"),
            integer(count),
            b"tQ",
            integer(0),
        ]
        out += [b"(", *map(integer, shape), b"t(", *map(integer, strides), b"t\x89"]
        out += [b"ccollections\nOrderedDict\n)RtR"]
    return b"".join([*out, b"u."])


def text(value: str) -> bytes:
    """The opcode that pushes a text."""
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def integer(value: int) -> bytes:
    """The opcode that pushes an integer."""
    return b"J" + value.to_bytes(4, "little", signed=True)


def torch_archive(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    """What torch.save makes of float32 tensors."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", torch_pickle({name: array.shape for name, array in tensors.items()}))
        archive.writestr("archive/byteorder", "little")
        for i, array in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{i}", np.ascontiguousarray(array, "<f4").tobytes())
    return path

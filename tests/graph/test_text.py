"""The text form."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, GraphBuilder, QuantParams, Tensor
from edgekit.graph.text import form_text, graph_text


def small() -> Graph:
    b = GraphBuilder("small", (1, 4, 4, 2))
    x = b.op("conv2d", ["input", b.constant("c/kernel", np.ones((1, 1, 2, 2), np.float32))], name="c")
    first, _ = b.split(x, (1, 1), name="s")
    return b.finish(b.pool(first, "avg_pool", 2, stride=2, name="p"))


def test_text_lists_shapes_hashes_and_changed_attributes():
    digest = hashlib.sha256(struct.pack("<4f", 1, 1, 1, 1)).hexdigest()
    assert graph_text(small()) == (
        "graph small\n"
        "  input input: float32[1x4x4x2]\n"
        f"  c: float32[1x4x4x2] = conv2d(input, c/kernel: float32[1x1x2x2] #{digest[:8]})\n"
        "  s/0: float32[1x4x4x1], s/1: float32[1x4x4x1] = split(c) axis=3 sizes=(1,1)\n"
        "  p: float32[1x2x2x1] = avg_pool(s/0) kernel=(2,2) strides=(2,2)\n"
        "  output p\n"
    )


def test_without_weights_there_are_no_hashes():
    assert "#" not in graph_text(small(), weights=False)


def test_floats_are_written_with_nine_digits():
    b = GraphBuilder("f", (1, 4))
    graph = b.finish(b.dropout("input", 1 / 3, name="d"))
    assert "dropout(input) rate=0.333333333\n" in graph_text(graph)


def test_quantization_is_part_of_the_text():
    graph = small()
    graph.map_tensors(lambda t: replace(t, dtype="int8", quant=QuantParams.per_tensor(0.5, -3)) if t.name == "p" else t)
    kernel = graph.tensor("c/kernel")
    quant = QuantParams.per_channel(np.asarray([0.1, 0.2]), 3)
    graph.set_tensor(Tensor.constant(kernel.name, kernel.array.astype(np.int8), quant))
    text = graph_text(graph, weights=False)
    assert "p: int8[1x2x2x1] q(0.5, -3) = avg_pool" in text
    assert "c/kernel: int8[1x1x2x2] q(2 scales on axis 3, 0)" in text


def test_text_tells_weights_apart():
    one, other = small(), small()
    other.set_tensor(other.tensor("c/kernel").with_data(np.zeros((1, 1, 2, 2), np.float32)))
    assert graph_text(one) != graph_text(other)
    assert graph_text(one, weights=False) == graph_text(other, weights=False)


def test_forms_are_short():
    b = GraphBuilder("forms", (1, 16, 16, 8))
    x = b.conv2d("input", 8, (1, 3), stride=2, groups=4, name="grouped")
    x = b.depthwise(x, 3, name="depthwise")
    x = b.conv2d(x, 8, 3, dilation=2, stride=(2, 1), padding=2, name="dilated")
    x = b.pool(b.channel_shuffle(x, 2, name="shuffle"), "max_pool", 2, stride=2, name="pool")
    graph = b.finish(b.activation(x, "relu", name="relu"))
    forms = [form_text(graph, node) for node in graph.nodes]
    assert forms == ["1x3/2 g4", "3x3 dw", "3x3/2x1 d2", "g2", "2x2/2", ""]

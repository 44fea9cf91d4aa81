"""The floor of the fusion benchmark: a network without its data-moving ops.

Every channel shuffle, split, slice, gather, concat and transpose is deleted; all computing nodes stay, with the shapes
that they have. What read a deleted op's result now reads, in this order of preference, the op's own input if that has
the shape that is needed, the latest computed tensor of that shape that nobody has read yet, the latest one that
somebody has, or an input of the network, one for each shape: the runtime finds such an input in memory and copies
nothing. Results that nobody reads any more become outputs of the network, so that they are still computed. The numbers
mean nothing, the work is the same less the moves. In ONNX files, the conversions of layout with which onnxruntime
surrounds the inputs and outputs that were added are deleted as well, from the graph as it has optimized it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edgekit.graph import Graph, Node, QuantParams, validate
from edgekit.graph.cost import graph_cost
from edgekit.graph.ops import op_spec
from edgekit.passes.fuse_channels import MOVES
from edgekit.runtime.onnx_backend import load_onnxruntime

LAYOUT_OPS = ("ReorderInput", "ReorderOutput", "Transpose")
"""What onnxruntime puts between plain tensors and those of its fast kernels."""


def floor_graph(graph: Graph) -> Graph:
    """The graph, float or int8, without its moves. Raises SystemExit if another number of MACs were left."""
    result, wires = graph.copy(), _Wires(graph)
    for node in graph.nodes:
        if node.op in MOVES:
            wires.delete(node)
            result.remove_node(node)
            continue
        changed = replace(node, inputs=tuple(wires.read(result, name) for name in node.inputs))
        result.replace_node(node, changed)
        _follow_scales(result, changed)
        wires.compute(changed)
    outputs = [wires.read(result, name) for name in graph.outputs]
    read = {name for node in result.nodes for name in node.inputs}
    unread = [name for node in result.nodes for name in node.outputs if name not in read]
    result.outputs = tuple(dict.fromkeys([*outputs, *unread]))
    result.drop_unused()
    if graph_cost(result).macs != graph_cost(graph).macs:
        raise SystemExit(f"the floor of {graph.name} has {graph_cost(result).macs} MACs, not {graph_cost(graph).macs}")
    return validate(result, "floor")


class _Wires:
    """What stands in for each deleted tensor."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._stand_ins: dict[str, str] = {}
        self._deleted: dict[str, Node] = {}
        self._computed: list[str] = []
        self._reads: Counter[str] = Counter()

    def delete(self, node: Node) -> None:
        """Its results are no more."""
        self._deleted.update(dict.fromkeys(node.outputs, node))

    def compute(self, node: Node) -> None:
        """Its results are there now."""
        self._computed += node.outputs

    def read(self, result: Graph, name: str) -> str:
        """The tensor to read instead of `name`, which may be a new input of `result`."""
        if name in self._deleted and name not in self._stand_ins:
            self._stand_ins[name] = self._choose(result, name)
        chosen = self._stand_ins.get(name, name)
        self._reads[chosen] += 1
        return chosen

    def _choose(self, result: Graph, name: str) -> str:
        wanted, source = self.graph.tensor(name), self._deleted[name].inputs[0]
        if self.graph.shape(source) == wanted.shape:
            return self._stand_ins.get(source) or (self._choose(result, source) if source in self._deleted else source)
        fitting = [n for n in self._computed if self.graph.shape(n) == wanted.shape]
        fitting = [n for n in fitting if self.graph.tensor(n).dtype == wanted.dtype]
        unread = [n for n in fitting if not self._reads[n]]
        if fitting:
            return (unread or fitting)[-1]
        given = "given/" + "x".join(map(str, wanted.shape)) + f"/{wanted.dtype}"
        if given not in result.tensors:
            result.add_tensor(replace(wanted, name=given))
            result.inputs = (*result.inputs, given)
        return given


def _follow_scales(graph: Graph, node: Node) -> None:
    """Scales that TFLite ties to those of the inputs: equal ones, and those of biases."""
    source = graph.tensor(node.inputs[0]).quant
    if source is None:
        return
    out = graph.tensor(node.output)
    if op_spec(node.op).same_scale and out.quant is not None:
        graph.set_tensor(replace(out, quant=source))
    if node.op in ("conv2d", "dense") and len(node.inputs) == 3:
        kernel, bias = graph.tensor(node.inputs[1]).quant, graph.tensor(node.inputs[2])
        if kernel is not None:
            scales = np.asarray(kernel.scale) * source.scale[0]
            graph.set_tensor(replace(bias, quant=_bias_scales(scales, kernel.axis)))


def _bias_scales(scales: np.ndarray, axis: int | None) -> QuantParams:
    if axis is None:
        return QuantParams.per_tensor(float(scales[0]), 0, "int32")
    return QuantParams.per_channel(scales, 0, "int32")


def without_layout_ops(content: bytes, real_inputs: int, real_outputs: int) -> bytes:
    """An ONNX floor as onnxruntime optimizes it, without conversions of layout at the inputs and outputs added to it.

    content: of the file; its first inputs and outputs are the network's own. Works on the machine it runs on only.
    """
    import onnx

    ort = load_onnxruntime()
    with TemporaryDirectory() as scratch:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(Path(scratch) / "optimized.onnx")
        ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath)
    before = {tensor.name for tensor in list(model.graph.input)[real_inputs:]}
    behind = {tensor.name for tensor in list(model.graph.output)[real_outputs:]}
    entries = [n for n in model.graph.node if n.op_type in LAYOUT_OPS and n.input[0] in before]
    exits = [n for n in model.graph.node if n.op_type in LAYOUT_OPS and n.output[0] in behind]
    types = _types_of(model, [*(n.output[0] for n in entries), *(n.input[0] for n in exits)])
    for node in entries:
        model.graph.node.remove(node)
        model.graph.input.append(types[node.output[0]])
    for node in exits:
        readers = [n for n in model.graph.node if node.output[0] in n.input]
        if readers:
            continue
        model.graph.node.remove(node)
        model.graph.output.append(types[node.input[0]])
    _drop(model.graph.input, before - {name for n in model.graph.node for name in n.input})
    _drop(model.graph.output, behind - {name for n in model.graph.node for name in n.output})
    _unique(model.graph.input)
    _unique(model.graph.output)
    return bytes(model.SerializeToString())


def _types_of(model: Any, names: list[str]) -> dict[str, Any]:
    """Types and shapes of inner tensors, found by running the model once."""
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    known = {tensor.name for tensor in probe.graph.output}
    wanted = [name for name in dict.fromkeys(names) if name not in known]
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
    options = load_onnxruntime().SessionOptions()
    options.graph_optimization_level = load_onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = load_onnxruntime().InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kinds = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
    feeds = {i.name: np.zeros(i.shape, kinds[i.type]) for i in session.get_inputs()}
    arrays = session.run(names, feeds) if names else []
    return {
        name: onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in zip(names, arrays, strict=True)
    }


def _drop(tensors: Any, names: set[str]) -> None:
    for tensor in [t for t in tensors if t.name in names]:
        tensors.remove(tensor)


def _unique(tensors: Any) -> None:
    """One entry a name."""
    seen: set[str] = set()
    for tensor in list(tensors):
        if tensor.name in seen:
            tensors.remove(tensor)
        seen.add(tensor.name)

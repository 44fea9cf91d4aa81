"""The floor of the fusion benchmark: a network without its data-moving ops.

Every channel shuffle, split, slice, gather, concat and transpose is deleted; all computing nodes stay, with the shapes
that they have. What read a deleted op's result now reads, in this order of preference, the op's own input if that has
the shape that is needed, the latest computed tensor of that shape that nobody has read yet, the latest one that
somebody has, or an input of the network, one for each shape: the runtime finds such an input in memory and copies
nothing. Results that nobody reads any more become outputs of the network, so that they are still computed. The numbers
mean nothing, the work is the same less the moves. In ONNX files, the conversions of layout and dtype around the
inputs and outputs that were added are deleted as well, from the graph as onnxruntime has optimized it.
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

BORDER_OPS = ("ReorderInput", "ReorderOutput", "Transpose", "QuantizeLinear", "DequantizeLinear")
"""What stands between a file's own inputs and outputs and onnxruntime's fast kernels."""


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


def without_border_ops(content: bytes, real_inputs: int, real_outputs: int) -> bytes:
    """An ONNX floor as onnxruntime optimizes it, without the conversions at the inputs and outputs added to it.

    content: of the file; its first inputs and outputs are the network's own. Works on the machine it runs on only.
    """
    model = _optimized(content)
    nodes, types, conversions = model.graph.node, _types_at_borders(model), _conversions(model)
    names = [tensor.name for tensor in list(model.graph.input)[real_inputs:]]
    for name in names:  # grows meanwhile
        for node in [n for n in nodes if n.input[0] == name and n.output[0] in conversions]:
            names.append(node.output[0])
            nodes.remove(node)
    _replace(model.graph.input, real_inputs, [types[name] for name in names if _is_read(model, name)])
    names = [tensor.name for tensor in list(model.graph.output)[real_outputs:]]
    for name in names:
        for node in [n for n in nodes if n.output[0] == name and name in conversions and not _is_read(model, name)]:
            names.append(node.input[0])
            nodes.remove(node)
    made = {name for n in nodes for name in n.output}
    _replace(model.graph.output, real_outputs, [types[name] for name in dict.fromkeys(names) if name in made])
    return bytes(model.SerializeToString())


def _conversions(model: Any) -> set[str]:
    """What is made by nodes that change layout or dtype, but not scale (a ReLU can be written as a change of scale)."""
    from onnx import numpy_helper

    makers = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found = set()
    for node in model.graph.node:
        before = makers.get(node.input[0])
        if node.op_type == "QuantizeLinear" and before is not None and before.op_type == "DequantizeLinear":
            scales = [numpy_helper.to_array(constants[n.input[1]]) for n in (node, before)]
            if not np.array_equal(*scales):
                continue
        if node.op_type in BORDER_OPS:
            found.add(node.output[0])
    return found


def _is_read(model: Any, name: str) -> bool:
    return any(name in node.input for node in model.graph.node)


def _optimized(content: bytes) -> Any:
    import onnx

    with TemporaryDirectory() as scratch:
        path = str(Path(scratch) / "optimized.onnx")
        _session(content, optimized_model_filepath=path)
        return onnx.load(path)


def _session(content: bytes, **options: Any) -> Any:
    ort = load_onnxruntime()
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    for name, value in options.items():
        setattr(settings, name, value)
    return ort.InferenceSession(content, settings, providers=["CPUExecutionProvider"])


def _types_at_borders(model: Any) -> dict[str, Any]:
    """Types and shapes of inputs, outputs and what conversions read and write, found by running the model once."""
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    inputs, known = {t.name for t in model.graph.input}, {t.name for t in model.graph.output}
    around = [name for n in model.graph.node if n.op_type in BORDER_OPS for name in (n.input[0], n.output[0])]
    constants = {t.name for t in model.graph.initializer}
    inner = [name for name in dict.fromkeys(around) if name not in known | inputs | constants]
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in inner)
    session = _session(probe.SerializeToString())
    kinds = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
    feeds = {i.name: np.zeros(i.shape, kinds[i.type]) for i in session.get_inputs()}
    names = [*known, *inner]
    arrays = dict(zip(names, session.run(names, feeds), strict=True)) | feeds
    return {
        name: onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in arrays.items()
    }


def _replace(tensors: Any, kept: int, added: list[Any]) -> None:
    del tensors[kept:]
    tensors.extend(added)

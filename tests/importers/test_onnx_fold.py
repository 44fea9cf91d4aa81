"""Constant folding against onnx's reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx.helper import make_node
from onnx.reference import ReferenceEvaluator
from onnx_oracle import node_model

from edgekit.errors import ImportFileError
from edgekit.importers.onnx_file import read_onnx
from edgekit.importers.onnx_fold import fold

FLOATS = np.asarray([[1.5, -2.0, 3.0], [0.25, 4.0, -7.5]], np.float32)
INTS = np.asarray([7, -7, 3, 2], np.int64)
CASES: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "add": ("Add", [FLOATS, FLOATS[0]], {}),
    "sub": ("Sub", [FLOATS, FLOATS[0]], {}),
    "mul": ("Mul", [FLOATS, FLOATS[0]], {}),
    "div": ("Div", [FLOATS, FLOATS[0]], {}),
    "integer div": ("Div", [INTS, np.asarray([2, 2, -2, 5])], {}),
    "pow": ("Pow", [np.abs(FLOATS), np.float32(0.5)], {}),
    "min": ("Min", [FLOATS, FLOATS[0]], {}),
    "max": ("Max", [FLOATS, FLOATS[0]], {}),
    "neg": ("Neg", [FLOATS], {}),
    "abs": ("Abs", [FLOATS], {}),
    "sqrt": ("Sqrt", [np.abs(FLOATS)], {}),
    "exp": ("Exp", [FLOATS], {}),
    "reciprocal": ("Reciprocal", [FLOATS], {}),
    "floor": ("Floor", [FLOATS], {}),
    "ceil": ("Ceil", [FLOATS], {}),
    "equal": ("Equal", [INTS, np.asarray([7, 7, 3, 3])], {}),
    "less": ("Less", [INTS, np.asarray([7, 7, 3, 3])], {}),
    "greater": ("Greater", [INTS, np.asarray([7, 7, 3, 1])], {}),
    "not": ("Not", [np.asarray([True, False])], {}),
    "and": ("And", [np.asarray([True, False]), np.asarray([True, True])], {}),
    "or": ("Or", [np.asarray([True, False]), np.asarray([False, False])], {}),
    "where": ("Where", [np.asarray([True, False, True]), FLOATS, -FLOATS], {}),
    "cast": ("Cast", [FLOATS], {"to": 7}),
    "shape": ("Shape", [FLOATS], {}),
    "shape part": ("Shape", [FLOATS], {"start": -1}),
    "size": ("Size", [FLOATS], {}),
    "identity": ("Identity", [FLOATS], {}),
    "gather": ("Gather", [FLOATS, np.asarray([[2, -1]])], {"axis": 1}),
    "concat": ("Concat", [FLOATS, FLOATS], {"axis": -1}),
    "reshape": ("Reshape", [FLOATS, np.asarray([0, -1, 1])], {}),
    "squeeze": ("Squeeze", [FLOATS[None], np.asarray([0])], {}),
    "squeeze all": ("Squeeze", [FLOATS[None]], {}),
    "unsqueeze": ("Unsqueeze", [FLOATS, np.asarray([0, -1])], {}),
    "slice": ("Slice", [FLOATS, *(np.asarray([v]) for v in (-1, -99, 1, -2))], {}),
    "split": ("Split", [INTS, np.asarray([1, 3])], {}),
    "transpose": ("Transpose", [FLOATS], {}),
    "expand": ("Expand", [FLOATS[:1], np.asarray([2, 1])], {}),
    "range": ("Range", [np.asarray(1), np.asarray(8), np.asarray(3)], {}),
    "constant of shape": ("ConstantOfShape", [np.asarray([2, 1])], {}),
    "mean": ("ReduceMean", [FLOATS], {"axes": [1]}),
    "sum": ("ReduceSum", [FLOATS, np.asarray([0])], {"keepdims": 0}),
    "product": ("ReduceProd", [INTS], {"keepdims": 0}),
    "reduce max": ("ReduceMax", [FLOATS], {"axes": [-1]}),
    "reduce min": ("ReduceMin", [FLOATS], {"axes": [-1]}),
    "sum of three": ("Sum", [FLOATS, FLOATS, FLOATS[0]], {}),
    "mean of three": ("Mean", [FLOATS, FLOATS[0], FLOATS[1]], {}),
    "matrix product": ("MatMul", [FLOATS, FLOATS.T], {}),
    "log": ("Log", [np.abs(FLOATS)], {}),
    "sign": ("Sign", [FLOATS], {}),
    "round": ("Round", [FLOATS / 2], {}),
    "sigmoid": ("Sigmoid", [FLOATS], {}),
    "tanh": ("Tanh", [FLOATS], {}),
    "modulo": ("Mod", [INTS, np.asarray([3, 3, -2, 5])], {}),
    "remainder": ("Mod", [FLOATS, np.float32(2.5)], {"fmod": 1}),
    "clip": ("Clip", [FLOATS, np.float32(-1), np.float32(2)], {}),
    "less or equal": ("LessOrEqual", [INTS, np.asarray([7, 7, 3, 1])], {}),
    "greater or equal": ("GreaterOrEqual", [INTS, np.asarray([7, 7, 3, 1])], {}),
    "tile": ("Tile", [FLOATS, np.asarray([2, 1])], {}),
    "flatten": ("Flatten", [FLOATS[None]], {"axis": 2}),
    "cast like": ("CastLike", [FLOATS, INTS], {}),
    "reduce L2": ("ReduceL2", [FLOATS], {"axes": [1]}),
    "sum of squares": ("ReduceSumSquare", [FLOATS], {"axes": [0], "keepdims": 0}),
    "constant ints": ("Constant", [], {"value_ints": [3, 4]}),
    "constant float": ("Constant", [], {"value_float": 2.5}),
}


@pytest.mark.parametrize("name", CASES)
def test_against_the_reference(name: str) -> None:
    op, inputs, attrs = CASES[name]
    names = [f"i{i}" for i in range(len(inputs))]
    outputs = ["y", "z"] if op == "Split" else ["y"]
    constants = {n: np.asarray(v) for n, v in zip(names, inputs, strict=True)}
    model = node_model([make_node(op, names, outputs, **attrs)], (1, 1), constants, outputs=outputs)
    expected = ReferenceEvaluator(model).run(None, {"x": np.zeros((1, 1), np.float32)})
    found = fold(read_onnx(model.SerializeToString()).nodes[0], list(constants.values()))
    assert len(found) == len(expected)
    for value, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, want, rtol=1e-6)
        assert (value.dtype, value.shape) == (np.asarray(want).dtype, np.asarray(want).shape)


@pytest.mark.parametrize(
    ("op", "inputs", "match"),
    [
        ("Add", [FLOATS, INTS], "do not fit"),
        ("Gather", [INTS, np.asarray(9)], "do not fit"),
        ("Reshape", [FLOATS, np.asarray([4, -1])], "cannot reshape"),
        ("Reshape", [FLOATS, FLOATS[0]], "needs integers"),
        ("Expand", [FLOATS[:1], np.asarray([2**40, 3])], "too large"),
        ("Range", [np.asarray(0), np.asarray(2**40), np.asarray(1)], "too large"),
        ("Range", [np.asarray(0), np.asarray(4), np.asarray(0)], "do not fit"),
        ("Unsqueeze", [FLOATS, np.asarray([0, 0])], "repeat"),
        ("Neg", [], "input 0 is missing"),
        ("Tile", [FLOATS, np.asarray([2])], r"its repeats \(2,\) do not fit"),
        ("Tile", [FLOATS, np.asarray([2**20, 2**20])], "too large"),
        ("Flatten", [FLOATS], "its axis 5 is outside"),
        ("MatMul", [FLOATS, FLOATS], "do not fit"),
        ("Mod", [INTS, np.zeros(3, np.int64)], "do not fit"),
    ],
)
def test_misfits(op: str, inputs: list[Any], match: str) -> None:
    names = [f"i{i}" for i in range(len(inputs))]
    attrs = {"axis": 5} if op == "Flatten" else {}
    node = read_onnx(node_model([make_node(op, names, ["y"], **attrs)], (1, 1)).SerializeToString()).nodes[0]
    with pytest.raises(ImportFileError, match=match):
        fold(node, inputs)

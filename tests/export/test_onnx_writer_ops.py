"""Every op, float and int8, in onnxruntime against the numpy references."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_cases import CASES, build_case
from onnx_support import check_steps, quantize_min_max, random_feeds, run_onnx

from edgekit.export.onnx import onnx_bytes
from edgekit.export.onnx_ops import ROWS
from edgekit.graph.interpret import interpret
from edgekit.graph.ops import OPS

SEEDS = (0, 1, 2)
NOT_QUANTIZED = ("batch_norm_2", "batch_norm_3", "batch_norm_4", "swish", "hard_sigmoid")
"""Folded or decomposed before quantization."""


def test_every_op_has_a_row_and_a_case() -> None:
    assert ROWS.keys() == OPS.keys()
    assert {op for op, _ in CASES.values()} == OPS.keys() - {"quantize", "dequantize"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CASES)
def test_float_op_equals_the_interpreter(name: str, seed: int) -> None:
    graph = build_case(name, seed)
    feeds = random_feeds(graph, np.random.default_rng(seed))
    hidden = [node.output for node in graph.nodes]
    wanted = interpret(graph, feeds, keep=True)
    got = run_onnx(onnx_bytes(graph, expose=hidden), feeds)
    assert set(got) == {*hidden, *graph.outputs}
    for output, value in got.items():
        np.testing.assert_allclose(value, wanted[output], rtol=1e-5, atol=1e-6, err_msg=output)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [name for name in CASES if name not in NOT_QUANTIZED])
def test_quantized_op_is_within_one_step(name: str, seed: int) -> None:
    graph = build_case(name, seed)
    feeds = random_feeds(graph, np.random.default_rng(seed))
    quantized = quantize_min_max(graph, feeds)
    activations = [t.name for t in quantized.tensors.values() if not t.is_constant]
    got = run_onnx(onnx_bytes(quantized, expose=activations), feeds)
    check_steps(quantized, {**feeds, **got})

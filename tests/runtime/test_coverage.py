"""XNNPACK's share of a file, against the interpreter with one delegate node for each node."""

from __future__ import annotations

import pytest
from small_models import onnx_classifier, tflite_models, with_unread_node

from edgekit.errors import ImportFileError
from edgekit.runtime import Coverage, xnnpack_coverage


def delegated_one_by_one(model: bytes) -> int:
    """Nodes taken when each one must be a partition of its own; those whose result nothing reads have no outputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, experimental_disable_delegate_node_fusion=True)
    interpreter.allocate_tensors()
    details = interpreter._get_ops_details()
    return sum(d["op_name"] == "DELEGATE" and len(d["outputs"]) > 0 for d in details)


EXPECTED = {
    "float": Coverage(5, 5, 1, ()),
    "logits_int8": Coverage(4, 4, 1, ()),
    "int8": Coverage(4, 5, 1, ("SOFTMAX",)),
    "reverse": Coverage(2, 3, 2, ("REVERSE_V2",)),
    "reverse_fp16": Coverage(5, 6, 2, ("REVERSE_V2",)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_coverage(name: str) -> None:
    model = tflite_models()[name]
    found = xnnpack_coverage(model)
    assert found == EXPECTED[name]
    assert found.complete == (found.left == ())
    assert found.delegated == delegated_one_by_one(model)


def test_a_node_that_nothing_reads_is_not_counted() -> None:
    model = with_unread_node(tflite_models()["float"])
    assert xnnpack_coverage(model) == EXPECTED["float"]
    assert delegated_one_by_one(model) == 5


def test_files_that_are_not_tflite() -> None:
    with pytest.raises(ImportFileError, match="<bytes> is not a TFLite file: XNNPACK"):
        xnnpack_coverage(onnx_classifier())
    with pytest.raises(ImportFileError, match="is not a whole TFLite file"):
        xnnpack_coverage(tflite_models()["float"][:400])

from __future__ import annotations

import numpy as np
import pytest
from tensors import kernel

from edgekit.compress.indexed_tflite import indexed_tflite
from edgekit.errors import ModelError, WeightsError
from edgekit.export.tflite import tflite_bytes
from edgekit.graph.builder import GraphBuilder
from edgekit.pipeline.indexed_file import write_indexed
from edgekit.runtime.session import Session


def model(codes: int) -> bytes:
    builder = GraphBuilder("net")
    image = builder.input("image", (1, 10, 10, 8))
    graph = builder.finish(builder.conv2d(image, 24, 3, name="conv"))
    name = next(t.name for t in graph.constants() if len(t.shape) == 4)
    graph.set_tensor(graph.tensor(name).with_data(kernel((3, 3, 8, 24), codes=codes, zeros=0.2)))
    return tflite_bytes(graph)


def output(data: bytes) -> np.ndarray:
    image = np.random.default_rng(0).standard_normal((1, 10, 10, 8)).astype(np.float32)
    with Session.open(data) as session:
        return session.run_float(image)


def test_outputs_agree_and_the_file_is_small(tmp_path):
    plain = model(40)
    indexed = indexed_tflite(plain)
    assert (indexed.eight, indexed.plain) == (1, ())
    assert len(indexed.data) < len(plain) - 3 * 9 * 8 * 24 + 1200
    np.testing.assert_allclose(output(indexed.data), output(plain), rtol=1e-5, atol=1e-5)
    (tmp_path / "m.tflite").write_bytes(plain)
    with pytest.raises(ModelError, match="at each inference"):
        write_indexed(tmp_path / "m.tflite", tmp_path / "out.tflite")
    assert not (tmp_path / "out.tflite").exists()
    write_indexed(tmp_path / "m.tflite", tmp_path / "out.tflite", force=True)
    assert (tmp_path / "out.tflite").read_bytes() == indexed.data


def test_weights_with_many_values_are_refused():
    with pytest.raises(WeightsError, match="at most 256"):
        indexed_tflite(model(1500))

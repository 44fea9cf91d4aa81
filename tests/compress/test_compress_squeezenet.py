"""Trained weights and photographs: SqueezeNet v1.0 on ImageNet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekit.compress.drift import head_names
from edgekit.compress.layer_problem import float_outputs, layer_problem
from edgekit.compress.layer_rows import weight_layers
from edgekit.compress.scalar import on_grid, quantize_scalar
from edgekit.compress.walk import walk
from edgekit.compress.weights import POSITIONS, WeightCompressor, estimated_bytes
from edgekit.data.preprocess import CAFFE
from edgekit.data.sources import open_source
from edgekit.graph import Graph
from edgekit.graph.compensation import output_error
from edgekit.importers.weights import load_weights
from edgekit.passes.registry import apply_passes
from edgekit.pipeline.engine import onnx_engine
from edgekit.zoo.squeezenet import squeezenet


@pytest.fixture(scope="module")
def network(data_dir: Path) -> Graph:
    weights = data_dir / "squeezenet_v1.0_imagenet.npz"
    return apply_passes(load_weights(squeezenet(conv10_padding=1), weights))[0]


@pytest.fixture(scope="module")
def photographs(data_dir: Path) -> Callable[[int], list[np.ndarray]]:
    return lambda count: [s.array for s in open_source(data_dir / "imagenet500").samples(CAFFE, count)]


def test_compensated_layers_have_less_error_than_rounded_ones_on_photographs(network, photographs):
    watched = {"conv1", "fire2/squeeze1x1", "fire2/expand3x3", "fire9/expand1x1"}

    def visit(node, state):
        if node.name not in watched:
            return
        values = state[node.inputs[0]]
        given = layer_problem(network, node, values, float_outputs(network, node, values, POSITIONS), POSITIONS)
        power = output_error(given.weights, given.gram) / given.weights.size
        layer = quantize_scalar(given, 0.01 * power)
        width = float(layer.codebook[-1] - layer.codebook[0]) / len(layer.codebook)
        plain = (on_grid(given, width * factor, 0.0, rounds=0) for factor in np.geomspace(0.1, 4, 60))
        nearest = min((p for p in plain if p.bits >= layer.bits), key=lambda p: p.bits)
        assert layer.error < 0.8 * nearest.error, node.name
        watched.discard(node.name)

    walk(network, photographs(8), onnx_engine(), weight_layers(network), visit, head_names(network))
    assert not watched


@pytest.mark.slow
def test_a_third_of_the_bits_keeps_the_predictions_of_images_that_it_did_not_see(network, photographs):
    images = photographs(80)
    done = WeightCompressor(network, images[::2], onnx_engine()).at(5e-8)
    assert 300_000 < estimated_bytes(done.tensors) < 430_000
    heads = head_names(network)
    seen = [walk(g, images[1::2], onnx_engine(), (), lambda n, s: None, heads) for g in (network, done.graph)]
    before, after = (np.array([int(logits.argmax()) for (logits,) in outputs]) for outputs in seen)
    assert np.mean(before == after) >= 0.8

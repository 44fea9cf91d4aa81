"""Exports that differ have names that differ, and the usual ones have the names that the README tells."""

from __future__ import annotations

from typing import Any

import pytest

from edgekit.graph.ir import Graph
from edgekit.pipeline.file_names import export_stem
from edgekit.zoo.registry import build_model


@pytest.mark.parametrize(
    ("precision", "more", "expected"),
    [
        ("int8", {}, "mobilenet_v2_0.75_224_int8"),
        ("int8", {"io": "uint8"}, "mobilenet_v2_0.75_224_int8_uint8io"),
        ("int8", {"io": "float32", "fuse": False}, "mobilenet_v2_0.75_224_int8_float32io_unfused"),
        ("float16", {"io": "float32"}, "mobilenet_v2_0.75_224_fp16"),
        ("float32", {"fuse": False}, "mobilenet_v2_0.75_224_fp32_unfused"),
    ],
)
def test_what_is_not_the_default_is_named(precision: Any, more: dict[str, Any], expected: str) -> None:
    assert export_stem(build_model("mobilenet_v2", alpha=0.75), precision, **more) == expected


def test_classes_are_named_where_they_are_not_the_models_usual_ones() -> None:
    assert export_stem(build_model("mobilenet_v2", classes=10), "int8") == "mobilenet_v2_1_224_10classes_int8"
    assert export_stem(build_model("condensenet_cifar", classes=100), "int8").endswith("_100classes_int8")
    assert "classes" not in export_stem(build_model("condensenet_cifar", classes=10), "int8")


def test_an_imported_file_keeps_its_name() -> None:
    graph = Graph("my model")
    graph.metadata = {"model": {"name": "my model"}}
    assert export_stem(graph, "float16") == "my model_fp16"


def test_an_input_size_that_was_chosen_is_named() -> None:
    graph = build_model("lenet5")
    graph.metadata = {"model": {"name": "net"}}
    assert (
        export_stem(graph, "int8", sized=True)
        == f"{graph.name}_{graph.shape('input')[1]}x{graph.shape('input')[2]}_int8"
    )

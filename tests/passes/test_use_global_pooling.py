from __future__ import annotations

import pytest
from pass_helpers import assert_refuses, assert_rewrites

from edgekit.graph import GraphBuilder
from edgekit.passes.use_global_pooling import use_global_pooling


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((5, 3), 1, "valid"), ((5, 3), 7, "valid"), ((7, 4), 2, (1, 1, 0, 1)), ((6, 4), 9, (0, 2, 1, 1))],
)
def test_a_window_that_covers_the_map(kernel, stride, padding):
    b = GraphBuilder("net", (2, 5, 3, 4))
    graph = b.finish(b.pool("input", "avg_pool", kernel, stride=stride, padding=padding, name="pool"))
    after = assert_rewrites(graph, use_global_pooling, 1, ["global_avg_pool"])
    assert after.nodes[0].attrs["keep_dims"] is True


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((4, 3), 2, "valid"),
        ((5, 2), 2, "valid"),
        ((5, 3), 9, (1, 0, 0, 0)),
        ((5, 3), 1, (0, 1, 0, 0)),
        ((5, 3), 1, "same"),
    ],
)
def test_a_window_that_misses_a_part_stays(kernel, stride, padding):
    b = GraphBuilder("net", (1, 5, 3, 4))
    graph = b.finish(b.pool("input", "avg_pool", kernel, stride=stride, padding=padding, name="pool"))
    assert_refuses(graph, use_global_pooling)


@pytest.mark.parametrize(("keep", "shape"), [(True, (2, 4)), (False, (2, 1, 1, 4))])
def test_a_reshape_behind_it_is_merged(keep, shape):
    b = GraphBuilder("net", (2, 5, 3, 4))
    graph = b.finish(b.reshape(b.global_avg_pool("input", keep_dims=keep, name="pool"), shape, name="flat"))
    after = assert_rewrites(graph, use_global_pooling, 1, ["global_avg_pool"])
    assert after.nodes[0].attrs["keep_dims"] is not keep


@pytest.mark.parametrize("shape", [(2, 2, 2), (8,), (1, 1, 2, 4)])
def test_another_reshape_stays(shape):
    b = GraphBuilder("net", (2, 5, 3, 4))
    graph = b.finish(b.reshape(b.global_avg_pool("input", keep_dims=True, name="pool"), shape, name="other"))
    assert_refuses(graph, use_global_pooling)


def test_a_pool_that_is_read_elsewhere_keeps_its_shape():
    b = GraphBuilder("net", (2, 5, 3, 4))
    pool = b.global_avg_pool("input", keep_dims=True, name="pool")
    assert_refuses(b.finish(b.reshape(pool, (2, 4), name="flat"), b.add(pool, pool, name="sum")), use_global_pooling)

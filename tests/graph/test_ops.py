"""The op table: shape rules, attributes, and every refusal."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import GraphError, ShapeError
from edgekit.graph.ops import ACTIVATIONS, OPS, complete_attrs, conv_output_size, infer_shapes, op_spec

IMAGE = (1, 8, 8, 4)
WINDOW = {"strides": (1, 1), "padding": (0, 0, 0, 0)}

CASES = {
    "conv2d": ([IMAGE, (3, 3, 2, 6), (6,)], {"groups": 2, "strides": (2, 1), "padding": (1, 0, 2, 1)}, [(1, 4, 9, 6)]),
    "dense": ([(2, 5), (5, 3), (3,)], {}, [(2, 3)]),
    "batch_norm": ([IMAGE, (4,), (4,), (4,), (4,)], {}, [IMAGE]),
    "relu": ([IMAGE], {}, [IMAGE]),
    "relu6": ([IMAGE], {}, [IMAGE]),
    "hard_swish": ([IMAGE], {}, [IMAGE]),
    "swish": ([IMAGE], {}, [IMAGE]),
    "sigmoid": ([IMAGE], {}, [IMAGE]),
    "hard_sigmoid": ([IMAGE], {}, [IMAGE]),
    "softmax": ([(2, 5)], {}, [(2, 5)]),
    "add": ([IMAGE, (4,)], {}, [IMAGE]),
    "mul": ([(1, 1, 1, 4), IMAGE], {}, [IMAGE]),
    "max_pool": ([IMAGE], {"kernel": (3, 2), "strides": (2, 2), "padding": (0, 1, 0, 0)}, [(1, 4, 4, 4)]),
    "avg_pool": ([IMAGE], {"kernel": (8, 8)}, [(1, 1, 1, 4)]),
    "global_avg_pool": ([IMAGE], {"keep_dims": True}, [(1, 1, 1, 4)]),
    "concat": ([IMAGE, (1, 8, 8, 1)], {"axis": 3}, [(1, 8, 8, 5)]),
    "split": ([IMAGE], {"axis": 3, "sizes": (1, 3)}, [(1, 8, 8, 1), (1, 8, 8, 3)]),
    "slice": ([IMAGE], {"begin": (0, 1, 0, 0), "end": (1, 8, 8, 3), "strides": (1, 2, 3, 1)}, [(1, 4, 3, 3)]),
    "gather": ([IMAGE], {"axis": 3, "indices": (3, 0, 3)}, [(1, 8, 8, 3)]),
    "pad": ([IMAGE], {"before": (0, 1, 0, 0), "after": (0, 2, 1, 0)}, [(1, 11, 9, 4)]),
    "reshape": ([IMAGE], {"shape": (4, 64)}, [(4, 64)]),
    "transpose": ([IMAGE], {"perm": (0, 3, 1, 2)}, [(1, 4, 8, 8)]),
    "channel_shuffle": ([IMAGE], {"groups": 2}, [IMAGE]),
    "identity": ([IMAGE], {}, [IMAGE]),
    "dropout": ([IMAGE], {"rate": 0.2}, [IMAGE]),
    "quantize": ([IMAGE], {}, [IMAGE]),
    "dequantize": ([IMAGE], {}, [IMAGE]),
}


def test_every_row_of_the_table_has_a_case():
    assert set(CASES) == set(OPS)


@pytest.mark.parametrize("op", CASES)
def test_shape_rule_gives_the_expected_shapes_and_the_reference_obeys(op):
    shapes, given, expected = CASES[op]
    attrs = complete_attrs(op, given)
    assert infer_shapes(op, shapes, attrs) == expected
    reference = op_spec(op).reference
    if op in ("quantize", "dequantize"):
        assert reference is None
        return
    rng = np.random.default_rng(0)
    outputs = reference([rng.uniform(0.1, 1, shape).astype(np.float32) for shape in shapes], attrs)
    assert [o.shape for o in outputs] == expected
    assert {o.dtype.name for o in outputs} == {"float32"}


def test_only_convolution_and_dense_have_multiply_adds():
    assert {name for name, row in OPS.items() if row.macs} == {"conv2d", "dense"}


def test_fixed_scales_are_tflites():
    assert {name: row.fixed_scale for name, row in OPS.items() if row.fixed_scale} == {
        "sigmoid": (1 / 256, -128),
        "softmax": (1 / 256, -128),
    }


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after", "dilation", "expected"),
    [(7, 3, 2, 1, 1, 1, 4), (8, 3, 2, 0, 1, 1, 4), (8, 3, 1, 2, 2, 2, 8), (5, 5, 1, 0, 0, 1, 1)],
)
def test_conv_output_size(size, kernel, stride, before, after, dilation, expected):
    assert conv_output_size(size, kernel, stride, before, after, dilation) == expected


# -- refusals of shapes ----------------------------------------------------------------------------------------------

SHAPE_ERRORS = [
    ("conv2d", [(8, 8, 4), (3, 3, 4, 6)], {}, "needs x .* and a kernel"),
    ("conv2d", [IMAGE, (3, 3, 3, 6)], {}, "4 input and 6 output channels in 1 groups do not fit a kernel"),
    ("conv2d", [IMAGE, (3, 3, 2, 5)], {"groups": 2}, "4 input and 5 output channels in 2 groups"),
    ("conv2d", [IMAGE, (3, 3, 4, 6)], {"groups": 0}, "in 0 groups"),
    ("conv2d", [IMAGE, (3, 3, 4, 6), (5,)], {}, r"bias has shape \(5,\), not \(6,\)"),
    ("conv2d", [IMAGE, (9, 3, 4, 6)], {}, r"window \(9, 3\) does not fit into 8x8"),
    ("conv2d", [IMAGE, (3, 3, 4, 6)], {"dilation": (4, 1)}, r"window \(3, 3\) does not fit into 8x8"),
    ("conv2d", [IMAGE, (3, 3, 4, 6)], {"strides": (0, 1)}, r"strides \(0, 1\) must be 2 numbers of at least 1"),
    ("conv2d", [IMAGE, (3, 3, 4, 6)], {"strides": (1, 1, 1)}, "strides .* must be 2 numbers"),
    ("conv2d", [IMAGE, (3, 3, 4, 6)], {"dilation": (1, 0)}, "dilation .* must be 2 numbers of at least 1"),
    ("conv2d", [IMAGE, (3, 3, 4, 6)], {"padding": (1, 1)}, r"padding \(1, 1\) must be 4 numbers of at least 0"),
    ("conv2d", [IMAGE, (3, 3, 4, 6)], {"padding": (0, -1, 0, 0)}, "padding .* must be 4 numbers of at least 0"),
    ("dense", [IMAGE, (4, 3)], {}, r"needs x \(N, in\) and a kernel"),
    ("dense", [(1, 5), (4, 3)], {}, r"needs x \(N, in\) and a kernel"),
    ("dense", [(1, 4), (4, 3), (4,)], {}, r"bias has shape \(4,\), not \(3,\)"),
    ("batch_norm", [IMAGE, (4,), (4,), (3,), (4,)], {}, "statistics .* do not fit 4 channels"),
    ("add", [IMAGE, (3,)], {}, "do not broadcast"),
    ("max_pool", [(1, 8)], {"kernel": (2, 2)}, r"needs an input \(N, H, W, C\), got \(1, 8\)"),
    ("max_pool", [IMAGE], {"kernel": (2, 0)}, "kernel .* must be 2 numbers of at least 1"),
    ("avg_pool", [IMAGE], {"kernel": (2, 2), "padding": (2, 0, 0, 0)}, "leaves windows .* without input"),
    ("avg_pool", [IMAGE], {"kernel": (9, 9)}, r"window \(9, 9\) does not fit"),
    ("global_avg_pool", [(1, 4)], {}, r"needs an input \(N, H, W, C\)"),
    ("concat", [IMAGE, (1, 7, 8, 4)], {"axis": 3}, "cannot concatenate .* along axis 3"),
    ("concat", [IMAGE, (1, 8, 4)], {"axis": 1}, "cannot concatenate"),
    ("concat", [IMAGE, IMAGE], {"axis": 4}, "axis 4 is outside a tensor of rank 4"),
    ("concat", [IMAGE, IMAGE], {"axis": -1}, "axis -1 is outside a tensor of rank 4"),
    ("split", [IMAGE], {"axis": 3, "sizes": (1, 2)}, r"pieces \(1, 2\) do not add up to axis 3"),
    ("split", [IMAGE], {"axis": 3, "sizes": (4, 0)}, "do not add up"),
    ("split", [IMAGE], {"axis": 3, "sizes": ()}, "do not add up"),
    ("slice", [IMAGE], {"begin": (0,) * 4, "end": (1, 9, 8, 4), "strides": (1,) * 4}, "is empty or outside"),
    ("slice", [IMAGE], {"begin": (0, 2, 0, 0), "end": (1, 2, 8, 4), "strides": (1,) * 4}, "is empty or outside"),
    ("slice", [IMAGE], {"begin": (0,) * 4, "end": (1, 8, 8, 4), "strides": (1, 1, 1, 0)}, "is empty or outside"),
    ("slice", [IMAGE], {"begin": (0,) * 3, "end": (1, 8, 8, 4), "strides": (1,) * 4}, "is empty or outside"),
    ("gather", [IMAGE], {"axis": 3, "indices": (0, 4)}, "indices lie outside axis 3"),
    ("gather", [IMAGE], {"axis": 3, "indices": (-1,)}, "indices lie outside axis 3"),
    ("gather", [IMAGE], {"axis": 3, "indices": ()}, "indices lie outside axis 3"),
    ("pad", [IMAGE], {"before": (0, 0, 0), "after": (0, 0, 0, 0)}, "does not fit"),
    ("pad", [IMAGE], {"before": (0, 0, 0, -1), "after": (0, 0, 0, 0)}, "does not fit"),
    ("reshape", [IMAGE], {"shape": (3, 64)}, r"cannot reshape .* to \(3, 64\)"),
    ("transpose", [IMAGE], {"perm": (0, 1, 1, 2)}, "is no permutation of the axes"),
    ("channel_shuffle", [IMAGE], {"groups": 3}, "4 channels cannot be shuffled in 3 groups"),
    ("channel_shuffle", [IMAGE], {"groups": 0}, "cannot be shuffled in 0 groups"),
    ("relu", [IMAGE, IMAGE], {}, "op relu takes 1 to 1 inputs, got 2"),
    ("conv2d", [IMAGE], {}, "op conv2d takes 2 to 3 inputs, got 1"),
]


@pytest.mark.parametrize(("op", "shapes", "given", "message"), SHAPE_ERRORS)
def test_shapes_that_do_not_fit_are_refused(op, shapes, given, message):
    with pytest.raises(ShapeError, match=message):
        infer_shapes(op, shapes, complete_attrs(op, given))


# -- refusals of attributes --------------------------------------------------------------------------------------------


def test_defaults_are_filled_in_and_ints_become_floats_where_floats_belong():
    assert complete_attrs("batch_norm", {"epsilon": 1}) == {"epsilon": 1.0}
    assert isinstance(complete_attrs("batch_norm", {"epsilon": 1})["epsilon"], float)
    assert complete_attrs("conv2d", {}) == {
        **WINDOW,
        "dilation": (1, 1),
        "groups": 1,
        "activation": "none",
    }


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_known_activations_can_be_fused(activation):
    assert complete_attrs("add", {"activation": activation})["activation"] == activation


@pytest.mark.parametrize(
    ("op", "given", "message"),
    [
        ("warp", {}, "no op 'warp' in the table"),
        ("relu", {"slope": 1.0}, "op relu has no attribute 'slope'"),
        ("max_pool", {}, "op max_pool needs attribute 'kernel'"),
        ("max_pool", {"kernel": [2, 2]}, r"attribute 'kernel' of op max_pool is \[2, 2\], not tuple"),
        ("concat", {"axis": True}, "attribute 'axis' of op concat is True, not int"),
        ("concat", {"axis": 1.0}, "attribute 'axis' of op concat is 1.0, not int"),
        ("global_avg_pool", {"keep_dims": 1}, "attribute 'keep_dims' of op global_avg_pool is 1, not bool"),
        ("batch_norm", {"epsilon": "small"}, "attribute 'epsilon' of op batch_norm is 'small', not float"),
        ("batch_norm", {"epsilon": None}, "attribute 'epsilon' of op batch_norm is None, not float"),
        ("conv2d", {"activation": "swish"}, "op conv2d cannot fuse activation 'swish'"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(op, given, message):
    with pytest.raises(GraphError, match=message):
        complete_attrs(op, given)

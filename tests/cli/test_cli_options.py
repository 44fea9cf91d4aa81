"""Options that commands share, and their agreement with the library."""

from __future__ import annotations

from typing import get_args

import pytest
from command_line import TINY, names, refused, run

from edgekit.cli.export_command import IO, RANGES, command
from edgekit.cli.options import Shape, zoo_options
from edgekit.errors import ModelError
from edgekit.pipeline.export_model import FORMATS
from edgekit.quantize.assign import QuantizeOptions
from edgekit.quantize.boundaries import IO_TYPES, IoType
from edgekit.quantize.ranges import METHODS


def default(name: str) -> object:
    return next(param.default for param in command.params if param.name == name)


def test_choices_and_defaults_are_the_librarys() -> None:
    assert sorted(RANGES) == sorted(METHODS)
    assert IO == IO_TYPES == get_args(IoType)
    assert str(default("formats")).split(",") == list(FORMATS)
    assert (default("ranges"), default("io")) == (QuantizeOptions().range_method, QuantizeOptions().io)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--alpha", "0"], "alpha is 0"),
        (["--alpha", "-1"], "alpha is -1"),
        (["--alpha", "1e9"], "alpha is 1000000000"),
        (["--alpha", "nan"], "alpha is nan"),
        (["--alpha", "inf"], "alpha is inf"),
        (["--alpha", "wide"], "--alpha 'wide' is not a number"),
        (["--resolution", "31"], "resolution is 31; give an integer from 32"),
        (["--resolution", "100000"], "resolution is 100000"),
        (["--resolution", "224.5"], "--resolution '224.5' is not an integer"),
        (["--resolution", "big"], "--resolution 'big' is not an integer"),
        (["--rho", "0.5", "--resolution", "96"], "give --resolution or --rho, not both"),
        (["--rho", "0"], "rho"),
        (["--rho", "-1"], "rho"),
        (["--rho", "nan"], "rho"),
        (["--rho", "1e308"], "rho"),
        (["--rho", "0.01"], "r"),
        (["--classes", "0"], "classes is 0"),
        (["--classes", "ten"], "--classes 'ten' is not an integer"),
        (["--seed", "-1"], "seed is -1"),
        (["--input-shape", "1,3,224,224"], "--input-shape is for model files; mobilenet_v2 takes --resolution"),
        (["--input-shape", "1,3,h,w"], "--input-shape '1,3,h,w' is no shape; give positive integers such as"),
        (["--input-shape", "1,3,0,4"], "'1,3,0,4' is no shape"),
    ],
)
def test_shapes_that_cannot_be_are_refused(options: list[str], words: str) -> None:
    refused(run("info", "mobilenet_v2", *options), words)


def test_rho_is_the_nearest_multiple_of_32() -> None:
    assert zoo_options("mobilenet_v2", None, None, 0.714, None)["resolution"] == 160
    assert zoo_options("mobilenet_v2", None, 96, None, None)["resolution"] == 96
    with pytest.raises(ModelError, match="not both"):
        zoo_options("mobilenet_v2", None, 96, 1.0, None)


def test_shapes_are_read() -> None:
    assert Shape().convert("1, 3,224,196", None, None) == (1, 3, 224, 196)
    assert Shape().convert((1, 2), None, None) == (1, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--int8", "--fp16"], "give --int8 or --fp16, not both"),
        (["--io", "uint8"], "--io uint8 is for int8 files; give --int8"),
        (["--format", "tflite,pb"], "format 'pb' is none of tflite, onnx"),
        (["--format", ","], "format '(none)' is none of"),
        (["--calibration-images", "0"], "0"),
        (["--calibration-images", "-5"], "-5"),
        (["--calibration-images", "few"], "--calibration-images 'few' is not an integer"),
        (["--calibration", "nowhere"], "nowhere does not exist; data is a folder of images"),
        (["--calibration", "synthetic:x"], "synthetic:x: the seed must be a whole number"),
        (["--preprocessing", "tensorflow"], "preprocessing 'tensorflow' is none of"),
        (["--preprocessing", "grey"], "'grey' makes 1 channels, the model takes 3"),
        (["--labels", "nowhere.txt"], "labels nowhere.txt cannot be read: No such file or directory; give a UTF-8"),
    ],
)
def test_export_options_that_cannot_be_are_refused(options: list[str], words: str, tmp_path) -> None:
    refused(run("export", *TINY, *options, "--out", tmp_path / "out"), words)
    assert names(tmp_path / "out") == []

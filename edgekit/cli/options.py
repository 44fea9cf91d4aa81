"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgekit.errors import ModelError

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")


if TYPE_CHECKING:
    NumberType = click.ParamType[int | float]
    ShapeType = click.ParamType[tuple[int, ...]]
else:  # older releases of click have no type arguments here
    NumberType = ShapeType = click.ParamType


class Number(NumberType):
    """A number whose errors are user errors (exit code 1), with the library's own wording."""

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind
        self.name = "integer" if kind is int else "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        """The number. Raises ModelError for text that is none."""
        try:
            return self.kind(value)
        except ValueError:
            option = param.opts[0] if param else "option"
            raise ModelError(f"{option} {value!r} is not {'an integer' if self.kind is int else 'a number'}") from None


class Shape(ShapeType):
    """A shape such as 1,3,224,224; errors are user errors (exit code 1)."""

    name = "n,c,h,w"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers. Raises ModelError for text that is no list of positive integers."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",")]
        if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
            raise ModelError(f"--input-shape {value!r} is no shape; give positive integers such as 1,3,224,224")
        return tuple(int(word) for word in words)


def model_options(function: F) -> F:
    """MODEL and the options that shape it."""
    decorators = [
        click.argument("model"),
        click.option("--alpha", type=Number(float), help="Width multiplier, for models that have one (default 1)."),
        click.option(
            "--resolution",
            type=Number(int),
            help="Input height and width in pixels (default: the model's, mostly 224).",
        ),
        click.option(
            "--rho",
            type=Number(float),
            help="Resolution multiplier: the multiple of 32 nearest to RHO times that default.",
        ),
        click.option(
            "--classes", type=Number(int), help="Outputs of the classifier (default: the model's, 1000 or 10)."
        ),
        click.option("--seed", type=Number(int), default=0, show_default=True, help="Seed of random weights."),
        click.option(
            "--input-shape", type=Shape(), help="Shape of a file's input, in its own layout, where it is open."
        ),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def zoo_options(
    model: str, alpha: float | None, resolution: int | None, rho: float | None, classes: int | None
) -> dict[str, float | int | None]:
    """The options as the zoo's builders take them. Raises ModelError for --rho beside --resolution.

    rho is of the resolution that the model has unless asked for another.
    """
    if rho is not None:
        from edgekit.zoo import model_names, model_spec, resolution_from_rho

        if resolution is not None:
            raise ModelError("give --resolution or --rho, not both")
        if model not in model_names():
            return {"alpha": alpha, "rho": rho, "classes": classes}
        default = next(option.default for option in model_spec(model).options if option.name == "resolution")
        resolution = resolution_from_rho(rho, int(default))
    return {"alpha": alpha, "resolution": resolution, "classes": classes}


def data_options(function: F) -> F:
    """--data and how its images are read."""
    decorators = [
        click.option("--data", required=True, help="Image folder, .npz, or `synthetic`."),
        click.option("--limit", type=Number(int), help="Use at most this many images, evenly spaced."),
        click.option("--class-file", type=click.Path(path_type=Path), help="Rows `<wnid> <label>`: row = class index."),
        click.option("--preprocessing", help="torch, keras_tf, caffe, ...: for files that do not say."),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function

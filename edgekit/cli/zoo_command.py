"""Commands that take MODEL: the zoo model's own options become the command's."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import Number

if TYPE_CHECKING:
    from edgekit.zoo.options import Option

_FAMILY = "edgekit.family_options"
_MODEL = "edgekit.model_options"
_TYPES: dict[type, Any] = {int: Number(int), float: Number(float), str: str}
SHARED = ("alpha", "resolution", "classes", "seed")
"""Options that the commands have for every model, and that a model's builder takes under the same name."""


class ZooCommand(click.Command):
    """A command whose options depend on MODEL: `export shufflenet_v1 --groups 8`, and so does its --help.

    The callback gets the model's own options, given ones only, as the mapping `family`. Those that all models share
    stay the command's, but their help tells the model's defaults, and what the model lacks is not shown.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look for a zoo model among the words, then parse with its options."""
        ctx.meta[_MODEL] = options = named_options(args)
        ctx.meta[_FAMILY] = family_options(options.values())
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """MODEL, the options that shape every model, the named model's, and the command's others."""
        options = ctx.meta.get(_MODEL, {})
        params = super().get_params(ctx)
        if options:
            params = [_told_by_model(param, options) for param in params]
        shaping = [param for param in params if isinstance(param, click.Argument) or param.name in (*SHARED, "rho")]
        return [*shaping, *ctx.meta.get(_FAMILY, ()), *(param for param in params if param not in shaping)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the callback with the model's options in one mapping."""
        given = {str(option.name): ctx.params.pop(str(option.name), None) for option in ctx.meta.get(_FAMILY, ())}
        ctx.params["family"] = {name: value for name, value in given.items() if value is not None}
        return super().invoke(ctx)


def named_options(words: Sequence[str]) -> Mapping[str, Option]:
    """The options, by name, of the zoo model named among `words`; none where no model is named."""
    names = [word for word in words if not word.startswith("-")]
    if not names:
        return {}
    from edgekit.zoo import model_names, model_spec

    name = next((word for word in names if word in model_names()), None)
    return {option.name: option for option in model_spec(name).options} if name is not None else {}


def family_options(options: Iterable[Option]) -> list[click.Option]:
    """Click options for what a model has of its own."""
    return [
        click.Option(
            [flag(option.name), option.name],
            type=_TYPES[option.kind],
            metavar=f"[{'|'.join(option.choices)}]" if option.choices else None,
            help=help_text(option),
        )
        for option in options
        if option.name not in SHARED
    ]


def flag(name: str) -> str:
    """How an option is written on the command line."""
    return f"--{name.replace('_', '-')}"


def help_text(option: Option) -> str:
    """What an option means, and what it is unless given."""
    default = f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
    begins_with_choice = option.help.partition(":")[0] in option.choices
    text = option.help if begins_with_choice else f"{option.help[0].upper()}{option.help[1:]}"
    return f"{text} (default {default})."


def _told_by_model(param: click.Parameter, options: Mapping[str, Option]) -> click.Parameter:
    """The shared option as this model has it."""
    if not isinstance(param, click.Option) or param.name not in (*SHARED, "rho", "input_shape"):
        return param
    told = copy.copy(param)
    if param.name == "rho":
        told.help = f"Resolution multiplier: the multiple of 32 nearest to {options['resolution'].default} RHO."
    elif param.name not in options:
        told.hidden = True
    elif param.name != "seed":
        told.help = help_text(options[param.name])
    return told

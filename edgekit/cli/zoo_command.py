"""Commands that take MODEL: the zoo model's own options become the command's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from edgekit.cli.options import Number

_FAMILY = "edgekit.family_options"
_TYPES: dict[type, Any] = {int: Number(int), float: Number(float), str: str}


class ZooCommand(click.Command):
    """A command whose options depend on MODEL: `export shufflenet_v1 --groups 8`, and so does its --help.

    The callback gets them, given ones only, as the mapping `family`. Where a model's option is called like one of the
    command's own, the command's own wins.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look for a zoo model among the words, then parse with its options."""
        ctx.meta[_FAMILY] = family_options(args, {word for param in self.params for word in param.opts})
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters and the model's."""
        return [*super().get_params(ctx), *ctx.meta.get(_FAMILY, ())]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the callback with the model's options in one mapping."""
        given = {str(option.name): ctx.params.pop(str(option.name), None) for option in ctx.meta.get(_FAMILY, ())}
        ctx.params["family"] = {name: value for name, value in given.items() if value is not None}
        return super().invoke(ctx)


def family_options(words: Sequence[str], taken: set[str]) -> list[click.Option]:
    """Click options for the zoo model named among `words`, less those `taken`; none where no model is named."""
    names = [word for word in words if not word.startswith("-")]
    if not names:
        return []
    from edgekit.zoo import model_names, model_spec

    name = next((word for word in names if word in model_names()), None)
    options = model_spec(name).options if name is not None else ()
    return [
        click.Option(
            [flag, option.name],
            type=_TYPES[option.kind],
            help=f"{option.help[0].upper()}{option.help[1:]} (default {option.default}).",
        )
        for option in options
        if (flag := f"--{option.name.replace('_', '-')}") not in taken
    ]

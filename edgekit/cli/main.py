"""Entry point: finds the command, runs it, turns user errors into one line and exit code 1."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys

import click

from edgekit import __version__
from edgekit.errors import EdgekitError

COMMANDS = {
    "models": "List the zoo: variants, parameters, MACs, published accuracy.",
    "info": "Show a model's parameters, MACs, bytes and memory, with --layers per layer.",
    "export": "Write TFLite and ONNX files and compare them with the float model.",
    "compress": "Make an .ekz container of a file or a model: weights entropy-coded, bytes restored exactly.",
    "decompress": "Restore the .tflite or .onnx file from an .ekz container.",
    "inspect": "Show what is inside a .tflite, .onnx or .ekz file.",
    "evaluate": "Measure top-1 and top-5 of files on labelled images.",
    "compare": "Run the same images through two files and compare them layer by layer.",
    "bench": "Measure latency on this machine, a board or a phone.",
    "devices": "List boards, phones and accelerators, see what is reachable, and measure what ops cost there.",
}
"""Name -> line in --help. The module edgekit.cli.NAME_command is imported only when its command runs."""


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported on use, so that --help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edgekit.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but an unknown command names its nearest neighbours."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=2)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="edgekit")
def cli() -> None:
    """edgekit puts small convolutional networks on real devices.

    `edgekit export mobilenet_v2 --alpha 0.75 --int8` writes an int8 TFLite and an int8 ONNX file.
    """


def main() -> None:
    """Run the command line; exit code 0 done, 1 a user error in one line, 2 usage, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may not be writable in this terminal's coding
    try:
        status = cli.main(prog_name="edgekit", standalone_mode=False)
        sys.stdout.flush()
    except EdgekitError as error:
        _fail(str(error), 1)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; nothing was written", 130)
    except (BrokenPipeError, SystemExit):
        # The reader of our output went away (`edgekit models | head`): no error of ours. click and rich leave with 1.
        _drop_output()
        sys.exit(0)
    except OSError as error:
        _drop_output()
        where = error.filename or "input or output failed"
        _fail(f"{where}: {error.strerror or error}", 1)
    sys.exit(status if isinstance(status, int) else 0)


def _drop_output() -> None:
    """Let what is left of the output vanish, or the interpreter would complain of it while it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> None:
    click.echo(f"edgekit: error: {' '.join(message.split())}", err=True)
    sys.exit(code)

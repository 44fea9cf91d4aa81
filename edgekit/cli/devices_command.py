"""`edgekit devices`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgekit.cli.options import Number, json_option

if TYPE_CHECKING:
    from edgekit.devices.schema import Profile
    from edgekit.pipeline.calibrate_device import DeviceCalibration

F = TypeVar("F", bound=Callable[..., Any])


def reach_options(function: F) -> F:
    """How a device is reached, instead of what its profile says."""
    decorators = [
        click.option("--host", help="Host name or address, for ssh."),
        click.option("--user", help="Login name, for ssh."),
        click.option("--port", type=Number(int), help="Port, for ssh."),
        click.option("--serial", help="The phone's serial number, for adb."),
        click.option("--python", help="Python interpreter on the device."),
        click.option("--benchmark-model", help="Path of TFLite's benchmark_model on this machine."),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


@click.group(name="devices", invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the device profiles; `show`, `doctor`, `setup` and `calibrate` are about one."""
    if ctx.invoked_subcommand is None:
        _list(as_json)


def _list(as_json: bool) -> None:
    from edgekit.cli.console import out, print_json, print_table
    from edgekit.devices import find_profile, profile_files, user_folder
    from edgekit.devices.calibration import read_calibration

    rows = []
    for name, path in profile_files().items():
        profile = find_profile(name)
        rows.append((profile, path, read_calibration(name)))
    if as_json:
        keys = {"name", "title", "kind", "transport", "emulated", "reach"}
        print_json(
            [
                {**p.model_dump(mode="json", include=keys), "file": str(path), "calibrated": c.made if c else None}
                for p, path, c in rows
            ]
        )
        return
    cells = [(p.name, p.title, p.transport, _address(p), c.made if c else "") for p, _, c in rows]
    columns = ["name", "device", "transport", "address", "calibrated"]
    print_table(columns, cells, text=columns)
    out.print(f"\nyour own profiles: {user_folder()}")


def _address(profile: Profile) -> str:
    return profile.reach.host or profile.reach.serial or ""


@command.command(name="show")
@click.argument("device", metavar="NAME")
@reach_options
@json_option
def show(device: str, as_json: bool, **given: object) -> None:
    """Print the profile NAME (or of a .yaml file), as the environment and options change it, and its coefficients."""
    import yaml

    from edgekit.cli.console import out, print_json
    from edgekit.devices import find_profile
    from edgekit.devices.calibration import read_calibration

    profile = find_profile(device, given)
    calibration = read_calibration(profile.name)
    if as_json:
        told = calibration.model_dump(mode="json") if calibration else None
        print_json({**profile.model_dump(mode="json"), "calibration": told})
        return
    document = profile.model_dump(mode="json", exclude_defaults=True)
    out.print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110).rstrip())
    for cluster in profile.cpu.clusters:
        if cluster.mask:
            out.print(f"# {cluster.core}: mask {cluster.mask:x}")
    if calibration is not None:
        out.print(f"\n# calibrated {calibration.made} with edgekit {calibration.edgekit}")
        told = calibration.coefficients.model_dump(mode="json", exclude_none=True)
        out.print(yaml.safe_dump(told, sort_keys=False).rstrip())


@command.command(name="doctor")
@click.argument("device", metavar="[NAME]", required=False)
@reach_options
@json_option
@click.pass_context
def doctor(ctx: click.Context, /, device: str | None, as_json: bool, **given: object) -> None:
    """Say what of a device (of all, without NAME) is reachable, what is missing, and the line that mends it.

    With NAME, the exit code is 1 where something is missing.
    """
    from edgekit.cli.console import out, print_json, print_table
    from edgekit.devices.examine_all import examine_devices

    found = examine_devices(device, given)
    if as_json:
        print_json([{"devices": names, "findings": [f.to_json() for f in rows]} for names, rows in found])
    else:
        columns = ["", "what", "found", "to mend it"]
        for i, (names, rows) in enumerate(found):
            out.print(("\n" if i else "") + ", ".join(names))
            print_table(columns, [(f"  {f.state}", f.what, f.detail, f.remedy) for f in rows], text=columns)
    if device is not None and any(f.state == "missing" for _, rows in found for f in rows):
        ctx.exit(1)


@command.command(name="setup")
@click.argument("device", metavar="NAME")
@reach_options
@json_option
def setup(device: str, as_json: bool, **given: object) -> None:
    """Install runtimes for .tflite and .onnx files on the board NAME, in a private folder there that `bench` uses."""
    from edgekit.bench.board_setup import setup_board
    from edgekit.cli.console import out, print_json
    from edgekit.devices import find_profile

    installed = setup_board(find_profile(device, given))
    if as_json:
        print_json({"device": device, "installed": installed})
        return
    for line in installed:
        out.print(line)


@command.command(name="calibrate")
@click.argument("device", metavar="[NAME]", default="host")
@click.option("--format", "formats", default="tflite,onnx", show_default=True, help="For which files.")
@click.option("--dry-run", is_flag=True, help="Measure and print, but keep nothing.")
@json_option
def calibrate(device: str, formats: str, dry_run: bool, as_json: bool) -> None:
    """Measure what ops cost on a device (this machine, without NAME), for the choices that fusion makes.

    About five minutes, in which nothing else should run there. `edgekit export --device NAME` uses what was measured.
    """
    from edgekit.cli.console import ConsoleReporter, print_json
    from edgekit.devices import find_profile
    from edgekit.pipeline.calibrate_device import calibrate_device

    names = tuple(word.strip() for word in formats.split(",") if word.strip())
    result = calibrate_device(find_profile(device), names, reporter=ConsoleReporter(), keep=not dry_run)
    if as_json:
        print_json(result.to_json())
        return
    _print_calibration(result)


def _print_calibration(result: DeviceCalibration) -> None:
    from edgekit.cli.console import out, print_table
    from edgekit.passes.target import PRICES, STEPS

    fits = result.fits
    rows = [
        (name, *(_price(getattr(fit.coefficients, name), fit.errors.get(name)) for fit in fits.values()))
        for name in PRICES
    ]
    rows += [(name, *(str(getattr(fit.coefficients, name)) for fit in fits.values())) for name in STEPS]
    print_table(["coefficient, ns", *fits], rows)
    out.print()
    quality = [
        (
            name,
            f"{fit.median_error:.1%}",
            f"{fit.worst_error:.1%}",
            f"{result.median_check(name):.1%}",
            f"{result.worst_check(name):.1%}",
        )
        for name, fit in fits.items()
    ]
    print_table(["predicted against measured", "fitted: median", "worst", "whole layers: median", "worst"], quality)
    rows = [
        (label, *(f"{result.checks[name][i].error:.0%}" for name in fits)) for i, label in enumerate(result.check_names)
    ]
    out.print()
    print_table(["whole layer, off by", *fits], rows)
    if result.path is not None:
        out.print(f"\nkept in {result.path}")


def _price(value: float, error: float | None) -> str:
    return "0" if error is None else f"{value:.3g} ± {error:.0%}"

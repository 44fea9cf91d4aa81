"""Installs runtimes on a board, in a private folder that nothing else uses."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from edgekit.bench.board import PRIVATE_FOLDER, SYSTEM_PYTHON, remote_path
from edgekit.bench.connect import connection
from edgekit.bench.process import clean
from edgekit.devices import Profile
from edgekit.errors import DeviceError

RUNTIMES = (("ai-edge-litert", "tflite-runtime"), ("onnxruntime",))
"""For each file format the packages that run it, the first that can be installed is taken."""

_PATIENCE_S = 1200.0


def setup_board(profile: Profile, *, base_python: str = SYSTEM_PYTHON, pip_options: Sequence[str] = ()) -> list[str]:
    """Make a virtual environment on the profile's board and install a runtime for each file format there.

    base_python: of which the environment is made. pip_options: for its `pip install`, such as a mirror's --index-url.
    Returns what is installed, one line a package. Raises DeviceError where the board cannot be reached or has no venv
    module, or where no runtime at all can be installed.
    """
    folder = remote_path(PRIVATE_FOLDER)
    pip = f"{folder}/bin/python -m pip"
    options = " ".join(map(quote, pip_options))
    install = f"{pip} install --quiet --disable-pip-version-check --only-binary=:all: {options}"
    with connection(profile) as ssh:
        code, told = ssh.attempt(f"{remote_path(base_python)} -m venv {folder}", timeout_s=_PATIENCE_S)
        if code:
            raise DeviceError(
                f"{profile.name}: no virtual environment can be made there ({clean(told)}): "
                "`sudo apt install python3-venv` on the board, then again"
            )
        refusals = []
        for packages in RUNTIMES:
            for package in packages:
                code, told = ssh.attempt(f"{install} numpy {package}", timeout_s=_PATIENCE_S)
                if code == 0:
                    break
                refusals.append(f"{package}: {clean(told.strip().splitlines()[-1] if told.strip() else 'no message')}")
        names = [name for packages in RUNTIMES for name in packages]
        found = ssh.run(f"{pip} list --disable-pip-version-check --format=freeze", timeout_s=_PATIENCE_S)
    lines = [
        clean(line).replace("==", " ") for line in found.splitlines() if line.partition("==")[0] in ("numpy", *names)
    ]
    if not any(line.split()[0] in names for line in lines):
        raise DeviceError(f"{profile.name}: no runtime can be installed there ({'; '.join(refusals)})")
    return lines

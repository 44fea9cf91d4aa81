"""Android's own `adb` client: the one program that reaches every phone, over USB and the network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.bench.process import Finished, Guarded, TimedOutError, clean, run_program
from edgekit.errors import DeviceError

_INSTALL = "install Android's platform-tools (Debian: apt-get install adb) and put adb on the PATH"
_COPY_TIMEOUT_S = 300.0
_NETWORK_SERIAL = re.compile(r"[A-Za-z0-9._\[\]:-]{1,200}:[0-9]{1,5}")

_STATES = {
    "unauthorized": "is not authorized: unlock it and allow this computer's debugging key",
    "authorizing": "is not authorized yet: unlock it and allow this computer's debugging key",
    "offline": "is offline: replug its cable, or `adb reconnect offline`",
    "no permissions": "may not be opened by this user: install the udev rules for Android devices, and replug it",
    "recovery": "is in recovery mode: start Android",
    "bootloader": "is in its boot loader: start Android",
    "sideload": "is in sideload mode: start Android",
}
_SAID = (
    ("unauthorized", _STATES["unauthorized"]),
    ("device offline", _STATES["offline"]),
    ("no devices/emulators found", "is no longer connected: check its cable"),
    ("' not found", "is no longer connected: check its cable"),
    ("No space left on device", "has no room left: delete files there"),
    ("Read-only file system", "does not let adb write there: choose another folder in its profile"),
    ("Permission denied", "denies access: choose another folder in its profile"),
    ("closed", "closed the connection: check its cable"),
    ("protocol fault", "closed the connection: check its cable"),
)


@dataclass(frozen=True, slots=True)
class Attached:
    """A line of `adb devices`."""

    serial: str
    state: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Exit code and output of a command in the device's shell."""

    code: int
    text: str


def attached_devices(timeout_s: float = 30.0) -> list[Attached]:
    """Every device that adb sees, in whichever state. Raises DeviceError without adb."""
    _adb(["start-server"], timeout_s)
    told = _adb(["devices"], timeout_s)
    if told.code:
        raise DeviceError(f"adb devices failed: {clean(told.err or told.out)}")
    rows = [line.split("\t", 1) for line in told.out.splitlines() if "\t" in line]
    return [Attached(serial, state.strip()) for serial, state in rows]


def choose_device(serial: str | None, timeout_s: float = 30.0) -> str:
    """The serial of the device to use: the named one, or the only one; host:port is connected to first.

    Raises DeviceError where there is none or more than one, and for one that cannot be used as it is.
    """
    found = {device.serial: device.state for device in attached_devices(timeout_s)}
    if serial is not None and serial not in found and _NETWORK_SERIAL.fullmatch(serial):
        told = _adb(["connect", serial], timeout_s)
        found = {device.serial: device.state for device in attached_devices(timeout_s)}
        if serial not in found:  # adb connect ends with 0 all the same
            raise DeviceError(
                f"cannot connect to {serial} ({clean(told.out or told.err)}): is its wireless debugging on, "
                "and is it in the same network?"
            )
    if not found:
        raise DeviceError("no Android device is connected: plug one in and allow USB debugging in its settings")
    names = ", ".join(sorted(found))
    if serial is None and len(found) > 1:
        raise DeviceError(f"{len(found)} devices are connected ({clean(names)}): choose with --serial")
    if serial is not None and serial not in found:
        raise DeviceError(f"no device with serial {serial!r} is connected; there is {clean(names)}")
    chosen = serial if serial is not None else next(iter(found))
    if found[chosen] != "device":
        state = found[chosen].split(" (", 1)[0].split(";", 1)[0]
        raise DeviceError(
            f"device {clean(chosen)} {_STATES.get(state, f'cannot be used: its state is {clean(state)}')}"
        )
    return chosen


class Adb:
    """One device's shell and files. All methods raise DeviceError that names the device and the remedy."""

    def __init__(self, serial: str, timeout_s: float = 60.0) -> None:
        self.serial = serial
        self.timeout_s = timeout_s

    def shell(self, command: str, timeout_s: float | None = None) -> Answer:
        """Run a command there; words that are not ours must be quoted already.

        A command that fails is no error here. Raises TimedOutError where it takes long; it may still run there then.
        """
        guarded = Guarded(command)
        told = self._run(["shell", guarded.line], timeout_s)
        answer = guarded.read(told.out)
        if answer is None:
            raise self._failed(told, "broke off the connection: check its cable, and start again")
        code, text = answer
        return Answer(code, text + told.err)

    def push(self, local: Path, remote: str) -> None:
        """Copy a file there."""
        self._copy(["push", str(local.absolute()), remote])

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file here."""
        self._copy(["pull", remote, str(local.absolute())])

    def _copy(self, arguments: Sequence[str]) -> None:
        told = self._run(arguments, _COPY_TIMEOUT_S)
        if told.code or "error:" in told.out + told.err:
            raise self._failed(told, "broke off the connection: check its cable, and start again")

    def _run(self, arguments: Sequence[str], timeout_s: float | None) -> Finished:
        timeout_s = timeout_s or self.timeout_s
        try:
            return _adb(["-s", self.serial, *arguments], timeout_s)
        except TimedOutError:
            raise TimedOutError(
                f"device {clean(self.serial)} gave no answer within {timeout_s:g} s: is it awake, and its cable sound?"
            ) from None

    def _failed(self, told: Finished, otherwise: str) -> DeviceError:
        text = clean(f"{told.err} {told.out}")
        for words, meaning in _SAID:
            if words in text:
                return DeviceError(f"device {clean(self.serial)} {meaning} (adb: {text})")
        detail = f" (adb: {text})" if text else ""
        return DeviceError(f"device {clean(self.serial)} {otherwise}{detail}")


def _adb(arguments: Sequence[str], timeout_s: float) -> Finished:
    return run_program(["adb", *arguments], timeout_s=timeout_s, remedy=_INSTALL)

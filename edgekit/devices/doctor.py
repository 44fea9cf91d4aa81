"""What of a device is there and what is missing, with the line that mends it. Nothing here waits for long."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edgekit.devices.calibration import calibration_file, read_calibration
from edgekit.devices.schema import Profile
from edgekit.errors import DeviceError, RuntimeUnavailableError

State = Literal["ok", "missing", "note"]
SECONDS = 5.0
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. state: a `note` is worth knowing and stops nothing. remedy: what mends it."""

    what: str
    state: State
    detail: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


def examine(profile: Profile) -> list[Finding]:
    """Everything that running models on the device needs, in the order in which one would mend it."""
    checks: dict[str, Callable[[Profile], Iterator[Finding]]] = {
        "host": _host,
        "ssh": _ssh,
        "adb": _adb,
        "vela": _vela,
        "none": _rules_only,
    }
    return [*checks[profile.transport](profile), *_calibration(profile)]


# -- host --------------------------------------------------------------------------------------------------------------


def _host(profile: Profile) -> Iterator[Finding]:
    yield _onnxruntime()
    yield _tflite()
    yield _pinning()
    yield from _governor()
    yield from _load()


def _onnxruntime() -> Finding:
    try:
        import onnxruntime
    except ImportError as error:
        return Finding("onnxruntime", "missing", str(error), "pip install onnxruntime")
    return Finding("onnxruntime", "ok", str(onnxruntime.__version__))


def _tflite() -> Finding:
    from edgekit.runtime.tflite_backend import load_interpreter_module, pick_runtime

    try:
        runtime = pick_runtime()
        load_interpreter_module(runtime)
    except RuntimeUnavailableError as error:
        return Finding("TFLite runtime", "missing", str(error), "pip install ai-edge-litert")
    return Finding("TFLite runtime", "ok", runtime)


def _pinning() -> Finding:
    if not hasattr(os, "sched_setaffinity"):
        return Finding(
            "pinning", "note", "this system cannot keep a measurement on one CPU", "measure for longer: --full"
        )
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) == 1:
        return Finding(
            "pinning", "note", "one CPU only, which everything else shares", "measure when nothing else runs"
        )
    return Finding("pinning", "ok", f"CPUs {', '.join(map(str, cpus))}")


def _governor() -> Iterator[Finding]:
    try:
        name = _GOVERNOR.read_text(encoding="utf-8").strip()
    except OSError:
        return  # virtual machines have none
    if name != "performance":
        yield Finding(
            "governor", "note", f"{name}: clocks follow the load", "sudo cpupower frequency-set -g performance"
        )
    else:
        yield Finding("governor", "ok", name)


def _load() -> Iterator[Finding]:
    if hasattr(os, "getloadavg"):
        load, cpus = os.getloadavg()[0], os.cpu_count() or 1
        text = f"{load:.1f} of {cpus} CPUs busy in the last minute"
        if load > cpus / 2:
            yield Finding("load", "note", text, "wait until nothing else runs")
        else:
            yield Finding("load", "ok", text)


# -- ssh ---------------------------------------------------------------------------------------------------------------


def _ssh(profile: Profile) -> Iterator[Finding]:
    variable = f"EDGEKIT_{profile.name.upper()}_HOST"
    client = shutil.which("ssh")
    if client is None:
        yield Finding("ssh", "missing", "no ssh in the PATH", "sudo apt-get install openssh-client")
    else:
        yield Finding("ssh", "ok", client)
    if profile.reach.host is None:
        yield Finding("address", "missing", "no host name", f"export {variable}=ADDRESS, or give --host ADDRESS")
        return
    host, port, is_direct = _ssh_address(profile, client)
    if not is_direct:
        yield Finding(
            "address", "note", f"{host}, through another machine by ssh's configuration", f"try: ssh {host} true"
        )
        return
    problem = _answers(host, port)
    if problem:
        yield Finding(
            "address", "missing", problem, f"switch it on, or export {variable}=ADDRESS, or give --host ADDRESS"
        )
        return
    yield Finding("address", "ok", f"{host} answers on port {port}")
    if client is not None:
        yield _login(profile, client)


def _ssh_address(profile: Profile, client: str | None) -> tuple[str, int, bool]:
    """Host and port as ssh's own configuration has them, and whether ssh connects to them itself."""
    reach = profile.reach
    settings = {"hostname": reach.host or "", "port": str(reach.port or 22)}
    if client is not None:
        done = run_tool([client, "-G", *ssh_options(profile), "--", reach.host or ""])
        if done.code == 0:
            settings |= dict(line.split(" ", 1) for line in done.out.splitlines() if " " in line)
    is_direct = all(settings.get(key, "none") == "none" for key in ("proxyjump", "proxycommand"))
    return settings["hostname"], int(settings["port"]), is_direct


def ssh_options(profile: Profile) -> list[str]:
    """Options for the ssh client that the profile asks for."""
    reach = profile.reach
    user = ["-l", reach.user] if reach.user else []
    return [*user, *(["-p", str(reach.port)] if reach.port else [])]


def _answers(host: str, port: int) -> str:
    """Why nobody answers there; empty where somebody does."""
    pool = ThreadPoolExecutor(1)  # resolving a name has no time limit of its own
    try:
        pool.submit(_connect, host, port).result(timeout=2 * SECONDS)
    except socket.gaierror:
        return f"{host} is no known name"
    except (TimeoutError, FutureTimeoutError):
        return f"{host} does not answer on port {port} within {SECONDS:g} s"
    except OSError as error:
        return f"{host}, port {port}: {error.strerror or error}"
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return ""


def _connect(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=SECONDS).close()


def _login(profile: Profile, client: str) -> Finding:
    options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={SECONDS:.0f}", *ssh_options(profile)]
    host = profile.reach.host or ""
    done = run_tool([client, *options, "--", host, "echo edgekit-is-in"])
    if "edgekit-is-in" in done.out:
        return Finding("login", "ok", "a command ran there")
    target = f"{profile.reach.user}@{host}" if profile.reach.user else host
    port = f"-p {profile.reach.port} " if profile.reach.port else ""
    told = (done.err.strip().splitlines() or ["no answer"])[-1]
    mend = f"ssh-copy-id {port}{target}" if "Permission denied" in told else f"log in once by hand: ssh {port}{target}"
    return Finding("login", "missing", told, mend)


# -- adb ---------------------------------------------------------------------------------------------------------------

_ADB_STATES = {
    "unauthorized": "allow this computer's key on the phone's screen",
    "offline": "unplug it, plug it in again, and see that USB debugging is on",
    "no permissions": "sudo apt-get install android-sdk-platform-tools-common, and plug it in again",
}


def _adb(profile: Profile) -> Iterator[Finding]:
    client = shutil.which("adb")
    if client is None:
        yield Finding("adb", "missing", "no adb in the PATH", "sudo apt-get install adb")
    else:
        yield Finding("adb", "ok", client)
        yield _phone(profile, client)
    yield _benchmark_model(profile)


def _phone(profile: Profile, client: str) -> Finding:
    done = run_tool([client, "devices"], seconds=2 * SECONDS)
    if done.code != 0:
        told = (done.err.strip().splitlines() or ["no answer"])[-1]
        return Finding("phone", "missing", told, "adb kill-server; adb start-server")
    rows = [
        line.split(None, 1) for line in done.out.splitlines() if line.strip() and not line.startswith(("List of", "*"))
    ]
    states = {row[0]: row[1].strip() for row in rows if len(row) == 2}
    wanted = profile.reach.serial or os.environ.get("ANDROID_SERIAL") or None
    variable = f"EDGEKIT_{profile.name.upper()}_SERIAL"
    if wanted is None and len(states) > 1:
        return Finding(
            "phone", "missing", f"several: {', '.join(states)}", f"export {variable}=SERIAL, or give --serial"
        )
    if not states or (wanted is not None and wanted not in states):
        told = f"{wanted} is not among {', '.join(states) or 'none'}" if wanted else "adb sees none"
        return Finding("phone", "missing", told, "plug it in and switch on USB debugging, or adb connect ADDRESS")
    serial = wanted or next(iter(states))
    state = states[serial]
    if state != "device":
        mend = next((line for known, line in _ADB_STATES.items() if state.startswith(known)), "adb reconnect")
        return Finding("phone", "missing", f"{serial} is {state}", mend)
    return Finding("phone", "ok", serial)


def _benchmark_model(profile: Profile) -> Finding:
    variable = f"EDGEKIT_{profile.name.upper()}_BENCHMARK_MODEL"
    path = profile.programs.benchmark_model
    if path is None:
        return Finding("benchmark_model", "missing", "its path is not given", f"export {variable}=PATH")
    if not Path(path).expanduser().is_file():
        return Finding("benchmark_model", "missing", f"no file {path}", f"export {variable}=PATH")
    return Finding("benchmark_model", "ok", path)


# -- the others --------------------------------------------------------------------------------------------------------


def _vela(profile: Profile) -> Iterator[Finding]:
    if importlib.util.find_spec("ethosu") is not None or shutil.which("vela") is not None:
        yield Finding("vela", "ok", "installed")
    else:
        yield Finding("vela", "missing", "ethos-u-vela is not installed", "pip install 'edgekit[npu]'")


def _rules_only(profile: Profile) -> Iterator[Finding]:
    rules = profile.accelerator.rules if profile.accelerator else "none"
    yield Finding("rules", "ok", f"{rules}: a set of rules, nothing to reach")


def _calibration(profile: Profile) -> Iterator[Finding]:
    if profile.transport not in ("host", "ssh", "adb"):
        return
    try:
        found = read_calibration(profile.name)
    except DeviceError as error:
        yield Finding("coefficients", "missing", str(error), f"remove {calibration_file(profile.name)}")
        return
    if found is not None:
        yield Finding("coefficients", "ok", f"measured {found.made}")
    elif profile.transport == "host":
        yield Finding("coefficients", "note", "the default ones", f"edgekit devices calibrate {profile.name}")


# -- commands ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ran:
    """What a tool said; code is None where it took too long or could not be started."""

    code: int | None
    out: str
    err: str


def run_tool(command: Sequence[str], seconds: float = SECONDS + 2) -> Ran:
    """Run a tool that must not ask or hang: no input, and its end after `seconds`."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ran(None, "", f"no answer within {seconds:g} s")
    except OSError as error:
        return Ran(None, "", error.strerror or str(error))
    return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

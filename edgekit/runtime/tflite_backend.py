"""TFLite files in ai-edge-litert or in the older tflite-runtime, which share one Python interface."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Literal

import numpy as np

from edgekit.errors import ImportFileError, RuntimeUnavailableError
from edgekit.runtime.backend import Source, label_of, reason, require_valid_quantization, tensors_not_kept
from edgekit.runtime.io_spec import Array, IoSpec, Layout, TensorValue, guess_layout
from edgekit.runtime.quiet import quiet_native_stderr

TfliteRuntime = Literal["litert", "tflite-runtime"]
Delegate = Literal["xnnpack", "builtin"]

DELEGATE_OP = "DELEGATE"
"""What the interpreter calls a node that stands for a partition taken by a delegate."""

_PACKAGES = {
    "litert": ("ai_edge_litert.interpreter", "ai-edge-litert", "pip install ai-edge-litert"),
    "tflite-runtime": ("tflite_runtime.interpreter", "tflite-runtime", "pip install 'edgekit[tflite-runtime]'"),
}
_BUILT_FOR_NUMPY_1 = ("2.11.0", "2.12.0", "2.13.0", "2.14.0")
_UNKNOWN_OP_MARKS = ("builtin opcode", "custom op", "Registration failed")


def load_interpreter_module(runtime: TfliteRuntime) -> ModuleType:
    """The runtime's interpreter module. Raises RuntimeUnavailableError where it is missing or cannot be loaded."""
    module, package, remedy = _PACKAGES[runtime]
    if runtime == "tflite-runtime":
        _require_fitting_numpy(package)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(f"{package} is not installed: {remedy}") from error
    except ImportError as error:
        raise RuntimeUnavailableError(f"{package} cannot be loaded ({reason(error)}): {remedy}") from error


def _require_fitting_numpy(package: str) -> None:
    """Refuse the wheels built against numpy 1 where numpy 2 is installed: they do not raise, they crash the process."""
    version = _version(package)
    if version in _BUILT_FOR_NUMPY_1 and not np.__version__.startswith("1."):
        raise RuntimeUnavailableError(
            f"{package} {version} crashes with numpy {np.__version__}: pip install 'numpy<2', or use ai-edge-litert"
        )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # a vendor's build may come without metadata
        return "of unknown version"


def pick_runtime() -> TfliteRuntime:
    """ai-edge-litert where it is installed, else tflite-runtime. Raises RuntimeUnavailableError where neither is."""
    for runtime in ("litert", "tflite-runtime"):
        if importlib.util.find_spec(_PACKAGES[runtime][0].split(".")[0]) is not None:
            return runtime
    raise RuntimeUnavailableError("no runtime for TFLite files is installed: pip install ai-edge-litert")


def open_interpreter(
    source: Source, *, runtime: TfliteRuntime, threads: int = 1, delegate: Delegate = "xnnpack", preserve: bool = False
) -> Any:
    """The runtime's own interpreter with its tensors allocated; `preserve` keeps intermediates and implies `builtin`.

    Raises ImportFileError for a damaged file, RuntimeUnavailableError for a missing runtime or an op it lacks.
    """
    module = load_interpreter_module(runtime)
    resolvers = module.OpResolverType
    plain = preserve or delegate == "builtin"
    options: dict[str, Any] = {
        "num_threads": threads,
        "experimental_op_resolver_type": resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else resolvers.AUTO,
        "experimental_preserve_all_tensors": preserve,
    }
    where = {"model_content": source} if isinstance(source, bytes) else {"model_path": str(source)}
    try:
        with quiet_native_stderr():
            interpreter = module.Interpreter(**where, **options)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise _opening_error(error, label_of(source), runtime) from error
    return interpreter


def _opening_error(error: Exception, label: str, runtime: str) -> ImportFileError | RuntimeUnavailableError:
    if isinstance(error, RuntimeError) or any(mark in str(error) for mark in _UNKNOWN_OP_MARKS):
        return RuntimeUnavailableError(
            f"{runtime} refuses {label}: {reason(error)}; a newer runtime or another export may help"
        )
    return ImportFileError(f"{label} is not a whole TFLite file ({reason(error)}): export or copy it again")


class TfliteBackend:
    """A TFLite file in an interpreter."""

    def __init__(
        self, source: Source, *, runtime: TfliteRuntime, threads: int, delegate: Delegate, preserve: bool
    ) -> None:
        self._label, self._preserves = label_of(source), preserve
        self._interpreter = open_interpreter(
            source, runtime=runtime, threads=threads, delegate=delegate, preserve=preserve
        )
        self.runtime = f"{runtime} {_version(_PACKAGES[runtime][1])}"
        self._input_index = {d["name"]: d["index"] for d in self._interpreter.get_input_details()}
        self._output_index = {d["name"]: d["index"] for d in self._interpreter.get_output_details()}
        self.inputs = tuple(self._spec(d, None) for d in self._interpreter.get_input_details())
        layout = next((i.layout for i in self.inputs if i.layout), None)
        self.outputs = tuple(self._spec(d, layout) for d in self._interpreter.get_output_details())
        require_valid_quantization(self.inputs + self.outputs, self._label)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Set the inputs, invoke, and copy the outputs."""
        self.bind(feeds)()
        return {name: self._interpreter.get_tensor(index) for name, index in self._output_index.items()}

    def bind(self, feeds: Mapping[str, Array]) -> Callable[[], None]:
        """Set the inputs; the interpreter keeps them over any number of invocations."""
        for name, value in feeds.items():
            self._interpreter.set_tensor(self._input_index[name], value)
        return self._invoke

    def tensors(self) -> dict[str, TensorValue]:
        """Inputs, then the main subgraph's results in order. Raises RuntimeUnavailableError if they were not kept."""
        if not self._preserves:
            raise tensors_not_kept(self._label)
        order = list(self._input_index.values())
        for node in self._interpreter._get_ops_details():
            order += [int(index) for index in node["outputs"] if index >= 0]
        details = {d["index"]: d for d in self._interpreter.get_tensor_details()}
        return {
            details[index]["name"]: TensorValue(self._interpreter.get_tensor(index), *_quantization(details[index]))
            for index in order
        }

    def _invoke(self) -> None:
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise RuntimeUnavailableError(f"{self.runtime} cannot run {self._label}: {reason(error)}") from error

    def _spec(self, details: dict[str, Any], layout: Layout | None) -> IoSpec:
        shape = tuple(int(size) for size in details["shape"])
        signature = [int(size) for size in details.get("shape_signature", details["shape"])]
        if details["name"] in self._input_index and -1 in signature[1:]:
            raise ImportFileError(
                f"{self._label}: input {details['name']!r} has the open shape {signature}: export it with a fixed size"
            )
        layout = guess_layout(shape, "NHWC") if layout is None or len(shape) != 4 else layout
        return IoSpec(details["name"], shape, np.dtype(details["dtype"]), *_quantization(details), layout)


def _quantization(details: dict[str, Any]) -> tuple[float | None, int | None]:
    """Per-tensor scale and zero point; None for both where a tensor has none."""
    parameters = details["quantization_parameters"]
    if len(parameters["scales"]) != 1:
        return None, None
    return float(parameters["scales"][0]), int(parameters["zero_points"][0])

"""ONNX files in onnxruntime."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError, RuntimeUnavailableError
from edgekit.runtime.backend import Source, reason, require_valid_quantization, tensors_not_kept
from edgekit.runtime.io_spec import Array, IoSpec, Layout, TensorValue, guess_layout
from edgekit.runtime.quiet import quiet_native_stderr

LAYOUT_KEY = "edgekit.layout"
SCALE_KEY = "edgekit.scale."
ZERO_POINT_KEY = "edgekit.zero_point."
"""Model metadata that tells what an ONNX graph has no field for; the last two end in the tensor's name."""

_DTYPES = {"float": "float32", "double": "float64", "float16": "float16", "bool": "bool"}
_DTYPES |= {f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_ERROR_SEVERITY = 3


def load_onnxruntime() -> Any:
    """The onnxruntime module. Raises RuntimeUnavailableError where it is missing or cannot be loaded."""
    try:
        with quiet_native_stderr():
            return importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError("onnxruntime is not installed: pip install onnxruntime") from error
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"onnxruntime cannot be loaded ({reason(error)}): pip install --force-reinstall onnxruntime"
        ) from error


def runtime_errors(ort: Any) -> tuple[type[Exception], ...]:
    """onnxruntime's exception classes: they share no base of their own."""
    members = vars(ort.capi.onnxruntime_pybind11_state).values()
    own = tuple(m for m in members if isinstance(m, type) and issubclass(m, Exception))
    return (*own, RuntimeError, ValueError)


def open_onnxruntime_session(source: Source, *, label: str, threads: int, allow_spinning: bool | None) -> Any:
    """The runtime's own session on the CPU: all graph optimizations, `threads` within an op, one op at a time.

    Raises ImportFileError for a damaged file, RuntimeUnavailableError for a missing runtime or an op it lacks.
    """
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = _ERROR_SEVERITY
    if allow_spinning is not None:
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if allow_spinning else "0")
    model = source if isinstance(source, bytes) else str(source)
    try:
        with quiet_native_stderr():
            return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except runtime_errors(ort) as error:
        raise _opening_error(error, label, ort.__version__) from error


def _opening_error(error: Exception, label: str, version: str) -> ImportFileError | RuntimeUnavailableError:
    if "INVALID_PROTOBUF" in str(error) or "No graph was found" in str(error):
        return ImportFileError(f"{label} is not a whole ONNX file ({reason(error)}): export or copy it again")
    return RuntimeUnavailableError(f"onnxruntime {version} refuses {label}: {reason(error)}")


class OnnxBackend:
    """An ONNX file in an onnxruntime session; with `traced`, the tensors of those names are kept after each run.

    input_shape: of the only input, where the file leaves it open.
    """

    def __init__(
        self,
        source: Source,
        *,
        label: str,
        threads: int,
        allow_spinning: bool | None = None,
        traced: tuple[str, ...] | None = None,
        input_shape: tuple[int, ...] | None = None,
    ) -> None:
        self._ort = load_onnxruntime()
        self._session = open_onnxruntime_session(source, label=label, threads=threads, allow_spinning=allow_spinning)
        self._label = label
        self._metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        self._traced, self._input_shape = traced, input_shape
        self._kept: dict[str, TensorValue] = {}
        self.runtime = f"onnxruntime {self._ort.__version__}"
        self.inputs = tuple(self._spec(node, None, is_input=True) for node in self._session.get_inputs())
        layout = next((i.layout for i in self.inputs if i.layout), None)
        declared = [node for node in self._session.get_outputs() if node.name not in (traced or ())]
        self.outputs = tuple(self._spec(node, layout, is_input=False) for node in declared)
        require_valid_quantization(self.inputs + self.outputs, label)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; the values of traced tensors are kept for `tensors`."""
        names = [spec.name for spec in self.outputs]
        wanted = [*(self._traced or ()), *names]
        values = self._guarded(lambda: self._session.run(wanted, dict(feeds)))
        results = dict(zip(wanted, values, strict=True))
        if self._traced is not None:
            self._keep(feeds, results)
        return {name: results[name] for name in names}

    def bind(self, feeds: Mapping[str, Array]) -> Callable[[], None]:
        """Set the inputs and let the runtime allocate the outputs; nothing is copied in a call of the result."""
        binding = self._session.io_binding()
        for name, value in feeds.items():
            binding.bind_cpu_input(name, value)
        for spec in self.outputs:
            binding.bind_output(spec.name)
        return lambda: self._guarded(lambda: self._session.run_with_iobinding(binding))

    def buffered(self, sets: int = 1) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """A function from feeds to outputs whose arrays are overwritten `sets` calls later.

        For runs that look at many large tensors: fresh memory for each of them would cost more than the network.
        """
        ring = itertools.cycle([self._bound_outputs() for _ in range(sets)])

        def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
            binding, buffers = next(ring)
            for name, value in feeds.items():
                binding.bind_cpu_input(name, value)
            self._guarded(lambda: self._session.run_with_iobinding(binding))
            return buffers

        return run

    def _bound_outputs(self) -> tuple[Any, dict[str, Array]]:
        """A binding that writes all outputs into the arrays beside it."""
        binding = self._session.io_binding()
        buffers = {spec.name: np.empty(spec.shape, spec.dtype) for spec in self.outputs}
        for name, buffer in buffers.items():
            binding.bind_output(name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data)
        return binding, buffers

    def tensors(self) -> dict[str, TensorValue]:
        """Inputs, traced tensors and outputs of the last run. Raises RuntimeUnavailableError if none were traced."""
        if self._traced is None:
            raise tensors_not_kept(self._label)
        return dict(self._kept)

    def _keep(self, feeds: Mapping[str, Array], results: Mapping[str, Any]) -> None:
        scales = {spec.name: (spec.scale, spec.zero_point) for spec in self.inputs + self.outputs}
        arrays = {**feeds, **{name: value for name, value in results.items() if isinstance(value, np.ndarray)}}
        self._kept = {name: TensorValue(value, *scales.get(name, (None, None))) for name, value in arrays.items()}

    def _guarded(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except runtime_errors(self._ort) as error:
            raise RuntimeUnavailableError(f"{self.runtime} cannot run {self._label}: {reason(error)}") from error

    def _spec(self, node: Any, layout: Layout | None, *, is_input: bool) -> IoSpec:
        told = self._input_shape if is_input else None
        shape = told or tuple(
            _size(size, axis, node, self._label, is_input=is_input) for axis, size in enumerate(node.shape or [])
        )
        kind = str(node.type).removeprefix("tensor(").removesuffix(")")
        if kind not in _DTYPES:
            raise ImportFileError(f"{self._label}: {node.name!r} is a {node.type}: only tensors of numbers can be fed")
        layout = self._layout(shape) if layout is None or len(shape) != 4 else layout
        return IoSpec(node.name, shape, np.dtype(_DTYPES[kind]), *self._quantization(node.name), layout)

    def _layout(self, shape: tuple[int, ...]) -> Layout | None:
        told = self._metadata.get(LAYOUT_KEY)
        if told == "NCHW" or told == "NHWC":
            return told if len(shape) == 4 else None
        return guess_layout(shape, "NCHW")

    def _quantization(self, name: str) -> tuple[float | None, int | None]:
        scale, zero_point = self._metadata.get(SCALE_KEY + name), self._metadata.get(ZERO_POINT_KEY + name)
        if scale is None:
            return None, None
        try:
            return float(scale), int(zero_point or 0)
        except ValueError as error:
            raise ImportFileError(
                f"{self._label}: the metadata of {name!r} hold no scale and zero point ({scale!r}, {zero_point!r})"
            ) from error


def _size(size: int | str | None, axis: int, node: Any, label: str, *, is_input: bool) -> int:
    """A dimension as a number: an open batch is 1, another open size of an output -1."""
    if isinstance(size, int) and size > 0:
        return size
    if axis == 0:
        return 1
    if not is_input:
        return -1
    raise ImportFileError(f"{label}: input {node.name!r} has the open shape {node.shape}: export it with a fixed size")

"""One class over onnxruntime, ai-edge-litert and tflite-runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError, ImportFileError, RuntimeUnavailableError
from edgekit.runtime.backend import Backend, Source, label_of
from edgekit.runtime.io_spec import Array, IoSpec, TensorValue, dequantize, encode_input, to_nhwc
from edgekit.runtime.tflite_backend import Delegate, TfliteBackend, pick_runtime

Runtime = Literal["auto", "onnxruntime", "litert", "tflite-runtime"]
Format = Literal["onnx", "tflite"]

_TFLITE_MARK = b"TFL3"


class Session:
    """A model file that is ready to run. A context manager; leaving it frees the runtime's memory.

    >>> with Session.open("net.tflite") as session:
    ...     logits = session.run_float(image)  # image: float32 (1, height, width, 3)
    """

    def __init__(self, backend: Backend, label: str) -> None:
        self._open_backend: Backend | None = backend
        self.label = label

    @classmethod
    def open(
        cls,
        source: str | PathLike[str] | bytes,
        *,
        runtime: Runtime = "auto",
        threads: int = 1,
        delegate: Delegate = "xnnpack",
        preserve_all_tensors: bool = False,
        allow_spinning: bool | None = None,
        input_shape: tuple[int, ...] | None = None,
    ) -> Session:
        """Open a .tflite or .onnx file, or its bytes.

        `auto` picks by the file's content. `delegate` is TFLite's; `builtin` leaves the work to TFLite's own kernels,
        and so does `preserve_all_tensors`, which keeps activations for `tensors`. `allow_spinning` sets whether
        onnxruntime's threads wait by spinning (None: its default). `input_shape` is that of an ONNX file's only input,
        in the file's layout, where the file leaves it open.

        Raises ImportFileError for a file that is missing or damaged, or whose input size is open;
        RuntimeUnavailableError for a runtime that is missing or lacks one of the file's ops.
        """
        if threads < 1:
            raise RuntimeUnavailableError(f"{threads} threads cannot run anything: give at least 1")
        model = source if isinstance(source, bytes) else Path(source)
        label = label_of(model)
        chosen = _resolve(model, label, runtime)
        if chosen == "onnxruntime":
            return cls(_open_onnx(model, label, threads, allow_spinning, preserve_all_tensors, input_shape), label)
        backend = TfliteBackend(
            model, runtime=chosen, threads=threads, delegate=delegate, preserve=preserve_all_tensors
        )
        return cls(backend, label)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the runtime's memory; the session cannot run afterwards."""
        self._open_backend = None

    @property
    def runtime(self) -> str:
        """Name and version of the runtime, such as `onnxruntime 1.20.0`."""
        return self._backend.runtime

    @property
    def inputs(self) -> tuple[IoSpec, ...]:
        """What the file takes, in its own order."""
        return self._backend.inputs

    @property
    def outputs(self) -> tuple[IoSpec, ...]:
        """What the file gives, in its own order."""
        return self._backend.outputs

    def run(self, feeds: Mapping[str, Array] | Array) -> dict[str, Array]:
        """Run raw arrays in the file's own layout and dtype, by name (or one array for a file with one input).

        Returns all outputs by name, raw. Raises DataError where names, shapes or dtypes are not the file's.
        """
        return self._backend.run(self._checked(feeds))

    def run_float(self, x: Array) -> NDArray[np.float32]:
        """One NHWC float sample in, the first output out as float32 (NHWC if 4-D), whatever the file's own types.

        Raises DataError where the sample does not fit.
        """
        return self.to_float(self.run_quantized(x))

    def to_float(self, raw: Array, position: int = 0) -> NDArray[np.float32]:
        """The real values of the output at `position` of what `run_quantized` or `run_raw_outputs` returned."""
        spec = self.outputs[position]
        return dequantize(raw, spec.scale, spec.zero_point)

    def run_outputs(self, x: Array) -> tuple[NDArray[np.float32], ...]:
        """As `run_float`, but all outputs."""
        return tuple(self.to_float(raw, position) for position, raw in enumerate(self.run_raw_outputs(x)))

    def run_quantized(self, x: Array) -> Array:
        """As `run_float`, but the output keeps the file's own numbers: int8 or uint8 steps for a quantized output."""
        return self.run_raw_outputs(x)[0]

    def run_raw_outputs(self, x: Array) -> tuple[Array, ...]:
        """As `run_quantized`, but all outputs."""
        values = self._backend.run(self._encoded(x))
        return tuple(to_nhwc(values[spec.name], spec.layout) for spec in self.outputs)

    def bind(self, feeds: Mapping[str, Array] | Array) -> Callable[[], None]:
        """Set raw inputs once; each call of the result is one inference and copies nothing, for timing."""
        return self._backend.bind(self._checked(feeds))

    def tensors(self) -> dict[str, TensorValue]:
        """The activations of the last run by name, raw, for a session opened with `preserve_all_tensors`.

        Of an ONNX file with QuantizeLinear nodes, these are the dequantized tensors.
        """
        return self._backend.tensors()

    @property
    def _backend(self) -> Backend:
        if self._open_backend is None:
            raise RuntimeUnavailableError(f"{self.label}: the session is closed; open it again")
        return self._open_backend

    def _encoded(self, x: Array) -> dict[str, Array]:
        if len(self.inputs) != 1:
            names = ", ".join(repr(spec.name) for spec in self.inputs)
            raise DataError(
                f"{self.label} takes {len(self.inputs)} inputs ({names}): feed them by name, with Session.run"
            )
        try:
            return {self.inputs[0].name: encode_input(x, self.inputs[0])}
        except DataError as error:
            raise DataError(f"{self.label}: {error}") from error

    def _checked(self, feeds: Mapping[str, Array] | Array) -> dict[str, Array]:
        if not isinstance(feeds, Mapping):
            if len(self.inputs) != 1:
                raise DataError(f"{self.label} takes {len(self.inputs)} inputs: give a dictionary by name")
            feeds = {self.inputs[0].name: feeds}
        expected = {spec.name: spec for spec in self.inputs}
        if set(feeds) != set(expected):
            raise DataError(f"{self.label} takes the inputs {sorted(expected)}, got {sorted(feeds)}")
        for name, value in feeds.items():
            spec = expected[name]
            if value.shape != spec.shape or value.dtype != spec.dtype:
                raise DataError(
                    f"{self.label}: input {name!r} takes {spec.dtype} {list(spec.shape)}, "
                    f"got {value.dtype} {list(value.shape)}"
                )
        return {name: np.ascontiguousarray(value) for name, value in feeds.items()}


def _open_onnx(
    model: Source,
    label: str,
    threads: int,
    allow_spinning: bool | None,
    traced: bool,
    input_shape: tuple[int, ...] | None,
) -> Backend:
    from edgekit.runtime.onnx_backend import OnnxBackend
    from edgekit.runtime.onnx_trace import expose_activations

    names: tuple[str, ...] | None = None
    if traced:
        model, names = expose_activations(model)
    return OnnxBackend(
        model, label=label, threads=threads, allow_spinning=allow_spinning, traced=names, input_shape=input_shape
    )


def _resolve(model: Source, label: str, runtime: Runtime) -> Literal["onnxruntime", "litert", "tflite-runtime"]:
    """The runtime that opens this file. Raises ImportFileError for a file that it cannot be."""
    found = file_format(model)
    if runtime == "auto":
        return "onnxruntime" if found == "onnx" else pick_runtime()
    takes: Format = "onnx" if runtime == "onnxruntime" else "tflite"
    if takes != found:
        raise ImportFileError(f"{runtime} runs {takes} files and {label} is {found}: choose another runtime, or `auto`")
    return runtime


def file_format(source: Source) -> Format:
    """Whether a file is TFLite (by its content) or ONNX (by its name; bytes that are not TFLite are taken for ONNX).

    Raises ImportFileError where it does not exist or can be neither.
    """
    if isinstance(source, bytes):
        return "tflite" if source[4:8] == _TFLITE_MARK else "onnx"
    try:
        with source.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ImportFileError(f"{source} cannot be read: {error.strerror}") from error
    if head[4:8] == _TFLITE_MARK:
        return "tflite"
    if source.suffix == ".tflite":
        raise ImportFileError(f"{source} is not a TFLite file (no TFL3 mark): export or copy it again")
    if source.suffix == ".onnx":
        return "onnx"
    raise ImportFileError(f"{source} is neither a .tflite nor an .onnx file")

"""Runs the pickles of state dicts without unpickling: a machine that can build tensors' descriptions and nothing else.

`pickletools` takes the stream apart; a table says what each opcode does here. No class of Python is ever looked up, so
a pickle that asks for any other than those of `NAMES` is refused, and nothing of it has run.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

MAX_PICKLE_BYTES = 16 * 2**20
MAX_OPS = 500_000
MAX_AXES = 8
REMEDY = "save the tensors alone: torch.save(model.state_dict(), path), or as safetensors"


class PickleError(ValueError):
    """A pickle that is damaged, or asks for more than tensors."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A flat array that lies elsewhere in the file. dtype: numpy's name, or bfloat16; count: its elements."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A view of a storage; offset and strides count elements, and stay inside the storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def extent(self) -> int:
        """Elements from the first to the last that the view touches; 0 for an empty one."""
        if 0 in self.shape:
            return 0
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))


@dataclass(frozen=True, slots=True)
class _StorageType:
    dtype: str


@dataclass(frozen=True, slots=True)
class _Function:
    call: Callable[..., Any]


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorRecord:
    """What `_rebuild_tensor_v2` is given; whether it needs a gradient, and its hooks, do not matter."""
    numbers = (offset, *shape, *strides) if isinstance(shape, tuple) and isinstance(strides, tuple) else (None,)
    if not isinstance(storage, Storage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise PickleError("it describes a tensor by something else than a storage, an offset, a shape and strides")
    if len(shape) != len(strides) or len(shape) > MAX_AXES:
        raise PickleError(f"it describes a tensor with shape {shape[:MAX_AXES]} and {len(strides)} strides")
    record = TensorRecord(storage, offset, shape, strides)
    if record.extent and offset + record.extent > storage.count:
        raise PickleError(f"a tensor of shape {shape} reaches beyond its storage of {storage.count} elements")
    return record


def _parameter(data: Any, *_: Any) -> TensorRecord:
    if not isinstance(data, TensorRecord):
        raise PickleError("it describes a parameter without a tensor")
    return data


def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise PickleError("it builds an OrderedDict in a way that PyTorch does not")
    return {}


DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}

NAMES: dict[str, Any] = {
    "collections.OrderedDict": _Function(_ordered_dict),
    "torch._utils._rebuild_tensor": _Function(_tensor),
    "torch._utils._rebuild_tensor_v2": _Function(_tensor),
    "torch._utils._rebuild_parameter": _Function(_parameter),
    **{f"torch.{name}": _StorageType(dtype) for name, dtype in DTYPES.items()},
}
"""All that a pickle may ask for, and what stands for it here."""


def run_pickle(stream: BytesIO) -> Any:
    """The value of the pickle that begins at the stream's position, which moves behind it.

    Tensors are TensorRecords; dicts, lists, tuples, text and numbers are Python's. Raises PickleError.
    """
    machine = _Machine()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if count >= MAX_OPS:
            raise PickleError(f"its pickle has more than {MAX_OPS} operations; {REMEDY}")
        if opcode.name == "INST":
            raise _not_allowed(_dotted(argument))
        if opcode.name not in HANDLERS:
            raise PickleError(f"its pickle uses {opcode.name}, which no state dict needs; {REMEDY}")
        HANDLERS[opcode.name](machine, argument)
    return machine.pop()


def _dotted(argument: Any) -> str:
    """`os system`, as pickletools gives it, in the usual form."""
    return str(argument).replace(" ", ".", 1)


def _not_allowed(name: str) -> PickleError:
    return PickleError(f"its pickle asks for {name[:80]}, and nothing but tensors is read; {REMEDY}")


@dataclass(slots=True)
class _Machine:
    """marks: how long the stack was at each open mark."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop(self) -> Any:
        """Take the topmost value."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleError("its pickle takes from an empty stack")
        return self.stack.pop()

    def pop_many(self, count: int) -> tuple[Any, ...]:
        """Take the topmost values, the lowest first."""
        return tuple([self.pop() for _ in range(count)][::-1])

    def pop_marked(self) -> list[Any]:
        """Take everything above the last mark, and the mark."""
        if not self.marks:
            raise PickleError("its pickle lacks a mark")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def top(self, kind: type) -> Any:
        """The topmost value, which must be of that kind."""
        value = self.pop()
        if not isinstance(value, kind):
            raise PickleError(f"its pickle treats a {type(value).__name__} as a {kind.__name__}")
        self.stack.append(value)
        return value

    def push(self, value: Any) -> None:
        """Put a value on top."""
        self.stack.append(value)


Handler = Callable[[_Machine, Any], None]


def _remember(m: _Machine, index: int) -> None:
    m.memo[index] = m.top(object)


def _recall(m: _Machine, index: int) -> None:
    if index not in m.memo:
        raise PickleError(f"its pickle recalls value {index}, which it never kept")
    m.push(m.memo[index])


def _set_items(m: _Machine, values: list[Any] | tuple[Any, ...]) -> None:
    target = m.top(dict)
    if len(values) % 2 or not all(isinstance(key, str | int | float) for key in values[::2]):
        raise PickleError("its pickle has a dict whose keys are neither text nor numbers")
    target.update(zip(values[::2], values[1::2], strict=True))


def _append(m: _Machine, values: list[Any] | tuple[Any, ...]) -> None:
    m.top(list).extend(values)


def _look_up(m: _Machine, name: str) -> None:
    if name not in NAMES:
        raise _not_allowed(name)
    m.push(NAMES[name])


def _look_up_stacked(m: _Machine) -> None:
    module, name = m.pop_many(2)
    _look_up(m, f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "a name that is no text")


def _reduce(m: _Machine) -> None:
    function, arguments = m.pop_many(2)
    if not isinstance(function, _Function) or not isinstance(arguments, tuple):
        raise PickleError("its pickle calls something that is no function")
    try:
        m.push(function.call(*arguments))
    except TypeError:
        raise PickleError("its pickle rebuilds a tensor from too few parts") from None


def _build(m: _Machine) -> None:
    """An OrderedDict's own attributes (`_metadata`: versions of layers) are dropped."""
    m.pop()
    m.top(dict)


def _storage(m: _Machine) -> None:
    """`("storage", type, key, device, elements)`, in the old format with the part of another storage that it is."""
    match m.pop():
        case ("storage", _StorageType(dtype), str(key), str(), int(count), *view) if count >= 0 and view in (
            [],
            [None],
        ):
            m.push(Storage(dtype, key, count))
        case _:
            raise PickleError(f"its pickle names a storage in a way that is not known; {REMEDY}")


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda m, a: None),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"), _Machine.push
    ),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _recall),
    "MEMOIZE": lambda m, a: _remember(m, len(m.memo)),
    "NONE": lambda m, a: m.push(None),
    "NEWTRUE": lambda m, a: m.push(True),
    "NEWFALSE": lambda m, a: m.push(False),
    "MARK": lambda m, a: m.marks.append(len(m.stack)),
    "EMPTY_DICT": lambda m, a: m.push({}),
    "EMPTY_LIST": lambda m, a: m.push([]),
    "EMPTY_TUPLE": lambda m, a: m.push(()),
    "TUPLE1": lambda m, a: m.push(m.pop_many(1)),
    "TUPLE2": lambda m, a: m.push(m.pop_many(2)),
    "TUPLE3": lambda m, a: m.push(m.pop_many(3)),
    "TUPLE": lambda m, a: m.push(tuple(m.pop_marked())),
    "SETITEM": lambda m, a: _set_items(m, m.pop_many(2)),
    "SETITEMS": lambda m, a: _set_items(m, m.pop_marked()),
    "APPEND": lambda m, a: _append(m, m.pop_many(1)),
    "APPENDS": lambda m, a: _append(m, m.pop_marked()),
    "GLOBAL": lambda m, a: _look_up(m, _dotted(a)),
    "STACK_GLOBAL": lambda m, a: _look_up_stacked(m),
    "REDUCE": lambda m, a: _reduce(m),
    "BUILD": lambda m, a: _build(m),
    "BINPERSID": lambda m, a: _storage(m),
}
"""What PyTorch's own pickles consist of; all else is refused."""

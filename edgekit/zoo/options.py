"""What a model can be asked for: its options as data, so that commands can list and check them."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass

from edgekit.errors import ModelError

Value = int | float | str


@dataclass(frozen=True, slots=True)
class Option:
    """One keyword of a builder.

    kind: int, float or str; int and float lie in least..most (`above`: least itself is refused), str is one of
    `choices`. help: one line for `--help`.
    """

    name: str
    kind: type[int] | type[float] | type[str]
    default: Value
    help: str
    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    choices: tuple[str, ...] = ()

    def check(self, value: object) -> Value:
        """`value` as a plain int, float or str. Raises ModelError where the option cannot have it."""
        if self.kind is str:
            if value not in self.choices:
                raise ModelError(f"option {self.name} is {value!r}; choose one of {', '.join(self.choices)}")
            return str(value)
        checked = self._number(value)
        low_enough = checked > self.least if self.above else checked >= self.least
        if not (low_enough and checked <= self.most):
            raise ModelError(f"option {self.name} is {value}; give {self._wanted()}")
        return checked

    def _number(self, value: object) -> int | float:
        if isinstance(value, numbers.Integral) and not isinstance(value, bool):
            return int(value) if self.kind is int else float(value)
        if self.kind is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
            return float(value)
        raise ModelError(f"option {self.name} is {value!r}; give {self._wanted()}")

    def _wanted(self) -> str:
        noun = "an integer" if self.kind is int else "a number"
        return f"{noun} {'above' if self.above else 'from'} {self.least:g} to {self.most:.10g}"


ALPHA = Option(
    "alpha", float, 1.0, "width multiplier: scales every layer's number of channels", least=0, most=8, above=True
)
RESOLUTION = Option("resolution", int, 224, "height and width of the input in pixels", least=32, most=8192)
CLASSES = Option("classes", int, 1000, "outputs of the classifier", least=1, most=100_000)
SHALLOW = Option("shallow", str, "off", "fewer units", choices=("off", "on"))
SEED = Option("seed", int, 0, "seed of the random weights", least=0, most=2**63 - 1)

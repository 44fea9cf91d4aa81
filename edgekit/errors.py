"""Everything that edgekit raises on purpose.

    EdgekitError                      one line: what happened, where, the remedy; the command line exits with 1
    ├── GraphError                    an invariant of the graph does not hold (a defect, or a broken model)
    │   └── ShapeError                an op cannot take these shapes
    ├── ModelError                    a model that does not exist or options it cannot have
    ├── WeightsError                  weights that are missing, damaged or of another architecture
    ├── ImportFileError               a model file that cannot be read
    │   ├── UnsupportedOpError        an op that a reader or writer does not know
    │   └── ContainerError            an .ekz file that is damaged or too new
    ├── DataError                     calibration or evaluation data that cannot be used
    ├── QuantizationError             a graph that cannot be quantized (NaN, constant ranges, ...)
    ├── DeviceError                   a device profile that is wrong or missing, a device that cannot be reached
    ├── OutputError                   a file that cannot be written
    └── RuntimeUnavailableError       a runtime that is missing or refuses the file

Each carries the facts as attributes where a caller may want them.
"""

from __future__ import annotations


class EdgekitError(Exception):
    """Base of all errors that a user can cause or mend."""


class GraphError(EdgekitError):
    """An invariant of the graph is broken."""


class ShapeError(GraphError):
    """An op was given shapes that it cannot take."""


class ModelError(EdgekitError):
    """No such model, or options that it cannot have."""


class WeightsError(EdgekitError):
    """Weights are missing, damaged or belong to another architecture."""


class ImportFileError(EdgekitError):
    """A model file cannot be read."""


class UnsupportedOpError(ImportFileError):
    """An op that a reader or a writer does not know.

    Attributes: op (its name there), node (the node's name), target (who cannot take it).
    """

    def __init__(self, op: str, node: str, target: str, remedy: str) -> None:
        self.op, self.node, self.target = op, node, target
        super().__init__(f"{target} cannot take op {op} (node {node!r}): {remedy}")


class ContainerError(ImportFileError):
    """An `.ekz` file is damaged, of a newer version, or does not hold what is asked of it."""


class DataError(EdgekitError):
    """Calibration or evaluation data cannot be used."""


class QuantizationError(EdgekitError):
    """The graph cannot be quantized."""


class DeviceError(EdgekitError):
    """A device profile is wrong or missing, or the device cannot be reached."""


class OutputError(EdgekitError):
    """A file cannot be written."""


class RuntimeUnavailableError(EdgekitError):
    """A runtime is not installed, or refuses the file."""

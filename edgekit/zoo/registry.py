"""The table of models: who builds them, what they can be asked for, what their papers print."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ParamSpec

from edgekit import __version__
from edgekit.errors import ModelError
from edgekit.graph.ir import Graph
from edgekit.zoo.options import Option, Value

P = ParamSpec("P")

INPUT_STEP = 32
"""Inputs chosen by rho are multiples of this: the total stride of the networks."""

MAX_RHO = 8.0


@dataclass(frozen=True, slots=True)
class Published:
    """What a paper or a reference implementation prints about one variant; None where it prints nothing.

    options: the variant. parameters_millions and macs_millions: counts in millions. top1_percent and top5_percent:
    accuracy of one centre crop on ImageNet, or on the data set that the source names. hypothesis: the source does not
    settle the structure, so ours is a reading of it.
    """

    options: Mapping[str, Value]
    parameters_millions: float | None
    macs_millions: float | None
    top1_percent: float | None
    top5_percent: float | None
    source: str
    hypothesis: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of the zoo. `build` takes the options as keywords and checks them."""

    name: str
    paper: str
    summary: str
    options: tuple[Option, ...]
    published: tuple[Published, ...]
    build: Callable[..., Graph]


_MODELS: dict[str, ModelSpec] = {}


def register(
    name: str, *, paper: str, options: Sequence[Option], published: Sequence[Published] = ()
) -> Callable[[Callable[P, Graph]], Callable[P, Graph]]:
    """Enter a builder into the table under `name`.

    The decorated builder checks its options, then builds, then notes name, options, weights and version in the
    graph's metadata. Raises ModelError where the name is taken or options and signature disagree.
    """

    def enter(builder: Callable[P, Graph]) -> Callable[P, Graph]:
        if name in _MODELS:
            raise ModelError(f"model {name!r} is registered already")
        defaults = {p.name: p.default for p in inspect.signature(builder).parameters.values()}
        if defaults != {o.name: o.default for o in options}:
            raise ModelError(f"model {name!r}: the builder's keywords {defaults} are not its options")

        @functools.wraps(builder)
        def build(*args: P.args, **kwargs: P.kwargs) -> Graph:
            checked: dict[str, Any] = _check_options(_MODELS[name], kwargs)
            return _with_metadata(builder(*args, **checked), name, checked)

        summary = (inspect.getdoc(builder) or "").partition("\n")[0]
        _MODELS[name] = ModelSpec(name, paper, summary, tuple(options), tuple(published), build)
        return build

    return enter


def model_names() -> tuple[str, ...]:
    """Names of all models, in order of registration."""
    return tuple(_MODELS)


def model_spec(name: str) -> ModelSpec:
    """The table's row of a model. Raises ModelError, with the nearest names, where there is none."""
    if name in _MODELS:
        return _MODELS[name]
    near = difflib.get_close_matches(name.lower().replace("-", "_"), _MODELS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the zoo has {', '.join(_MODELS)}"
    raise ModelError(f"no model {name!r}; {hint}")


def build_model(name: str, **options: object) -> Graph:
    """Build a model of the zoo. Raises ModelError for an unknown name or options that it cannot have."""
    return model_spec(name).build(**options)


def resolution_from_rho(rho: float, base: int = 224) -> int:
    """Input size for a resolution multiplier: the multiple of 32 nearest to base * rho, the greater of two.

    Raises ModelError where rho is not a positive, sensible number (arXiv:1704.04861, section 3.4).
    """
    if not (math.isfinite(rho) and 0 < rho <= MAX_RHO):
        raise ModelError(f"rho is {rho}; give a number above 0 to {MAX_RHO:g}, e.g. 0.857 for 192 pixels")
    resolution = math.floor(base * rho / INPUT_STEP + 0.5) * INPUT_STEP
    if resolution < INPUT_STEP:
        raise ModelError(f"rho {rho:g} makes the input smaller than {INPUT_STEP} pixels; give a greater one")
    return resolution


def _check_options(spec: ModelSpec, given: Mapping[str, object]) -> dict[str, Value]:
    """All options of a model, `given` ones checked and the others at their defaults."""
    known = {option.name: option for option in spec.options}
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise ModelError(f"model {spec.name} has no option {unknown!r}; it has {', '.join(known)}")
    return {name: option.check(given.get(name, option.default)) for name, option in known.items()}


def _with_metadata(graph: Graph, name: str, options: Mapping[str, Value]) -> Graph:
    graph.metadata["model"] = {"name": name, **{k: v for k, v in options.items() if k != "seed"}}
    graph.metadata["weights"] = {"source": "random", "seed": options.get("seed", 0)}
    graph.metadata["steps"] = []
    graph.metadata["edgekit"] = __version__
    return graph

"""Imports go down only, and the package stays light until a command needs more."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgekit"
LAYERS = (
    ("errors",),
    ("graph",),
    ("data",),
    ("zoo", "importers", "passes", "prune", "quantize", "compress", "export", "train"),
    ("runtime",),
    ("devices",),
    ("evaluate", "bench"),
    ("report",),
    ("pipeline",),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
HEAVY = ("onnx", "onnxruntime", "tensorflow", "keras", "torch", "ai_edge_litert", "h5py", "PIL")


def stage(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def imported_stages(source: str, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """(line, stage) of every import of edgekit's own modules, wherever it stands in the file."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) + 1 - node.level]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "edgekit" and len(parts) > 1 and not parts[1].startswith("__"):
                yield node.lineno, parts[1]


def violations(module: Path, source: str) -> list[str]:
    mine = stage(module.parts)
    package = ("edgekit", *module.parts[:-1])
    return [
        f"edgekit/{module}:{line}: {mine} imports {theirs}"
        for line, theirs in imported_stages(source, package)
        if theirs != mine and RANK[theirs] >= RANK[mine]
    ]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_go_down_only(module):
    if len(module.parts) == 1 and module.name in ("__init__.py", "__main__.py"):
        return
    assert violations(module, (PACKAGE / module).read_text(encoding="utf-8")) == []


def test_the_package_itself_imports_none_of_its_stages():
    assert list(imported_stages((PACKAGE / "__init__.py").read_text(encoding="utf-8"), ("edgekit",))) == []


def test_every_stage_has_a_layer():
    assert {stage(module.parts) for module in MODULES} - {"__init__", "__main__"} <= set(RANK)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("graph/x.py", "from edgekit.zoo import registry"),
        ("zoo/x.py", "import edgekit.importers.weights"),
        ("zoo/x.py", "from edgekit import passes"),
        ("zoo/x.py", "def f():\n    from edgekit.cli.main import main"),
        ("zoo/x.py", "from ..importers import weights"),
    ],
)
def test_an_import_upwards_or_sideways_is_seen(module, source):
    assert len(violations(Path(module), source)) == 1


@pytest.mark.parametrize(
    "source", ["from edgekit.graph import ir", "from edgekit import __version__", "from . import y"]
)
def test_an_import_downwards_is_allowed(source):
    assert violations(Path("zoo/x.py"), source) == []


@pytest.mark.parametrize("module", ["edgekit", "edgekit.zoo", "edgekit.importers.weights", "edgekit.graph.text"])
def test_importing_loads_none_of_the_heavy_libraries(module):
    code = f"import sys, {module}; print(','.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

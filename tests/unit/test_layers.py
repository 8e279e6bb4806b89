"""Imports point one way only: the table of docs/hacking.md, enforced."""

import ast
from pathlib import Path

import pytest

import pyruntime

ROOT = Path(pyruntime.__file__).parent

ALLOWED = {
    "text": set(),
    "errors": {"text"},
    "log": {"text"},
    "options": set(),
    "step": {"text"},
    "trace": {"step", "kernel", "spec.jsontext", "errors", "text"},
    "kernel": {"errors", "text"},
    "spec": {"errors", "text"},
    "plan": {"step", "spec", "errors", "text"},
    "engine": {"step", "kernel", "errors", "log", "spec.jsontext", "text"},
    "container": {"kernel", "spec.jsontext", "errors", "text"},
    "commands": {"errors", "log", "step", "kernel", "spec", "plan", "engine", "container", "cli", "options", "text"},
    "cli": {"errors", "log", "options", "commands", "trace", "kernel", "text"},
    "core": {"cli", "options", "trace", "text"},
    "__main__": {"cli"},
}
"""Package or module of the project -> what it may import of the project, itself excepted."""


def modules() -> list[Path]:
    made = {ROOT / "__init__.py", ROOT / "_build.py"}  # the version, and what the build writes
    return sorted(path for path in ROOT.rglob("*.py") if path not in made)


def imported(path: Path) -> set[str]:
    """Return the project modules that a file imports at run time, dotted, without the leading `pyruntime.`."""
    package = ["pyruntime", *path.relative_to(ROOT).parts[:-1]]
    if path.name == "__init__.py":
        package = ["pyruntime", *path.relative_to(ROOT).parent.parts]
    names = set()
    for node in run_time_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("pyruntime.") for name in names if name.startswith("pyruntime.")}


def run_time_nodes(tree: ast.AST) -> list[ast.AST]:
    """Return all nodes but those below `if TYPE_CHECKING:`."""
    found: list[ast.AST] = []
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        found += [child, *run_time_nodes(child)]
    return found


def package_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_layers(path: Path) -> None:
    own = package_of(path)
    allowed = ALLOWED[own] | {own}
    for name in imported(path):
        if name in ("__version__", "SPEC_VERSION", "_build.COMMIT"):
            continue
        assert any(name == a or name.startswith(a + ".") for a in allowed), f"{own} must not import {name}"


def test_the_test_sees_an_arrow_the_wrong_way() -> None:
    tree = ast.parse("from ..engine import launch")
    assert isinstance(run_time_nodes(tree)[0], ast.ImportFrom)
    assert not any("engine.launch".startswith(a) for a in ALLOWED["plan"])

"""Imports point one way only: the table of docs/hacking.md, enforced."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

import pyruntime
from pyruntime import options

ROOT = Path(pyruntime.__file__).parent

LOWEST = {"errors", "files", "log", "observer", "state_files", "step", "text"}
LIFECYCLE = {*LOWEST, "kernel", "spec", "host", "plan", "engine", "container"}
ALLOWED = {
    "text": set(),
    "errors": {"text"},
    "log": {"text"},
    "options": set(),
    "state_files": set(),
    "observer": set(),
    "files": set(),
    "step": {"observer", "text"},
    "caller": {"errors", "text"},
    "trace": {"observer", "step", "kernel", "spec.jsontext", "errors", "text"},
    "kernel": {"files", "errors", "text"},
    "spec": {"observer", "errors", "text"},
    "host": {"files", "observer", "kernel", "errors", "text"},
    "plan": {"observer", "state_files", "step", "spec", "host.data", "errors", "text"},
    "engine": {"observer", "state_files", "step", "kernel", "errors", "log", "spec.jsontext", "text"},
    "container": {"files", "observer", "state_files", "kernel", "spec.jsontext", "errors", "text"},
    "lifecycle": LIFECYCLE,
    "commands": {*LIFECYCLE, "lifecycle", "caller", "options"},
    "cli": {"errors", "log", "options", "caller", "commands", "lifecycle.protection", "trace", "kernel", "text"},
    "bootstrap": {"cli", "options", "trace", "text"},
    "__main__": {"cli"},
}
"""Package or module of the project -> what it may import of the project, itself excepted."""


def modules() -> list[Path]:
    made = {ROOT / "__init__.py", ROOT / "_build.py"}  # the version, and what the build writes
    return sorted(path for path in ROOT.rglob("*.py") if path not in made)


def imported(path: Path) -> set[str]:
    """Return the project modules that a file imports at run time, dotted, without the leading `pyruntime.`."""
    package = ["pyruntime", *path.relative_to(ROOT).parts[:-1]]
    return names_in(ast.parse(path.read_text()), package)


def names_in(tree: ast.AST, package: list[str]) -> set[str]:
    names = set()
    for node in run_time_nodes(tree):
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
    assert wrong(package_of(path), imported(path)) == []


def wrong(own: str, names: Iterable[str]) -> list[str]:
    """Return the imports that a module of a package must not have."""
    allowed = ALLOWED[own] | {own}
    ours = set(names) - {"__version__", "SPEC_VERSION", "_build.COMMIT"}
    return sorted(name for name in ours if not any(name == a or name.startswith(f"{a}.") for a in allowed))


def test_every_package_has_a_place() -> None:
    assert {package_of(path) for path in modules()} == set(ALLOWED)


@pytest.mark.parametrize(
    ("own", "text", "found"),
    [
        ("plan", "from ..engine import launch", ["engine.launch"]),
        ("plan", "from ..host.probe import host", ["host.probe.host"]),
        ("plan", "from ..host.data import Host", []),
        ("plan", "import pyruntime.kernel", ["kernel"]),
        ("plan", "def lazily():\n    from .. import kernel", ["kernel"]),
        ("plan", "if TYPE_CHECKING:\n    from .. import kernel", []),
        ("engine", "from ..spec import load_config", ["spec.load_config"]),
    ],
)
def test_an_arrow_the_wrong_way_is_seen(tmp_path: Path, own: str, text: str, found: list[str]) -> None:
    assert wrong(own, names_in(ast.parse(text), ["pyruntime", own])) == found


COMMANDS = sorted({command.module for command in options.COMMANDS.values()})


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_imports_another(name: str) -> None:
    others = [f"commands.{other}" for other in COMMANDS if other != name]
    assert not [each for each in imported(ROOT / f"commands/{name}.py") if each.startswith(tuple(others))]


@pytest.mark.parametrize("path", sorted((ROOT / "lifecycle").glob("*.py")), ids=lambda p: p.name)
def test_lifecycle_knows_no_command_line(path: Path) -> None:
    assert "options" not in {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


EXTENSIONS = {dotted(path) for path in ROOT.rglob("*.pyi")}


def graph() -> dict[str, set[str]]:
    """Return which files import which, also inside of functions. A name of a package is that package's own file."""
    names = {dotted(path): path for path in modules()}
    found = {}
    for own, path in names.items():
        targets = set()
        for name in imported(path):
            module = name if name in names or name in EXTENSIONS else name.rpartition(".")[0]
            if module in names and module != own:
                targets.add(module)
        found[own] = targets
    return found


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Return files that import each other in a circle, [] for none."""
    done: set[str] = set()

    def visit(name: str, above: list[str]) -> list[str]:
        if name in above:
            return [*above[above.index(name) :], name]
        if name in done:
            return []
        for target in sorted(arrows.get(name, ())):
            found = visit(target, [*above, name])
            if found:
                return found
        done.add(name)
        return []

    return next((found for name in sorted(arrows) if (found := visit(name, []))), [])


def test_there_is_no_circle() -> None:
    assert circle(graph()) == []


@pytest.mark.parametrize(
    ("arrows", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"a"}}, ["a", "a"]),
    ],
)
def test_a_circle_is_seen(arrows: dict[str, set[str]], found: list[str]) -> None:
    assert circle(arrows) == found

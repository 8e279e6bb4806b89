"""Turns the modules of pyruntime into C data, so that a start reads no files for them.

They are compiled without what only people and type checkers need, so that there is less to unmarshal.
"""

import __future__

import ast
import importlib.util
import marshal
from pathlib import Path
from types import CodeType
from typing import Any

from . import ROOT, commit

NOT_FROZEN = ("__main__.py", "spec/schema.py", "_build.py")
"""Modules that stay on disk: the source tree's command, one that needs its own path, and one that the build writes."""
STANDARD = ("encodings", "encodings.aliases", "encodings.utf_8")
"""Modules of the standard library that a completed interpreter needs and Python does not freeze itself."""


class Strip(ast.NodeTransformer):
    """Removes docstrings, annotations and the bodies of `if TYPE_CHECKING`."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:  # noqa: N802 - the name is ast's
        node.returns = None
        arguments = node.args
        for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
            if each is not None:
                each.annotation = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:  # noqa: N802
        new = ast.Pass() if node.value is None else ast.Assign(targets=[node.target], value=node.value)
        return ast.copy_location(new, node)

    def visit_If(self, node: ast.If) -> Any:  # noqa: N802
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:  # noqa: N802
        return None if node.module == "__future__" else node

    def visit_Expr(self, node: ast.Expr) -> Any:  # noqa: N802
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node


def fill(tree: ast.Module) -> ast.Module:
    """Give a body to functions, classes and other blocks that contained only what was removed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler | ast.If) and not node.body:
            node.body = [ast.Pass()]
    return ast.fix_missing_locations(tree)


def byte_code(path: Path) -> CodeType:
    """Return the code of a module, stripped when it belongs to pyruntime.

    Its file name is in angle brackets, so that code that prints a traceback does not look for the source file, which it
    would do in the caller's working directory.
    """
    shown = f"<{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}>"
    tree = ast.parse(path.read_bytes(), shown)
    if path.is_relative_to(ROOT):
        tree = fill(Strip().visit(tree))
    flags = __future__.annotations.compiler_flag
    code: CodeType = compile(tree, shown, "exec", flags, dont_inherit=True, optimize=2)
    return code


def modules() -> dict[str, tuple[Path, bool]]:
    """Return the modules that go into the launcher: name -> (source file, whether it is a package)."""
    found: dict[str, tuple[Path, bool]] = {}
    for name in STANDARD:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        found[name] = (Path(spec.origin), spec.submodule_search_locations is not None)
    package = ROOT / "pyruntime"
    for path in sorted(package.rglob("*.py")):
        where = path.relative_to(package)
        if str(where) in NOT_FROZEN:
            continue
        parts = ["pyruntime", *where.parts]
        is_package = parts.pop() == "__init__.py"
        name = ".".join(parts if is_package else [*parts, path.stem])
        found[name] = (path, is_package)
    found["pyruntime._build"] = (commit.write_module(ROOT / "build/_build.py"), False)
    return found


def header(chosen: dict[str, tuple[Path, bool]]) -> str:
    """Return frozen.h, the launcher's table of frozen modules (PyImport_FrozenModules)."""
    arrays, rows = [], []
    for number, (name, (path, is_package)) in enumerate(chosen.items()):
        data = marshal.dumps(byte_code(path))
        arrays.append(f"static const unsigned char code{number}[] = {{{','.join(map(str, data))}}};")
        where = f".code = code{number}, .size = {len(data)}"
        rows.append(f'{{.name = "{name}", {where}, .is_package = {int(is_package)}}},')
    lines = [*arrays, "static const struct _frozen frozen_modules[] = {", *rows, "{0}};"]
    return "\n".join(lines) + "\n"

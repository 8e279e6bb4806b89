"""Finds the places of Python source where one small change makes another program, and makes that change.

A mutant is a replacement of one piece of a file's text. What only people read is left alone: docstrings, annotations,
the words of errors and hints.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SWAPPED: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
WRITTEN: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.In: "in", ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "//"), ast.FloorDiv: ("//", "*"),
    ast.BitOr: ("|", "&"), ast.BitAnd: ("&", "|"), ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
}  # fmt: skip
GENERATED = "_validator.py"
"""What a script has written, and tests compare with the schema that it comes from."""
WORDS = ("hint", "what")
"""Keywords whose text is for people."""


class Mutant(NamedTuple):
    """One change. function: the one it is in. begin, end: its place in the file, in bytes. was, becomes: the text."""

    file: str
    line: int
    function: str
    begin: int
    end: int
    was: str
    becomes: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line} in {self.function or 'the module'}"
        return f"{where}: {one_line(self.was)}  ->  {one_line(self.becomes)}"

    def key(self) -> tuple[str, str, str, str]:
        """What names it for as long as its function says the same, wherever that stands."""
        return self.file, self.function, self.was, self.becomes

    def apply(self, text: str) -> str:
        data = text.encode()
        return (data[: self.begin] + self.becomes.encode() + data[self.end :]).decode()


def one_line(text: str) -> str:
    return " ".join(text.split()) or "nothing"


class Finder:
    """Finds the mutants of one file."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.data = text.encode()
        self.starts = [0]
        for line in text.encode().splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.tree = ast.parse(text)

    def place(self, node: ast.AST) -> tuple[int, int]:
        begin = self.starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return begin, self.starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def source(self, node: ast.AST) -> str:
        begin, end = self.place(node)
        return self.data[begin:end].decode()

    def change(self, node: ast.AST, function: str, becomes: str) -> Mutant:
        begin, end = self.place(node)
        return Mutant(self.file, node.lineno, function, begin, end, self.source(node), becomes)  # type: ignore[attr-defined]

    def find(self) -> list[Mutant]:
        return [mutant for node in self.tree.body for mutant in self.visit(node, "")]

    def visit(self, node: ast.AST, function: str) -> Iterator[Mutant]:
        if is_for_people(node):
            return
        yield from self.of(node, function)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".lstrip(".")
            for statement in node.body:
                yield from self.visit(statement, function)
            return
        if isinstance(node, ast.AnnAssign):
            if node.value is not None:
                yield from self.visit(node.value, function)
            return
        if isinstance(node, ast.JoinedStr | ast.arguments):
            return
        if isinstance(node, ast.Raise):
            return  # its words; that it is not raised is of()
        for child in ast.iter_child_nodes(node):
            if not (isinstance(child, ast.keyword) and child.arg in WORDS):
                yield from self.visit(child, function)

    def of(self, node: ast.AST, function: str) -> Iterator[Mutant]:
        """The mutants that change this node itself."""
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            operator = type(node.ops[0])
            text = f"{self.source(node.left)} {SWAPPED[operator]} {self.source(node.comparators[0])}"
            yield self.change(node, function, f"({text})")
        elif isinstance(node, ast.BoolOp):
            word = " and " if isinstance(node.op, ast.Or) else " or "
            yield self.change(node, function, f"({word.join(f'({self.source(each)})' for each in node.values)})")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield self.change(node, function, f"bool({self.source(node.operand)})")
        elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            text = f"({self.source(node.left)} {ARITHMETIC[type(node.op)][1]} {self.source(node.right)})"
            if not isinstance(node.left, ast.Constant | ast.JoinedStr) or not isinstance(node.left, ast.JoinedStr):
                yield self.change(node, function, text)
        elif isinstance(node, ast.Constant):
            yield from self.of_constant(node, function)
        elif isinstance(node, ast.Return) and node.value is not None and self.source(node.value) != "None":
            yield self.change(node, function, "return None")
        elif isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(node.test, ast.Constant | ast.Compare):
            yield self.change(node.test, function, f"(not ({self.source(node.test)}))")
        elif isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            yield self.change(node, function, "pass")
        elif isinstance(node, ast.Break | ast.Continue):
            yield self.change(node, function, "continue" if isinstance(node, ast.Break) else "break")
        elif isinstance(node, ast.Call) and node.keywords:
            yield from self.of_keywords(node, function)
        elif isinstance(node, ast.List) and isinstance(node.ctx, ast.Load) and len(node.elts) > 1:
            yield from self.of_list(node, function)

    def of_constant(self, node: ast.Constant, function: str) -> Iterator[Mutant]:
        value = node.value
        if isinstance(value, bool):
            yield self.change(node, function, str(not value))
        elif isinstance(value, int):
            yield self.change(node, function, str(value + 1))
        elif isinstance(value, str):
            yield self.change(node, function, repr(f"{value}X" if value else "mutant"))

    def of_keywords(self, node: ast.Call, function: str) -> Iterator[Mutant]:
        """Each keyword argument once left out."""
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg in WORDS:
                continue
            rest = [self.source(each) for each in node.args]
            rest += [self.source(each) for each in node.keywords if each is not keyword]
            yield self.change(node, function, f"{self.source(node.func)}({', '.join(rest)})")

    def of_list(self, node: ast.List, function: str) -> Iterator[Mutant]:
        """Each element once left out."""
        for element in node.elts:
            rest = [self.source(each) for each in node.elts if each is not element]
            yield self.change(node, function, f"[{', '.join(rest)}]")


def is_for_people(node: ast.AST) -> bool:
    """Whether a node is a docstring, of type checkers alone, or a declaration without a value."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__slots__", "TYPE_CHECKING")


def mutants_of(root: Path, packages: list[str]) -> list[Mutant]:
    """Return all mutants of packages (`plan`, `engine`) or modules (`plan/mounts`), those that compile."""
    found = []
    for package in packages:
        path = root / "pyruntime" / package
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
            if file.name == GENERATED:
                continue
            text = file.read_text()
            mutants = Finder(str(file.relative_to(root)), text).find()
            found += [mutant for mutant in mutants if compiles(mutant.apply(text))]
    return found


def compiles(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True

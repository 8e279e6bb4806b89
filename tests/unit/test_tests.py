"""What a test may not do: be content with any failure, whatever its reason."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
BROAD = {
    "AssertionError", "BaseException", "CalledProcessError", "Exception", "Failure", "InvalidConfig", "Malformed",
    "OSError", "RuntimeError", "TypeError", "UsageFailure", "ValueError",
}  # fmt: skip
"""Exceptions that have many reasons: who expects one demands its words, or looks at the one that was caught."""


def problems(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and fault."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and called(node.value) == "fails":
            yield node.lineno, "nobody looks at the words of this failure"
        if isinstance(node, ast.With):
            yield from ((node.lineno, fault) for item in node.items for fault in unexplained(item))
        if isinstance(node, ast.Assert) and always(node.test):
            yield node.lineno, "this can't fail"


def called(call: ast.Call) -> str:
    """Return the last part of the name of what is called."""
    return ast.unparse(call.func).rpartition(".")[2]


def unexplained(item: ast.withitem) -> Iterator[str]:
    call = item.context_expr
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != "pytest.raises" or item.optional_vars is not None:
        return
    expected = {ast.unparse(each).rpartition(".")[2] for arg in call.args for each in ast.walk(arg)}
    if expected & BROAD and not any(word.arg == "match" for word in call.keywords):
        yield f"any reason for {' or '.join(sorted(expected & BROAD))} passes"


def always(test: ast.expr) -> bool:
    """Whether a condition is true whatever happens: a constant, a tuple with members, or one of them behind `or`."""
    if isinstance(test, ast.BoolOp):
        return (any if isinstance(test.op, ast.Or) else all)(always(value) for value in test.values)
    return (isinstance(test, ast.Constant) and bool(test.value)) or (isinstance(test, ast.Tuple) and bool(test.elts))


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_a_failure_is_expected_by_its_words(path: Path) -> None:
    found = [f"{path.name}:{line}: {fault}" for line, fault in problems(ast.parse(path.read_text()))]
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "runtime.fails('start', 'c')",
        "box.runtime.fails('start', box.id, seconds=5)",
        "with pytest.raises(ValueError): f()",
        "with limit(1), pytest.raises((KeyError, errors.Failure)): f()",
        "assert True",
        "assert x or True",
        "assert (x, 'a message')",
    ],
)
def test_a_careless_test_is_seen(text: str) -> None:
    assert len(list(problems(ast.parse(text)))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "says(runtime.fails('start', 'c'), 'words')",
        "error = runtime.fails('start', 'c')",
        "with pytest.raises(ValueError, match='words'): f()",
        "with pytest.raises(ValueError) as caught: f()",
        "with pytest.raises(FileNotFoundError): f()",
        "assert x or y",
    ],
)
def test_a_careful_test_is_not(text: str) -> None:
    assert list(problems(ast.parse(text))) == []

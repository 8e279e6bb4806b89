"""Functions that enter a container ask the kernel about the binary that runs, here Python's own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pyruntime import kernel
from pyruntime.errors import Failure
from pyruntime.lifecycle import create, exec, protection, run

ENTERING: dict[str, Callable[[str], object]] = {
    "create": lambda root: create.create(root, "c", create.Creation(root)),
    "run": lambda root: run.run(root, "c", create.Creation(root)),
    "exec": lambda root: exec.exec_(root, "c", exec.Execution(["x"])),
}


@pytest.fixture(autouse=True)
def not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protection, "passed", False)


@pytest.mark.parametrize("name", ENTERING)
def test_what_enters_a_container_refuses(name: str, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=f"^{name}: the binary of this process could be overwritten") as raised:
        ENTERING[name](str(tmp_path))
    assert raised.value.status == (255 if name == "exec" else 1)
    assert list(tmp_path.iterdir()) == []


def test_the_kernel_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def is_protected() -> bool:
        asked.append(True)
        return True

    monkeypatch.setattr(kernel, "is_binary_protected", is_protected)
    protection.check("create")
    protection.check("run")
    assert asked == [True]

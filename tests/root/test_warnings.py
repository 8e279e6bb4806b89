"""Warnings on stderr: of commands whose stderr nobody parses, where the caller names no log file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bundle import Bundle, dict_of
from support.fixtures import Make
from support.runtime import Result, Runtime, new_id

PREFIX = "pyruntime: warning: "


def unknown_capability(bundle: Bundle) -> None:
    bundle.process["capabilities"]["bounding"].append("CAP_NO\nSUCH")


def ambient_capability(bundle: Bundle) -> None:
    bundle.capabilities(bounding=["CAP_KILL"], permitted=["CAP_KILL"], ambient=["CAP_KILL"])


def relative_destination(bundle: Bundle) -> None:
    bundle.mount("mnt/relative", "tmpfs", "tmpfs")


def data_of_a_bind_mount(bundle: Bundle) -> None:
    bundle.mount("/mnt", "bind", str(bundle.path), "bind", "size=1")


def poststop_hook(bundle: Bundle) -> None:
    dict_of(bundle.config, "hooks")["poststop"] = [{"path": "/bin/false"}]


CAUSES: list[tuple[Callable[[Bundle], None], str]] = [
    (unknown_capability, "CAP_NO\\nSUCH"),
    (ambient_capability, "CAP_KILL"),
    (relative_destination, "mnt/relative"),
    (data_of_a_bind_mount, "size"),
    (poststop_hook, "/hooks/poststop/0"),
]


@pytest.mark.parametrize(("cause", "words"), CAUSES)
def test_run(runtime: Runtime, bundle: Bundle, cause: Callable[[Bundle], None], words: str) -> None:
    cause(bundle)
    bundle.sh("echo fine")
    result = runtime.run("run", "-b", bundle.save(), new_id())
    assert (result.status, result.stdout) == (0, "fine\n")
    (line,) = result.stderr.splitlines()
    assert line.startswith(PREFIX) and words in line


SILENT = {
    "a log file": ["--log", "{log}"],
    "a log file in JSON": ["--log", "{log}", "--log-format", "json"],
    "errors alone": ["--log-level", "error"],
}


@pytest.mark.parametrize("options", SILENT.values(), ids=SILENT)
def test_where_nothing_is_said(runtime: Runtime, bundle: Bundle, workdir: Path, options: list[str]) -> None:
    unknown_capability(bundle)
    poststop_hook(bundle)
    bundle.args("true")
    log = workdir / "log"
    tested = Runtime(runtime.root, options=[option.format(log=log) for option in options])
    assert tested.ok("run", "-b", bundle.save(), new_id()) == ""
    assert not log.exists() or log.read_text().count("warning") == 2


@pytest.mark.parametrize("options", [["--log-format", "json"], ["--log-format", "text"], ["--log-level", "warn"]])
def test_without_a_file_the_format_is_for_people(runtime: Runtime, bundle: Bundle, options: list[str]) -> None:
    unknown_capability(bundle)
    bundle.args("true")
    result = Runtime(runtime.root, options=options).run("run", "-b", bundle.save(), new_id())
    assert result.stderr.startswith(PREFIX) and result.stderr.count("\n") == 1


def test_with_debug_it_is_a_line_of_the_log(runtime: Runtime, bundle: Bundle) -> None:
    unknown_capability(bundle)
    bundle.args("true")
    result = Runtime(runtime.root, options=["--debug"]).run("run", "-b", bundle.save(), new_id())
    assert PREFIX not in result.stderr and "level=warning" in result.stderr


def test_a_failure_has_its_own_line(runtime: Runtime, bundle: Bundle) -> None:
    unknown_capability(bundle)
    bundle.args("/nosuch")
    result = runtime.run("create", "-b", bundle.save(), new_id())
    warning, error = result.stderr.splitlines()
    assert result.status == 1 and warning.startswith(PREFIX) and "/nosuch" in error


def test_each_command(container: Make, bundle: Bundle, workdir: Path) -> None:
    """Those of the first list; what callers read of others stays an answer, and the answer alone."""
    unknown_capability(bundle)
    poststop_hook(bundle)
    box = container(create=False)
    said: dict[str, Result] = {}

    def call(name: str, *words: str | Path) -> None:
        said[name] = box.runtime.run(*words)
        assert said[name].status == 0, said

    call("create", "create", "-b", bundle.save(), box.id)
    call("start", "start", box.id)
    call("exec", "exec", box.id, "true")
    (workdir / "process.json").write_text(json.dumps({**bundle.process, "args": ["true"]}))
    call("exec --process", "exec", "--process", workdir / "process.json", box.id)
    for quiet in ("state", "ps", "pause", "resume", "kill"):
        call(quiet, quiet, box.id)
    call("list", "list")
    call("delete", "delete", "--force", box.id)
    assert {name for name, result in said.items() if PREFIX in result.stderr} == {
        "create", "exec", "exec --process", "delete"
    }  # fmt: skip
    assert all(
        not result.stderr for name, result in said.items() if name not in ("create", "exec", "exec --process", "delete")
    )

"""What the documents show is true: their Python runs, and the plan they quote is the plan."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import paths
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Runtime, wait_for

DOCS = paths.REPO / "docs"
PRINTED = r"print\(.*\) +# (/.*|RLIMIT.*)"
EXAMPLES = re.findall(r"```python\n(.*?)```", (DOCS / "embedding.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: code.splitlines()[0])
def test_embedding(container: Make, runtime: Runtime, bundle: Bundle, code: str) -> None:
    box = container()
    prepared = f"bundle, root = {str(bundle.path)!r}, {str(runtime.root)!r}\n" + code.replace('"mine"', repr(box.id))
    environment = {"PATH": f"{Path(paths.RUNTIME_BIN).parent}:{paths.SYSTEM_PATH}"}
    result = subprocess.run(
        [sys.executable, "-P", "-c", prepared], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    for said in re.findall(PRINTED, code):
        assert said in result.stdout.splitlines()
    if "print(document)" in code:
        assert box.id in result.stdout
    if "kill" in code:
        wait_for(lambda: box.status == "stopped", "it was killed")


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 6
    assert len(re.findall(PRINTED, "".join(EXAMPLES))) >= 2 and "print(document)" in "".join(EXAMPLES)


def test_explain(runtime: Runtime) -> None:
    quoted = [line[4:] for line in (DOCS / "explain.md").read_text().splitlines() if re.match(r" {4,}\d+ \w+ ", line)]
    # Without the numbers: where nobody has made the cgroup's parent yet, there is a step more.
    printed = [line.split()[1:] for line in runtime.ok("explain", "--bundle", paths.BUSYBOX_BUNDLE).splitlines()]
    assert len(quoted) == 4
    headings = [line.split() for line in (DOCS / "explain.md").read_text().splitlines() if line.startswith("    # ")]
    assert headings and all(line[1:] in printed for line in headings)
    places = [printed.index(line.split()[1:]) for line in quoted]
    assert places == sorted(places)

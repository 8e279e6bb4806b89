"""Properties that are null, as Go programs send them, and properties whose names are the spec's but for their case."""

import json
from pathlib import Path

import pytest
from support.bundle import Bundle, dict_of
from support.fixtures import Make
from support.runtime import Runtime, new_id


def test_a_whole_life(container: Make, bundle: Bundle, workdir: Path) -> None:
    """Null is as good as absent in config.json and in what later commands read of it, in `exec` and in `update`."""
    bundle.config.update(hostname=None, domainname=None, annotations=None)
    bundle.process.update(
        terminal=None, consoleSize=None, oomScoreAdj=None, noNewPrivileges=None, apparmorProfile=None, selinuxLabel=None
    )
    bundle.process["user"] = {"uid": None, "gid": None, "umask": None, "additionalGids": None}
    bundle.linux.update(cgroupsPath=None, rootfsPropagation=None, mountLabel=None, seccomp=None, personality=None)
    bundle.linux["resources"] = {"memory": {"limit": None}, "cpu": {"shares": None}, "pids": {"limit": None}}
    for entry in bundle.mounts:
        entry.setdefault("uidMappings", None)
        entry["source"] = entry.get("source") or None
    script = f"cat > {workdir}/state"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": None, "timeout": None}
    dict_of(bundle.config, "hooks").update(poststart=[hook], poststop=[hook], prestart=None)
    bundle.sh("echo $(id -u) $(umask); exec sleep 100")
    box = container()
    assert json.loads((workdir / "state").read_bytes())["status"] == "running"
    process = {"cwd": "/", "args": ["/usr/bin/id", "-u"], "terminal": None, "user": {"uid": None}, "oomScoreAdj": None}
    (workdir / "process.json").write_text(json.dumps(process))
    assert box.exec("--process", workdir / "process.json", "--").stdout == "0\n"
    assert (
        box.sh("hostname; cat /proc/self/oom_score_adj").splitlines()[1]
        == Path("/proc/self/oom_score_adj").read_text().strip()
    )
    (workdir / "resources.json").write_text('{"memory": {"limit": null}, "devices": null, "pids": {"limit": null}}')
    box.runtime.ok("update", "--resources", workdir / "resources.json", box.id)
    assert box.output == "0 0022\n"
    box.kill()
    box.wait_stopped()
    box.delete()
    assert json.loads((workdir / "state").read_bytes())["status"] == "stopped"


@pytest.mark.parametrize("name", ["Hostname", "HOSTNAME"])
def test_another_case(runtime: Runtime, bundle: Bundle, workdir: Path, name: str) -> None:
    """It is not taken, and that is told."""
    bundle.args("hostname")
    bundle.config[name] = bundle.config.pop("hostname")
    log = workdir / "log"
    said = Runtime(runtime.root, options=["--log", str(log)]).run("run", "-b", bundle.save(), new_id())
    assert (said.status, said.stdout != f"{bundle.config[name]}\n") == (0, True)
    assert f"config.json#/{name} is ignored: there is no such property; did you mean hostname?" in log.read_text()
    assert "did you mean hostname?" in runtime.run("explain", "-b", bundle.path).stderr


def test_another_case_of_exec_and_update(container: Make, workdir: Path) -> None:
    box, log = container(), workdir / "log"
    tested = Runtime(box.runtime.root, options=["--log", str(log)])
    (workdir / "process.json").write_text('{"cwd": "/", "args": ["/bin/true"], "User": {"uid": 5}}')
    assert tested.run("exec", "--process", workdir / "process.json", box.id).status == 0
    (workdir / "resources.json").write_text('{"Memory": {"limit": 1}}')
    assert tested.run("update", "--resources", workdir / "resources.json", box.id).status == 0
    lines = log.read_text().splitlines()
    assert "did you mean user?" in lines[0] and "did you mean memory?" in lines[1] and len(lines) == 2


def test_null_where_something_must_be(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["cwd"] = None
    assert "the property cwd is missing [config.json#/process/cwd]" in runtime.fails(
        "run", "-b", bundle.save(), new_id()
    )

"""Names by tables: what each leads to in the container, or the words by which it is refused; nothing is left.

Bytes that are no text, control characters and 4 KB wherever there is a name are in test_hostile_names.py.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support import raw, session
from support.bundle import Bundle
from support.fixtures import Inside, Make
from support.raw import Said
from support.runtime import Runtime, new_id

LONG = "n" * 255


def short(value: object) -> str:
    return ascii(value)[:24]


def refused(said: Said, status: int, words: str) -> None:
    assert said.status == status, said
    assert words in said.line


def cgroups(word: str) -> list[str]:
    return [folder for folder, _, _ in os.walk(session.CGROUP_ROOT) if word in folder]


IDS_TAKEN = ("a", "0", "A-b_c+d.e", ".a", "a..b", "-x", "--help", "...", "_", LONG)
IDS_REFUSED = {
    "": "cannot be empty",
    ".": "invalid container ID format",
    "..": "invalid container ID format",
    "a/b": "invalid container ID format",
    "../a": "invalid container ID format",
    "/": "invalid container ID format",
    "a b": "use letters, digits",
    "a\nb": "use letters, digits",
    "\u00fc": "use letters, digits",
    "~a": "use letters, digits",
    "a:b": "use letters, digits",
    "*": "use letters, digits",
    "n" * 256: "at most 255",
}


class TestIds:
    @pytest.mark.parametrize("name", IDS_TAKEN, ids=short)
    def test_taken(self, runtime: Runtime, bundle: Bundle, name: str) -> None:
        bundle.linux["cgroupsPath"] = f"/{new_id()}"
        raw.ok(runtime, "create", "--bundle", bundle.save(), "--", name)
        assert runtime.ids() == [name]
        assert f'"id": "{name}"'.encode() in raw.ok(runtime, "state", "--", name)
        assert raw.ok(runtime, "list", "--quiet") == f"{name}\n".encode()
        raw.ok(runtime, "delete", "--force", "--", name)
        assert runtime.ids() == []

    @pytest.mark.parametrize("name, words", IDS_REFUSED.items(), ids=short)
    def test_refused(self, runtime: Runtime, bundle: Bundle, name: str, words: str) -> None:
        bundle.linux["cgroupsPath"] = f"/{new_id()}"
        refused(raw.run(runtime, "create", "--bundle", bundle.save(), "--", name), 1, words)
        refused(raw.run(runtime, "delete", "--force", "--", name), 1, words)
        assert runtime.ids() == []


HOSTNAMES_TAKEN = ("box", "a.b.c", "UPPER", "1", "-", "a b", "a\nb", "h" * 64, "\u00fc" * 32, "(none)", "../x")
HOSTNAMES_REFUSED = {"h" * 65: "longer than 64 bytes", "\u00fc" * 33: "longer than 64 bytes", "a\0b": "NUL"}


class TestHostnames:
    @pytest.mark.parametrize("name", HOSTNAMES_TAKEN, ids=short)
    def test_taken(self, bundle: Bundle, inside: Inside, name: str) -> None:
        bundle.config["hostname"], bundle.config["domainname"] = name, name[::-1]
        assert inside("cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname") == f"{name}\n{name[::-1]}"

    def test_an_empty_one_is_none(self, bundle: Bundle, inside: Inside) -> None:
        bundle.config["hostname"] = ""
        assert inside("cat /proc/sys/kernel/hostname") == os.uname().nodename

    @pytest.mark.parametrize("key", ["hostname", "domainname"])
    @pytest.mark.parametrize("name, words", HOSTNAMES_REFUSED.items(), ids=short)
    def test_refused(self, runtime: Runtime, bundle: Bundle, key: str, name: str, words: str) -> None:
        bundle.config[key] = name
        refused(raw.run(runtime, "create", "--bundle", bundle.save(), new_id()), 1, words)
        assert runtime.ids() == []


CGROUPS_TAKEN = {
    "/P/box": "/P/box",
    "P/box": "/P/box",
    "P": "/P",
    "/P//box/": "/P/box",
    "/P/./box": "/P/box",
    "//P": "/P",
    "/P/with space": "/P/with space",
    "/P/\u00fc": "/P/\u00fc",
    "/P/...": "/P/...",
    "/P/-x": "/P/-x",
    "/P/a:b:c": "/P/a:b:c",
    "/P/%s": "/P/%s",
    f"/P/{LONG}": f"/P/{LONG}",
    "/P/" + "d/" * 20 + "box": "/P/" + "d/" * 20 + "box",
}
CGROUPS_REFUSED = {
    "/": "the root",
    "/.": "the root",
    "..": "must not contain",
    "/P/../x": "must not contain",
    "/P/x/..": "must not contain",
    "/P/cgroup.procs": "is a file of the kernel",
    "/P/cgroup.procs/x": "",
    "/P/a\nb": "EINVAL",
    "/P/a\0b": "NUL",
    "P:a:b": "systemd",
}


class TestCgroups:
    @pytest.mark.parametrize("path, wanted", CGROUPS_TAKEN.items(), ids=short)
    def test_taken(self, container: Make, bundle: Bundle, path: str, wanted: str) -> None:
        word = new_id()
        bundle.linux["cgroupsPath"] = path.replace("P", word)
        bundle.args("sleep", "1000")
        box = container()
        assert f"0::{wanted.replace('P', word)}" in Path(f"/proc/{box.pid}/cgroup").read_text().split("\n")
        box.delete("--force")
        assert cgroups(word) == []

    @pytest.mark.parametrize("path, words", CGROUPS_REFUSED.items(), ids=short)
    def test_refused(self, runtime: Runtime, bundle: Bundle, path: str, words: str) -> None:
        word = new_id()
        bundle.linux["cgroupsPath"] = path.replace("P", word)
        said = raw.run(runtime, "create", "--bundle", bundle.save(), new_id())
        refused(said, 1, words)
        assert "/linux/cgroupsPath" in said.line
        assert runtime.ids() == [] and cgroups(word) == []

    def test_a_file_of_a_cgroup_that_is_there(self, runtime: Runtime, container: Make, bundle: Bundle) -> None:
        """The same when the cgroup above exists: the container in it is left alone."""
        word = new_id()
        bundle.linux["cgroupsPath"] = f"/{word}"
        bundle.args("sleep", "1000")
        box = container()
        bundle.linux["cgroupsPath"] = f"/{word}/cgroup.procs"
        said = raw.run(runtime, "create", "--bundle", bundle.save(), new_id())
        refused(said, 1, "ENOTDIR")
        assert "/linux/cgroupsPath" in said.line
        assert runtime.ids() == [box.id] and box.status == "running"


ARGUMENTS = ("", " ", "a b", "\n", "\u00fc", "-x", "--", "$HOME", "*", "'", '"', "\\", "\x1b[31m", "x" * 100000)
PROGRAMS_REFUSED: dict[str, str] = {
    "": "executable file not found in $PATH",
    "nosuch": "executable file not found in $PATH",
    "/nosuch": "no such file or directory",
    "./nosuch": "no such file or directory",
    "/etc": "is a directory",
    "/etc/passwd": "permission denied",
    "/etc/passwd/x": "not a directory",
    "/bin/": "is a directory",
    LONG + "n": "",
    "/loop": "too many levels of symbolic links",
    "a\0b": "NUL",
    "-x": "executable file not found in $PATH",
}


class TestArguments:
    @pytest.mark.parametrize("word", ARGUMENTS, ids=short)
    def test_taken(self, runtime: Runtime, bundle: Bundle, word: str) -> None:
        given = ["sh", "-c", "cat /proc/$$/cmdline; :", "name", word, "after", word]
        bundle.args(*given)
        out = raw.ok(runtime, "run", "--bundle", bundle.save(), new_id())
        assert out == "".join(f"{each}\0" for each in given).encode()

    @pytest.mark.parametrize("name, words", PROGRAMS_REFUSED.items(), ids=short)
    def test_programs_refused(self, runtime: Runtime, bundle: Bundle, name: str, words: str) -> None:
        (bundle.rootfs / "loop").symlink_to("loop")
        bundle.args(name)
        said = raw.run(runtime, "create", "--bundle", bundle.save(), new_id())
        refused(said, 1, words)
        assert "/process/args" in said.line
        assert runtime.ids() == []


DIRECTORIES_TAKEN = {
    "/": "/",
    "/tmp": "/tmp",
    "/tmp/": "/tmp",
    "//tmp": "/tmp",
    "/./tmp/.": "/tmp",
    "/tmp/../root": "/root",
    "/..": "/",
    "/var/run": "/run",
    "/made/by/the/runtime": "/made/by/the/runtime",
    "/with space": "/with space",
    "/\u00fc": "/\u00fc",
    "/a\nb": "/a\nb",
    f"/{LONG}": f"/{LONG}",
}
DIRECTORIES_REFUSED = {
    "": "",
    "tmp": "not an absolute path",
    "./tmp": "not an absolute path",
    "/etc/passwd": "ENOTDIR",
    "/etc/passwd/x": "ENOTDIR",
    "/loop": "ELOOP",
    f"/{LONG}n": "ENAMETOOLONG",
    "/a\0b": "NUL",
    "/proc/self/fd/3": "",
    "/proc/nosuch": "",
}


class TestDirectories:
    @pytest.mark.parametrize("path, wanted", DIRECTORIES_TAKEN.items(), ids=short)
    def test_taken(self, bundle: Bundle, inside: Inside, path: str, wanted: str) -> None:
        bundle.process["cwd"] = path
        assert inside("readlink /proc/self/cwd") == wanted

    @pytest.mark.parametrize("path, words", DIRECTORIES_REFUSED.items(), ids=short)
    def test_refused(self, runtime: Runtime, bundle: Bundle, path: str, words: str) -> None:
        (bundle.rootfs / "loop").symlink_to("loop")
        bundle.process["cwd"] = path
        said = raw.run(runtime, "create", "--bundle", bundle.save(), new_id())
        refused(said, 1, words)
        assert "/process/cwd" in said.line
        assert runtime.ids() == []


USERS_TAKEN = {
    "0": "0 0",
    "00": "0 0",
    "1000": "1000 0",
    "1000:2000": "1000 2000",
    "0:5": "0 5",
    "65534:65534": "65534 65534",
    "4294967294": "4294967294 0",
}
USERS_REFUSED = (
    "",
    "root",
    "-1",
    "1.5",
    "0x10",
    "1000:",
    ":5",
    "1000:x",
    "4294967295",
    "99999999999",
    "\u0663",
    " 5",
    "5:6:7",
)


class TestUsers:
    def test_taken(self, container: Make, bundle: Bundle) -> None:
        bundle.args("sleep", "1000")
        box = container()
        found = {name: box.sh('echo "$(id -u) $(id -g)"', "--user", name) for name in USERS_TAKEN}
        assert found == USERS_TAKEN

    def test_refused(self, container: Make, runtime: Runtime, bundle: Bundle) -> None:
        bundle.args("sleep", "1000")
        box = container()
        for name in USERS_REFUSED:
            refused(raw.run(runtime, "exec", f"--user={name}", box.id, "true"), 255, "--user")

    @pytest.mark.parametrize("name", ["root", "", "nobody", "0:0", "\u00fc", "a\nb"], ids=short)
    def test_the_name_in_the_config_is_of_another_platform(self, bundle: Bundle, inside: Inside, name: str) -> None:
        """config.md "User": username is for Windows; here the numbers count."""
        bundle.process["user"] = {"uid": 7, "gid": 8, "username": name}
        assert inside('echo "$(id -u) $(id -g)"') == "7 8"


BUNDLES_TAKEN = (
    "plain",
    "with space",
    "\u00fc",
    "a\nb",
    "-x",
    "--help",
    "~",
    "%s",
    ".hidden",
    "a:b",
    "x/",
    "x/../x",
    "//x",
    LONG,
)
BUNDLES_REFUSED = {
    "nowhere": "ENOENT",
    "file": "not a directory",
    "file/x": "ENOTDIR",
    "loop": "ELOOP",
    f"{LONG}n": "ENAMETOOLONG",
    "empty": "config.json",
}


class TestBundles:
    @pytest.mark.parametrize("name", BUNDLES_TAKEN, ids=short)
    def test_taken(self, runtime: Runtime, bundle: Bundle, workdir: Path, name: str) -> None:
        """As an argument, and as the directory in which the command runs."""
        bundle.config["root"]["path"] = str(bundle.rootfs)
        folder = Path(os.path.normpath(f"{workdir}/bundles/{name}"))
        folder.mkdir(parents=True)
        bundle.save()
        (folder / "config.json").write_bytes((bundle.path / "config.json").read_bytes())
        one, other = new_id(), new_id()
        raw.ok(runtime, "create", f"--bundle={workdir}/bundles/{name}", one)
        raw.ok(runtime, "create", other, cwd=folder)
        for each in (one, other):
            assert self.bundle_of(runtime, each) == str(folder)
            raw.ok(runtime, "delete", "--force", each)

    def bundle_of(self, runtime: Runtime, name: str) -> Any:
        return json.loads(raw.ok(runtime, "state", name))["bundle"]

    @pytest.mark.parametrize("name, words", BUNDLES_REFUSED.items(), ids=short)
    def test_refused(self, runtime: Runtime, workdir: Path, name: str, words: str) -> None:
        (workdir / "file").touch()
        (workdir / "empty").mkdir()
        (workdir / "loop").symlink_to("loop")
        refused(raw.run(runtime, "create", "--bundle", workdir / name, new_id()), 1, words)
        assert runtime.ids() == []

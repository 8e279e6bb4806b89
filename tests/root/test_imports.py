"""No code of the image runs with the runtime's rights because something is loaded late (CVE-2019-14271's kind).

The image has a canary in the place of every module of the standard library and of the runtime, wherever the interpreter
looks for one.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support import paths, raw
from support.bundle import Bundle, dict_of
from support.fixtures import Make
from support.runtime import ENVIRONMENT, Runtime, new_id

import pyruntime

CANARY = "open(__file__ + '.ran', 'a').close()\n"
PACKAGES = ("encodings", "pyruntime", "importlib", "json", "re", "pyroute2", "jsonschema")
SITE_PACKAGES = Path(pyruntime.__file__).resolve().parents[1]
STDLIB, EXTENSIONS = sysconfig.get_path("stdlib"), str(sysconfig.get_config_var("DESTSHARED"))
PLACES = ("/", STDLIB, EXTENSIONS, str(SITE_PACKAGES), "/usr/local/lib")

pytestmark = pytest.mark.skipif(paths.PEER is not None, reason="the peers are not written in Python")


@pytest.fixture
def planted(bundle: Bundle) -> Bundle:
    """The bundle with canaries, writable and with an environment that points to them."""
    bundle.config["root"]["readonly"] = False
    bundle.process["env"] = ["PATH=/bin", "PYTHONPATH=/", "PYTHONHOME=/", "LANG=xx_YY.KOI8-R", "LC_ALL=xx_YY.KOI8-R"]
    for place in PLACES:
        folder = bundle.rootfs / place.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name in sorted(sys.stdlib_module_names - set(PACKAGES)):
            (folder / f"{name}.py").write_text(CANARY)
        for name in PACKAGES:
            (folder / name).mkdir(exist_ok=True)
            (folder / name / "__init__.py").write_text(CANARY)
        for name in ("cp1252", "idna", "utf_8", "aliases"):
            (folder / "encodings" / f"{name}.py").write_text(CANARY)
    (bundle.rootfs / "etc/ld.so.preload").write_text("/canary.so\n")
    return bundle


def ran(bundle: Bundle) -> list[str]:
    return sorted(str(path.relative_to(bundle.rootfs)) for path in bundle.rootfs.rglob("*.ran"))


def test_create_start_exec_and_failures(container: Make, runtime: Runtime, planted: Bundle) -> None:
    """Whatever fails inside tells why: what looked for a module would tell of that instead."""
    box = container()
    raw.ok(runtime, "exec", box.id, "true")
    refused = (
        ([box.id, "no-such-program-\udcff"], r'exec: "no-such-program-\xff": executable file not found'),
        (["--cwd", "/no\udcffwhere", box.id, "true"], r'chdir("/no\xffwhere"): no such file'),
        ([box.id, "/\udcff"], r"stat /\xff: no such file"),
    )
    for arguments, words in refused:
        assert words in raw.run(runtime, "exec", *arguments).error
    planted.args("missing\u20ac\u2028")
    error = raw.run(runtime, "create", "--bundle", planted.save(), new_id()).error
    assert r'exec: "missing€\u2028": executable file not found' in error
    assert ran(planted) == []


@pytest.mark.parametrize("kind", ["createContainer", "startContainer"])
def test_a_hook_inside_that_prints_raw_bytes(runtime: Runtime, planted: Bundle, kind: str) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "printf '\\377\\303('; exit 3"]}
    dict_of(planted.config, "hooks")[kind] = [hook]
    name = new_id()
    said = raw.run(runtime, "create", "--bundle", planted.save(), name)
    if kind == "startContainer":
        said = raw.run(runtime, "start", name)
    assert r"exit status 3, output: \xff\xc3(" in said.error
    assert ran(planted) == []


# A command with one more thing to do in init, once it is inside: whatever there is to import.
IMPORTING = """
import sys
sys.path.append({packages!r})
from pyruntime import cli, options
from pyruntime.engine import calls
from pyruntime.lifecycle import protection
import {module} as command

find_program = calls.find_program

def then_import(*args):
    for each in sorted(sys.stdlib_module_names) + ["encodings.cp1252", "pyruntime.nothing", "jsonschema", "pyroute2"]:
        if each in sys.modules or each in {skipped!r}:
            continue
        try:
            __import__(each)
        except ImportError:
            refused.append(each)
        except Exception:
            imported.append(each + "?")
        else:
            imported.append(each)
    for name_of_codec in ("cp1252", "idna", "koi8-r"):
        try:
            "x".encode(name_of_codec)
        except LookupError:
            refused.append(name_of_codec)
        except Exception:
            imported.append(name_of_codec + "?")
        else:
            imported.append(name_of_codec)
    print(len(refused), "refused", "imported:", *imported, flush=True)
    return find_program(*args)

protection.passed = True
refused, imported = [], []
calls.find_program = then_import
asked = options.Options()
for table in (options.GLOBAL, options.COMMANDS[{command!r}].options):
    cli.clear(asked, table)
asked.command, asked.root, asked.bundle, asked.args, asked.detach = {command!r}, {root!r}, {bundle!r}, {args!r}, False
cli.settle(asked)
sys.exit(command.{function}(asked))
"""
SKIPPED = ("antigravity", "this", "idlelib", "turtledemo")
"""Modules of the standard library that do something when they are imported."""


def importing(runtime: Runtime, bundle: Bundle, command: str, *args: str) -> str:
    """Run a command as a library, in an interpreter with everything set up; return what its init prints."""
    module, function = {"create": ("create", "create"), "exec": ("exec", "exec_")}[command]
    code = IMPORTING.format(
        packages=str(SITE_PACKAGES),
        module=f"pyruntime.commands.{module}",
        function=function,
        command=command,
        skipped=SKIPPED,
        root=str(runtime.root),
        bundle=str(bundle.path),
        args=list(args),
    )
    said = raw.run_command([sys.executable, "-I", "-S", "-W", "ignore", "-c", code], env=ENVIRONMENT)
    assert said.status == 0 and said.err == b"", said
    return said.out.decode()


def test_an_import_in_init_is_refused(runtime: Runtime, planted: Bundle) -> None:
    name = new_id()
    planted.save()
    said = importing(runtime, planted, "create", name)
    refused, _, imported = said.partition(" refused imported:")
    assert int(refused) > 150
    assert imported.strip() == ""
    assert ran(planted) == []
    raw.ok(runtime, "delete", "--force", name)


def test_an_import_in_exec_is_refused(container: Make, runtime: Runtime, planted: Bundle) -> None:
    box = container()
    said = importing(runtime, planted, "exec", box.id, "true")
    refused, _, imported = said.partition(" refused imported:")
    assert int(refused) > 150
    assert imported.strip() == ""
    assert ran(planted) == []


def test_the_canary_would_tell(planted: Bundle) -> None:
    """An interpreter in the image's root loads it, from each of the places."""
    for place in PLACES:
        code = f"import sys; sys.path.insert(0, {str(planted.rootfs / place.lstrip('/'))!r}); import colorsys"
        subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code], check=True)
    assert len(ran(planted)) == len(PLACES)

"""The setuptools commands, extended to build the launcher, and the extension modules."""

import shutil
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

from . import ROOT, commit, compiler, launcher

SCHEMA = "config.schema.json"
HEADERS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "pyruntime/kernel/src").glob("*.h"))


class BuildPython(build_py):
    """Also builds the launcher, writes the commit, and puts the schema next to the code that reads it."""

    def run(self) -> None:
        launcher.build()
        super().run()
        package = Path(self.build_lib) / "pyruntime"
        commit.write_module(package / "_build.py")
        (package / "spec").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "specs" / SCHEMA, package / "spec" / SCHEMA)


class SourceDistribution(sdist):
    """Also records the commit, because a distribution is built without a repository."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        (Path(base_dir) / commit.RECORDED).write_text(commit.commit() + "\n")


def extension(name: str, sources: list[str], libraries: list[str]) -> Extension:
    return Extension(
        name,
        sources,
        depends=HEADERS,
        libraries=libraries,
        extra_compile_args=[*compiler.FLAGS, *compiler.hardening()],
        extra_link_args=compiler.link_hardening(),
    )


def extensions() -> list[Extension]:
    """Return the extension modules: one for system calls, and one for code that needs libseccomp."""
    linux = [source for source in launcher.KERNEL_SOURCES if source not in launcher.SECCOMP_SOURCES]
    return [
        extension("pyruntime.kernel._linux", linux, []),
        extension("pyruntime.kernel._seccomp", launcher.SECCOMP_SOURCES, ["seccomp"]),
    ]


COMMANDS = {"build_py": BuildPython, "sdist": SourceDistribution}

"""The files of Debian packages and of all they depend on, as they are installed here."""

import os
import subprocess
from collections.abc import Iterable
from typing import NamedTuple

FORMAT = "${Package}\t${Version}\t${Essential}\t${db:Status-Status}\t${Provides}\t${Pre-Depends}, ${Depends}\n"
UNNEEDED = ("/boot/", "/usr/share/doc/", "/usr/share/info/", "/usr/share/locale/", "/usr/share/man/")


class Package(NamedTuple):
    """An installed package; depends holds one list of alternatives for each dependency."""

    version: str
    essential: bool
    provides: list[str]
    depends: list[list[str]]


def _names(text: str) -> list[str]:
    return [name for part in text.split("|") if (name := part.partition("(")[0].partition(":")[0].strip())]


def installed() -> dict[str, Package]:
    """Return every installed package by its name."""
    listing = subprocess.run(["dpkg-query", "-W", "-f", FORMAT], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in listing.splitlines():
        name, version, essential, status, provides, depends = line.split("\t")
        if status == "installed":
            found[name] = Package(
                version,
                essential == "yes",
                [each for part in provides.split(",") for each in _names(part)],
                [_names(part) for part in depends.split(",") if part.strip()],
            )
    return found


def closure(wanted: Iterable[str]) -> dict[str, str]:
    """Return the versions of the wanted packages, of the essential ones, and of all that these depend on.

    Raises KeyError when a wanted package is not installed.
    """
    packages = installed()
    providers = {virtual: name for name, package in packages.items() for virtual in package.provides}
    pending = [*wanted, *(name for name, package in packages.items() if package.essential)]
    versions: dict[str, str] = {}
    while pending:
        name = pending.pop()
        if name in versions:
            continue
        versions[name] = packages[name].version
        for alternatives in packages[name].depends:
            found = [each if each in packages else providers.get(each) for each in alternatives]
            pending += [each for each in found[:1] + found if each is not None][:1]
    return versions


def files(names: Iterable[str]) -> list[str]:
    """Return the paths of the packages' files and links, documentation left out."""
    listing = subprocess.run(["dpkg", "-L", *names], capture_output=True, text=True, check=True).stdout
    paths = {path for path in listing.splitlines() if path.startswith("/") and not path.startswith(UNNEEDED)}
    return sorted(path for path in paths if os.path.islink(path) or os.path.isfile(path))

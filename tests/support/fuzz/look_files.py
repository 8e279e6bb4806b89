"""The file systems of a running container compared with what its config asks for; the part of `look` about mounts."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def same(what: str, asked: Any, found: Any) -> list[str]:
    return [] if asked == found else [f"otherwise: {what} is {found!r:.200} and should be {asked!r:.200}"]


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def clean(path: str) -> str:
    return os.path.normpath("/" + path.lstrip("/"))


LASTING = {"ro": ("ro", "rw"), "nosuid": ("nosuid", "suid"), "nodev": ("nodev", "dev"), "noexec": ("noexec", "exec")}
"""Attribute -> the options that set and clear it; the last one of a list counts."""


def root(config: dict[str, Any], pid: int, _: Any) -> Iterator[str]:
    """The root file system: whether it is read-only, and what it shares mounts with."""
    if "mount" not in {entry["type"] for entry in config["linux"].get("namespaces") or []}:
        return
    lines = Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape").split("\n")[:-1]
    words = [line.split(" ") for line in lines if line.split(" ")[4] == "/"][-1]
    yield from same("read-only root", bool(config["root"].get("readonly")), "ro" in words[5].split(","))
    propagation = (config["linux"].get("rootfsPropagation") or "").removeprefix("r")
    if propagation:
        tags = {word.partition(":")[0] for word in words[6 : words.index("-")]}
        wanted = {"shared": {"shared"}, "slave": {"master"}, "unbindable": {"unbindable"}}.get(propagation, set())
        yield from same("propagation of the root", wanted, tags & {"shared", "master", "unbindable"})


def mount_table(pid: int) -> list[tuple[str, set[str], str]]:
    """Return what is mounted: place, options, file system type; the last one at a place is on top."""
    found: dict[str, tuple[str, tuple[str, set[str], str]]] = {}
    for line in Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape").split("\n")[:-1]:
        left, _, right = line.partition(" - ")
        words, (kind, _, super_options) = left.split(" "), right.split(" ", 2)
        place = words[4].replace("\\040", " ").replace("\\012", "\n").replace("\\011", "\t").replace("\\134", "\\")
        options = set(words[5].split(",")) | {f"sb:{each}" for each in super_options.split(",")}
        found[words[0]] = words[1], (place, options, kind)

    def depth(number: str) -> int:
        return 1 + depth(found[number][0]) if number in found and found[number][0] != number else 0

    # The kernel lists them by number, and a mount that was cloned early may have been put on a later one.
    return [entry for _, (_, entry) in sorted(found.items(), key=lambda each: depth(each[0]))]


def mounts(config: dict[str, Any], pid: int, _: Any) -> Iterator[str]:
    """Attributes of what is mounted where the config says, unless a later mount or a link makes it another place."""
    entries = {entry["type"] for entry in config["linux"].get("namespaces") or []}
    listed = config.get("mounts") or []
    places = [clean(each["destination"]) for each in listed]
    table = mount_table(pid)
    if "mount" not in entries:
        return
    for index, mount in enumerate(listed):
        place = places[index]
        later = [each for each in places[index + 1 :] if place == each or place.startswith(f"{each}/")]
        if later or any(goes_elsewhere(pid, each) for each in (place, *places[index + 1 :])):
            continue
        words = [word for option in mount.get("options") or [] for word in option.split(",")]
        if "remount" in words:
            continue
        here = [each for each in table if each[0] == place]
        if not here:
            yield f"otherwise: nothing is mounted on {place!r}, /mounts/{index}"
            continue
        if any(
            place == each or place.startswith(f"{each}/")
            for each in map(clean, config["linux"].get("maskedPaths") or [])
        ):
            continue
        yield from what_is_there(config, pid, index, here[-1][2])
        yield from what_is_below(mount, words, place, table, index)
        if mount.get("type") in ("cgroup", "cgroup2") and "cgroup" not in entries:
            if "ro" not in here[-1][1] and not has_the_hosts_rights(config, entries):
                yield f"otherwise: the host's cgroups can be written on {place!r}, /mounts/{index}"
            continue
        for name, (sets, clears) in LASTING.items():
            if {f"r{sets}", f"r{clears}"} & set(words):
                continue  # recursive ones change the mount itself too, and come last
            last = [word for word in words if word in (sets, clears)]
            covered_later = name == "ro" and place in map(clean, config["linux"].get("readonlyPaths") or [])
            if last and (last[-1] == sets) != (name in here[-1][1]) and not covered_later:
                ask = f"{last[-1]!r} is asked for on {place!r}, /mounts/{index}"
                yield f"otherwise: {ask}, and it has {sorted(here[-1][1] & {*LASTING, 'rw'})}"


def has_the_hosts_rights(config: dict[str, Any], entries: set[str]) -> bool:
    """Whether the program may change what is the host's anyway."""
    sets = config["process"].get("capabilities") or {}
    return "user" not in entries and "CAP_SYS_ADMIN" in map(str.upper, sets.get("bounding") or [])


def what_is_there(config: dict[str, Any], pid: int, index: int, kind: str) -> Iterator[str]:
    """A new file system has its type; a bind is of the file that its source leads to on the host."""
    mount = config["mounts"][index]
    words = [word for option in mount.get("options") or [] for word in option.split(",")]
    place = clean(mount["destination"])
    if mount.get("type") != "bind" and not {"bind", "rbind"} & set(words):
        asked = mount.get("type")
        yield from same(f"the type of {place!r}, /mounts/{index}", "cgroup2" if asked == "cgroup" else asked, kind)
        return
    source = mount["source"]
    if not source.startswith("/") or "/bundle/" in source or source in ("/proc", "/sys"):
        return
    theirs, ours = os.stat(encoded(f"/proc/{pid}/root{place}")), os.stat(encoded(source))
    yield from same(
        f"the file on {place!r}, /mounts/{index}", (ours.st_dev, ours.st_ino), (theirs.st_dev, theirs.st_ino)
    )


def what_is_below(
    mount: dict[str, Any], words: list[str], place: str, table: list[tuple[str, set[str], str]], index: int
) -> Iterator[str]:
    """What is mounted below a source comes along with rbind, and does not with bind alone."""
    if clean(mount.get("source") or "").endswith("/data/dir") and {"bind", "rbind"} & set(words):
        there = [each for each in table if each[0] == clean(f"{place}/below")]
        yield from same(
            f"that mounts come along, with {words} on {place!r}, /mounts/{index}", "rbind" in words, bool(there)
        )


def goes_elsewhere(pid: int, place: str) -> bool:
    """Whether a link is on the way to a place."""
    full, way = f"/proc/{pid}/root", place.split("/")[1:]
    for part in way:
        full += f"/{part}"
        if os.path.islink(encoded(full)):
            return True
    return False


def is_of_a_process(place: str) -> bool:
    """Whether there may be another process at a path below /proc by now."""
    return place.startswith("/proc/") and (place.split("/")[2].isdigit() or place.startswith("/proc/self"))


def covered(config: dict[str, Any], pid: int, _: Any) -> Iterator[str]:
    """Masked paths are empty or no files, read-only ones are mounted read-only."""
    root = f"/proc/{pid}/root"
    for path in config["linux"].get("maskedPaths") or []:
        place = clean(path)
        if ".." in path or goes_elsewhere(pid, place) or is_of_a_process(place):
            continue
        try:
            stats = os.stat(encoded(root + place))
            is_empty = os.path.isdir(root + place) and not os.listdir(root + place)
        except (FileNotFoundError, NotADirectoryError, PermissionError, OSError):
            continue
        if not is_empty and stats.st_rdev != os.makedev(1, 3):
            yield f"otherwise: {place!r} is not masked"
    table = mount_table(pid)
    masked = {clean(each) for each in config["linux"].get("maskedPaths") or []}
    for path in config["linux"].get("readonlyPaths") or []:
        place = clean(path)
        if (
            ".." in path
            or goes_elsewhere(pid, place)
            or is_of_a_process(place)
            or not os.path.exists(encoded(root + place))
        ):
            continue
        if any(place == each or place.startswith(f"{each}/") for each in masked):
            continue
        here = [each for each in table if each[0] == place]
        if not here or "ro" not in here[-1][1]:
            yield f"otherwise: {place!r} is not read-only"


def devices(config: dict[str, Any], pid: int, _: Any) -> Iterator[str]:
    places = [clean(each["destination"]) for each in config.get("mounts") or []]
    masked = [clean(each) for each in config["linux"].get("maskedPaths") or []]
    if any(clean(each["destination"]) == "/dev" and each.get("type") != "tmpfs" for each in config.get("mounts") or []):
        return  # a /dev that is bound is another's, where no devices are made
    for device in config["linux"].get("devices") or []:
        place = clean(device["path"])
        others = [each for each in places if place == each or (place.startswith(f"{each}/") and each != "/dev")]
        hidden = [each for each in masked if place == each or place.startswith(f"{each}/")]
        if place == "/dev/console" and config["process"].get("terminal"):
            continue  # the terminal is on it (config-linux.md "Default Devices")
        if others or hidden or goes_elsewhere(pid, place) or device["type"] not in ("c", "u", "b"):
            continue
        try:
            stats = os.stat(encoded(f"/proc/{pid}/root{place}"))
        except FileNotFoundError:
            yield f"otherwise: there is no device {place!r}"
            continue
        yield from same(f"device {place!r}", os.makedev(device["major"], device["minor"]), stats.st_rdev)


ALL = (root, mounts, covered, devices)

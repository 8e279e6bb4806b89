"""Cases: made from a seed and a number, the same on every machine and whatever else is run."""

import json
from random import Random
from typing import Any

from pyruntime.errors import Failure
from pyruntime.spec import _validator, checks
from support import engine_configs, paths
from support.fuzz import anywhere, around, edits, mounts, namespaces, process

CREATE_OPTIONS = (
    *(
        ["--no-pivot"],
        ["--no-new-keyring"],
        ["--preserve-fds", "1"],
        ["--preserve-fds", "50"],
        ["--pid-file", "@CASE@/pid/file"],
    ),
    *(["--pid-file", "@CASE@/nowhere/pid"], ["--console-socket", "@CASE@/nowhere.sock"], ["--systemd-cgroup"]),
)
OTHERS = 0.06
"""How many cases have an option of create beside."""
GENTLE = 0.75
"""How many cases are gentle, see `made`."""
TRIES = 4
"""How often another mutation is tried in the place of one that can't be."""
SUBJECTS = (mounts.ALL, mounts.ALL, namespaces.ALL, process.ALL, around.ALL, anywhere.ALL)


class Case:
    """One config and what is changed in it. options: of create."""

    def __init__(self, base: str, changes: list[edits.Edit], options: list[str], name: str = "given") -> None:
        self.base = base
        self.edits = changes
        self.options = options
        self.name = name

    def document(self) -> dict[str, Any]:
        """Return the config, with words like @CASE@ for what differs from run to run."""
        config = edits.applied(base_config(self.base), self.edits)
        assert isinstance(config, dict)
        return config

    def text(self) -> str:
        """Return the case as one line of JSON, as `parsed` reads it."""
        return json.dumps({"base": self.base, "edits": self.edits, "options": self.options})

    def with_edits(self, changes: list[edits.Edit]) -> "Case":
        return Case(self.base, changes, self.options, self.name)


_bases: dict[str, dict[str, Any]] = {}


def base_names() -> list[str]:
    return [*engine_configs.names(), "busybox"]


def base_config(name: str) -> dict[str, Any]:
    """Return an engine's config, or that of the busybox bundle, with words for what belongs to a machine."""
    if name not in _bases:
        if name == "busybox":
            config = json.loads((paths.BUSYBOX_BUNDLE / "config.json").read_text())
            config["process"]["args"] = ["/bin/sleep", "1000"]
        else:
            config = engine_configs.load(name)
            engine_configs.adapt(config, _source, _namespace)
        config["linux"]["cgroupsPath"] = "/fuzz/box"
        _bases[name] = config
    found: dict[str, Any] = edits.copied(_bases[name])
    return found


def _source(_name: str, is_file: bool) -> str:
    return "@CASE@/data/file" if is_file else "@CASE@/data/dir"


def _namespace(kind: str) -> str:
    return f"/proc/@POD@/ns/{namespaces.FILES.get(kind, kind)}"


def made(seed: str, number: int) -> Case:
    """Return the case of that number: one to five mutations, most of them by the rules of a subject.

    Most cases are gentle: mutations that break a rule of the spec, and so would be refused before anything is made, are
    given up for others.
    """
    chance = Random(f"{seed}:{number}")
    base = chance.choice(base_names())
    config = base_config(base)
    changes: list[edits.Edit] = []
    is_gentle = chance.random() < GENTLE
    for _ in range(chance.choice((1, 1, 2, 2, 3, 4, 6) if is_gentle else (1, 1, 2))):
        for _ in range(TRIES):
            new, made_of = edits.copied(config), []
            subject = chance.choice(SUBJECTS)
            for edit in chance.choice(subject)(chance, new):
                edit = edits.copied(edit)
                if edits.apply(new, edit):
                    made_of.append(edit)
            if not is_gentle or may_be_made(new):
                config = new
                changes += made_of
                break
    options = list(chance.choice(CREATE_OPTIONS)) if chance.random() < OTHERS else []
    return Case(base, changes, options, f"{seed}:{number}")


def may_be_made(config: Any) -> bool:
    """Whether a config breaks no rule of the spec that can be seen in its text."""
    try:
        if not _validator.is_valid(config):
            return False
        checks.check(config)
    except Failure:
        return False
    except Exception:
        return True  # a fault of the runtime's, which the case is to show
    return True


def parsed(text: str) -> Case:
    """Return the case that a line of JSON describes, or that "SEED:NUMBER" names."""
    if not text.lstrip().startswith("{"):
        seed, _, number = text.rpartition(":")
        return made(seed, int(number))
    document = json.loads(text)
    return Case(document["base"], document["edits"], document.get("options", []))

"""The command line of `update`: what its options ask for, and what is refused."""

import json
from typing import Any

import pytest

from pyruntime import cli
from pyruntime import options as tables
from pyruntime.commands import update as command
from pyruntime.errors import InvalidConfig, UsageFailure
from pyruntime.lifecycle import update
from pyruntime.options import Options

MIB = 1 << 20


def request(line: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what read_request says of a command line."""
    options = Options()
    cli.clear(options, tables.GLOBAL)
    cli.clear(options, tables.UPDATE)
    options.args = cli.parse(line.split(), tables.UPDATE, options, stop=False)
    return command.read_request(options)


class TestCommandLine:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("134217728", 134217728),
            ("128m", 128 * MIB),
            ("128M", 128 * MIB),
            ("128MB", 128 * MIB),
            ("128MiB", 128 * MIB),
            ("128 MiB", 128 * MIB),
            ("1.5g", 3 << 29),
            (".5k", 512),
            ("10b", 10),
            ("2t", 2 << 40),
            ("1p", 1 << 50),
            ("0", 0),
            ("-1", -1),
        ],
    )
    def test_sizes(self, text: str, value: int) -> None:
        assert command.size("memory", text) == value

    @pytest.mark.parametrize(
        "text", ["", "m", "1x", "1mm", "-2", "-1m", "1e3", "1.2.3m", "0x10", "\u0661", "9e", "99999999p"]
    )
    def test_what_is_no_size(self, text: str) -> None:
        with pytest.raises(UsageFailure, match="--memory"):
            command.size("memory", text)

    def test_all_options(self) -> None:
        given, places = request(
            "--memory 64m --memory-reservation 32m --memory-swap -1 --cpu-quota -1 --cpu-period 50000 --cpu-burst 0 "
            "--cpu-share 512 --cpu-idle 0 --cpuset-cpus 0-1 --cpuset-mems 0 --pids-limit 0 --blkio-weight 10 x"
        )
        assert given == {
            "memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": -1},
            "cpu": {
                "quota": -1, "period": 50000, "burst": 0, "shares": 512, "idle": 0, "cpus": "0-1", "mems": "0",
            },
            "pids": {"limit": 0},
            "blockIO": {"weight": 10},
        }  # fmt: skip
        assert places["/memory/swap"] == "--memory-swap" and places["/cpu/shares"] == "--cpu-share"

    def test_every_option_is_read_or_refused(self) -> None:
        assert {*command.OPTIONS, *command.REFUSED, "resources"} == set(tables.UPDATE)

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("x", "needs --resources or a limit"),
            ("--memory= x", "needs --resources or a limit"),
            ("--cpu-quota 1.5 x", "--cpu-quota: '1.5'"),
            ("--cpu-quota -2 x", "--cpu-quota: '-2' is not a whole number from -1"),
            ("--cpu-period -1 x", "--cpu-period"),
            ("--cpu-idle 2 x", "--cpu-idle: '2' is not a whole number from 0 to 1"),
            ("--pids-limit many x", "--pids-limit"),
            ("--blkio-weight 5 x", "--blkio-weight: '5' is not a whole number from 10 to 1000"),
            ("--cpu-share 99999999999999999999 x", "--cpu-share"),
            ("--l3-cache-schema L3:0=f x", "--l3-cache-schema: Intel RDT is not supported"),
            ("--resources - --mem-bw-schema MB:0=50 x", "--mem-bw-schema: Intel RDT is not supported"),
            ("--resources - --memory 5m x", "--memory can't be combined with --resources"),
        ],
    )
    def test_refused(self, line: str, said: str) -> None:
        with pytest.raises(UsageFailure, match=said):
            request(line)

    def test_a_pointer_becomes_a_place_of_the_request(self) -> None:
        wrong = InvalidConfig("no", pointer="/linux/resources/memory/limit")
        assert str(command.located(wrong, {"/memory/limit": "--memory"})) == "no [--memory]"
        wrong = InvalidConfig("no", pointer="/linux/resources/memory/limit", hint="try")
        assert str(command.located(wrong, {"": "r.json"})) == "no [r.json#/memory/limit]; try"


ZERO = {"type": "c", "major": 1, "minor": 5}


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ({"allow": True, "access": "rwm"}, "rwm"),
        ({"allow": True, "access": "wr"}, "wr"),
        ({"allow": True, "access": "rwa"}, "rw"),
        ({"allow": True, "access": "a"}, None),
        ({"allow": True, "access": "RWM"}, None),
        ({"allow": True, "access": "r "}, "r"),
        ({"allow": False, "access": "ra"}, "rwm"),
        ({"allow": False, "access": "x"}, "rwm"),
        ({"allow": False, "access": "w"}, "w"),
        ({"allow": "yes", "access": "x"}, "rwm"),
        ({"allow": True, "access": ""}, ""),
        ({"allow": True, "access": 5}, 5),
    ],
)
def test_letters_that_are_none(rule: dict[str, Any], left: Any) -> None:
    """They allow nothing, and a rule that denies denies everything; the form of the rest is checked as ever."""
    given: dict[str, Any] = {"devices": [{**ZERO, **rule}, {**ZERO, "allow": True}]}
    update.forgive(given)
    rest = {**ZERO, "allow": True}
    assert given["devices"] == ([rest] if left is None else [{**ZERO, **rule, "access": left}, rest])


@pytest.mark.parametrize("document", [{}, {"devices": None}, {"devices": 1}, {"devices": [1]}, {"blockIO": []}])
def test_what_has_no_such_form_is_left_alone(document: dict[str, Any]) -> None:
    given = json.loads(json.dumps(document))
    update.forgive(given)
    assert given == document

"""Signals to a container that waits for `start`: which end it, and which the program never hears of; and KILL for those
that an init has left behind.

As runc: what ends a program of Go ends the container, whichever pid namespace it is in, and all else is dropped.
"""

import signal

import pytest
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Container, process_runs, wait_for

ENDS = ("HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "SEGV", "TERM", "STKFLT", "SYS")
DROPPED = (
    *("USR1", "USR2", "PIPE", "ALRM", "CHLD", "CONT", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM"),
    *("PROF", "WINCH", "IO", "PWR", "RTMIN", "RTMIN+3", "RTMAX"),
)


def number_of(name: str) -> int:
    """Return the number of a signal by the names of Python's module."""
    word, plus, more = name.partition("+")
    return signal.Signals[f"SIG{word}"] + (int(more) if plus else 0)


@pytest.mark.parametrize("pid_namespace", ["", None], ids=["own", "host"])
class TestWaitingInit:
    """Both with a pid namespace of its own, where pid 1 has what it does not handle ignored, and without."""

    @pytest.mark.parametrize("name", ENDS)
    def test_ends(self, container: Make, bundle: Bundle, pid_namespace: str | None, name: str) -> None:
        bundle.namespaces(pid=pid_namespace)
        box = container(start=False)
        box.kill(name)
        wait_for(lambda: box.status == "stopped", f"{name} ends it")

    def test_dropped(self, container: Make, bundle: Bundle, pid_namespace: str | None) -> None:
        """None of them ends init, interrupts its wait, or reaches the program, which has its own action for each."""
        bundle.namespaces(pid=pid_namespace)
        numbers = [str(number_of(name)) for name in DROPPED if name != "CHLD"]
        traps = "".join(f"trap 'echo got {number}' {number}; " for number in numbers)
        bundle.sh(f"{traps} echo began; read -t 0.2 line < /dev/zero; echo end")
        box = container(start=False)
        for name in DROPPED:
            box.kill(name)
        assert box.status == "created"
        box.start()
        box.wait_stopped()
        assert box.output == "began\nend\n"

    def test_the_program_has_none_ignored(self, container: Make, bundle: Bundle, pid_namespace: str | None) -> None:
        bundle.namespaces(pid=pid_namespace)
        bundle.args("grep", "-E", "Sig(Blk|Ign|Pnd)|ShdPnd", "/proc/self/status")
        box = container(start=False)
        box.kill("USR1")
        box.start()
        box.wait_stopped()
        assert {line.split()[1] for line in box.output.splitlines()} == {"0" * 16}


class TestKillOfWhatAnInitLeftBehind:
    """Without a pid namespace of its own, a container's processes live on when its init has ended."""

    @pytest.fixture
    def orphan(self, container: Make, bundle: Bundle) -> tuple[Container, int]:
        """A stopped container, and the process that its init has left."""
        bundle.namespaces(pid=None)
        bundle.sh("sleep 100 & echo $!")
        box = container()
        box.wait_stopped()
        pid = int(box.output)
        assert process_runs(pid)
        return box, pid

    @pytest.mark.parametrize("options", [(), ("--all",)])
    def test_kill(self, orphan: tuple[Container, int], options: tuple[str, ...]) -> None:
        box, pid = orphan
        box.runtime.ok("kill", *options, box.id, "KILL")
        wait_for(lambda: not process_runs(pid), "it is killed")
        assert box.status == "stopped"
        box.delete()

    @pytest.mark.parametrize("name", ["TERM", "INT", "0"])
    def test_other_signals_are_for_init_alone(self, orphan: tuple[Container, int], name: str) -> None:
        box, pid = orphan
        assert "container not running (it is stopped)" in box.runtime.fails("kill", box.id, name)
        assert process_runs(pid)

    def test_by_an_expression(self, orphan: tuple[Container, int]) -> None:
        """What is not running is passed over, unless there is something to end."""
        box, pid = orphan
        box.runtime.ok("kill", "--regex", box.id, "KILL")
        wait_for(lambda: not process_runs(pid), "it is killed")
        box.runtime.ok("kill", "--regex", box.id, "KILL")

    def test_nobody_is_left(self, orphan: tuple[Container, int]) -> None:
        box, pid = orphan
        box.kill()
        wait_for(lambda: not process_runs(pid), "it is killed")
        assert "container not running (it is stopped)" in box.runtime.fails("kill", box.id, "KILL")

    def test_with_a_pid_namespace_nobody_can_be_left(self, container: Make, bundle: Bundle) -> None:
        bundle.sh("sleep 100 & echo $!")
        box = container()
        box.wait_stopped()
        assert "container not running (it is stopped)" in box.runtime.fails("kill", box.id, "KILL")

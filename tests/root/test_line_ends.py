"""What a program's newline becomes on its way out of the container's terminal, for every way there is out.

Where the runtime carries the bytes, they are as the program wrote them; a person's terminal adds the carriage return
that it needs; whoever takes the terminal by a console socket finds it as the kernel makes it. termios(3).
"""

import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from support import paths
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Container, new_id
from support.terminal import console_socket, on_terminal

SAYS = "echo one; echo two; exec sleep 0.2"
PLAIN, CARRIAGE_RETURNS = "one\ntwo\n", "one\r\ntwo\r\n"
SAYS_WITH_ONLCR = f"stty onlcr; {SAYS}"


class Ways:
    """Runs the program in one of the ways and returns what comes out."""

    def __init__(self, box: Container, bundle: Bundle, folder: Path) -> None:
        self.box, self.bundle, self.folder = box, bundle, folder

    def run(self, *options: str) -> list[str]:
        return self.box.runtime.command("run", "-b", str(self.bundle.save()), *options, new_id())

    def exec(self, *options: str, script: str = SAYS) -> list[str]:
        self.bundle.process["terminal"] = False
        self.bundle.args("sleep", "100")
        self.bundle.save()
        self.box.create()
        self.box.start()
        return self.box.runtime.command("exec", "-t", *options, self.box.id, "sh", "-c", script)

    def piped(self, command: list[str]) -> str:
        found = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=True
        )
        return found.stdout.decode()

    def typed(self, command: list[str]) -> str:
        """On a person's terminal."""
        with on_terminal(command) as running:
            running.terminal.read_until("two")
            assert running.wait() == 0
            assert running.settings_now() == running.settings, "the person's terminal is as it was"
            running.terminal.read_until("two" + ("\r\n" if "\r" in running.terminal.shown else "\n"))
            return running.terminal.shown

    def received(self, *options: str, by_exec: bool = False) -> str:
        """By a console socket."""
        with console_socket(self.folder) as listening:
            given = (*options, "--console-socket", str(listening.path))
            command = self.exec(*given) if by_exec else self.run(*given)
            # Its own stdio is left to the detached program's stdin only: nothing may hold a pipe of ours open.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            terminal = listening.receive()
            terminal.read_until("two\r\n")
            assert process.wait(20) == 0
            return terminal.shown


def script_of(ways: Ways, text: str) -> Ways:
    ways.bundle.sh(text)
    return ways


def stdin_is_a_terminal(ways: Ways) -> str:
    """`run | cat` of a person: the pipe gets plain newlines, and cat's output has carriage returns again."""
    line = " ".join(ways.run())
    return ways.typed(["sh", "-c", f"{line} | tee {ways.folder}/piped"]) + (ways.folder / "piped").read_bytes().decode()


def stdout_is_a_terminal(ways: Ways) -> str:
    return ways.typed(["sh", "-c", f"exec {' '.join(ways.run())} < /dev/null"])


def terminal_without_onlcr(ways: Ways) -> str:
    return ways.typed(["sh", "-c", f"stty -onlcr; {' '.join(ways.run())}; stty onlcr"])


VARIANTS: dict[str, tuple[Callable[[Ways], str], str]] = {
    "run, pipes": (lambda w: w.piped(w.run()), PLAIN),
    "exec, pipes": (lambda w: w.piped(w.exec()), PLAIN),
    "exec as a user, pipes": (lambda w: w.piped(w.exec("--user", "1000:1000")), PLAIN),
    "run, a person": (lambda w: w.typed(w.run()), CARRIAGE_RETURNS),
    "exec, a person": (lambda w: w.typed(w.exec()), CARRIAGE_RETURNS),
    "run, a person pipes": (stdin_is_a_terminal, CARRIAGE_RETURNS + PLAIN),
    "run, a person gives no input": (stdout_is_a_terminal, CARRIAGE_RETURNS),
    "run, a person without onlcr": (terminal_without_onlcr, PLAIN),
    "run, the program wants onlcr": (lambda w: w.piped(script_of(w, SAYS_WITH_ONLCR).run()), CARRIAGE_RETURNS),
    "exec, the program wants onlcr": (lambda w: w.piped(w.exec(script=SAYS_WITH_ONLCR)), CARRIAGE_RETURNS),
    "run detached, console socket": (lambda w: w.received("--detach"), CARRIAGE_RETURNS),
    "run, console socket": (lambda w: w.received(), CARRIAGE_RETURNS),
    "exec detached, console socket": (lambda w: w.received("--detach", by_exec=True), CARRIAGE_RETURNS),
}
NOT_OF_RUNC = ("run, console socket",)
"""runc refuses a console socket in the foreground."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_newline(container: Make, bundle: Bundle, workdir: Path, variant: str) -> None:
    if paths.PEER == "runc" and (variant in NOT_OF_RUNC or "pipes" in variant.split(", ")[-1]):
        pytest.skip("runc wants a terminal of the caller's, and no console socket in the foreground")
    bundle.process["terminal"] = True
    bundle.sh(SAYS)
    box = container(create=False)
    way, expected = VARIANTS[variant]
    assert way(Ways(box, bundle, workdir)) == expected
    if box.id in box.runtime.ids():
        box.delete("--force")


def test_what_was_typed_before_is_the_programs(container: Make, bundle: Bundle) -> None:
    """Nothing is flushed when the terminal becomes raw, as a person and expect(1) type ahead."""
    bundle.process["terminal"] = True
    bundle.sh("read line; echo got $line")
    box = container(create=False)
    line = " ".join(box.runtime.command("run", "-b", str(bundle.path), box.id))
    with on_terminal(["sh", "-c", f"echo ready; sleep 0.3; exec {line}"]) as running:
        running.terminal.read_until("ready")
        running.terminal.type("early\n")
        running.terminal.read_until("got early")
        assert running.wait() == 0
        assert running.settings_now()[3] == running.settings[3] and running.settings[3] & termios.ECHO

"""Errors between the processes: who has the same plan gets the failure that the step would have raised there."""

import errno
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from pyruntime.engine import channel
from pyruntime.engine.channel import StepFailure
from pyruntime.errors import Failure
from pyruntime.kernel import send_message
from pyruntime.step import HOST, INIT, JOIN, Plan, Step

Pair = tuple[int, int]
PLAN = Plan(
    [
        Step(HOST, "", "close_range", 3),
        Step(JOIN, "/linux/namespaces/0/path", "setns", 4, hint="another one"),
        Step(HOST, "/linux", "clone3", 0, -1),
        Step(INIT, "/mounts/3", "fsconfig", 5, "size", "1q", hint="sizes are numbers"),
        Step(HOST, "", "write", 6, b"x"),
        Step(INIT, "", "pivot_root", ".", "."),
    ]
)
FSCONFIG, PIVOT_ROOT = 3, 5


def os_error(number: int | None, call: str = "", message: str = "") -> OSError:
    error = OSError(number, os.strerror(number or 0)) if number else OSError("without a number")
    if call:
        error.call = call  # type: ignore[attr-defined]
    if message:
        error.kernel_message = message  # type: ignore[attr-defined]
    return error


ERRORS: dict[str, tuple[int, Callable[[], BaseException]]] = {
    "errno": (FSCONFIG, lambda: os_error(errno.EINVAL)),
    "own call": (FSCONFIG, lambda: os_error(errno.EINVAL, 'fsconfig(5, "size")')),
    "inner call": (PIVOT_ROOT, lambda: os_error(errno.ENOMEM, 'openat2(3, "x")')),
    "kernel's words": (FSCONFIG, lambda: os_error(errno.EINVAL, "", "tmpfs: Bad value for 'size'")),
    "call and words": (FSCONFIG, lambda: os_error(errno.EINVAL, "openat2(3)", "tmpfs: \n \x1b\0\udcff")),
    "no errno": (PIVOT_ROOT, lambda: os_error(None)),
    "errno nobody knows": (PIVOT_ROOT, lambda: os_error(4095, "write(3)")),
    "bug": (FSCONFIG, lambda: ZeroDivisionError("division by zero")),
    "bug without words": (PIVOT_ROOT, KeyError),
    "clone3": (2, lambda: os_error(errno.EAGAIN)),
    "words": (PIVOT_ROOT, lambda: Failure("it can't be done")),
    "words and more": (FSCONFIG, lambda: Failure("no", pointer="/process/args/0", hint="leave it out", status=7)),
    "words and cause": (PIVOT_ROOT, lambda: Failure("hook", os_error(errno.EACCES, "execve(x)"), hint="chmod it")),
    "words and number": (PIVOT_ROOT, lambda: Failure("hook: no memory", number=errno.ENOMEM, pointer="/hooks/0")),
    "any bytes": (PIVOT_ROOT, lambda: Failure('"\udcff\0\n\x07\ud800é"')),
}
"""What a step raised: its position, and the exception."""


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield ends[0].fileno(), ends[1].fileno()
    for end in ends:
        end.close()


def sent(pair: Pair, position: int, error: BaseException) -> bytes:
    channel.send_error(pair[0], position, PLAN.steps[position], error)
    return os.read(pair[1], 1 << 20)


def error_message(*fields: object) -> bytes:
    return b"E" + b"\0".join(field if isinstance(field, bytes) else str(field).encode() for field in fields)


def all_of(failure: Failure) -> tuple[object, ...]:
    """What somebody can see of a failure."""
    return str(failure), failure.errno, failure.status, failure.pointer, failure.hint, failure.call


class TestSameOnBothSides:
    @pytest.mark.parametrize("name", ERRORS)
    def test_with_the_plan(self, pair: Pair, name: str) -> None:
        position, raised = ERRORS[name]
        here = channel.failure_of(PLAN.steps[position], raised(), position)
        channel.send_error(pair[0], position, PLAN.steps[position], raised())
        with pytest.raises(Failure) as caught:
            channel.receive(pair[1], PLAN, INIT)
        there = caught.value
        assert all_of(there) == all_of(here)
        assert type(there) is type(here)
        if isinstance(here, StepFailure):
            assert isinstance(there, StepFailure)
            assert there.step is here.step is PLAN.steps[position]
            assert there.position == here.position == position

    @pytest.mark.parametrize("name", ERRORS)
    def test_without_the_plan(self, pair: Pair, name: str) -> None:
        """As `start` is, which asks in another process."""
        position, raised = ERRORS[name]
        here = channel.failure_of(PLAN.steps[position], raised(), position)
        there = channel.read_error(sent(pair, position, raised()), None, INIT)
        assert all_of(there) == all_of(here)
        assert type(there) is Failure

    def test_a_hint_of_the_step_stands_in_for_one_of_the_failure(self, pair: Pair) -> None:
        there = channel.read_error(sent(pair, FSCONFIG, Failure("no")), PLAN, INIT)
        assert str(there) == "no [config.json#/mounts/3]; sizes are numbers"


def test_what_is_shown() -> None:
    step = PLAN.steps[FSCONFIG]
    shown = (
        'fsconfig(5, "size", "1q"): openat2(3), tmpfs: Bad: invalid argument (EINVAL) [config.json#/mounts/3]; sizes'
    )
    assert str(channel.failure_of(step, os_error(errno.EINVAL, "openat2(3)", "tmpfs: Bad"))).startswith(shown)
    assert str(channel.failure_of(PLAN.steps[PIVOT_ROOT], os_error(None))) == 'pivot_root(".", ".")'
    bug = 'pivot_root(".", "."): internal error: KeyError: 1'
    assert str(channel.failure_of(PLAN.steps[PIVOT_ROOT], KeyError(1))) == bug


def test_where_a_failure_points() -> None:
    """Its own place is nearer than that of the step."""
    assert channel.failure_of(PLAN.steps[FSCONFIG], Failure("x", pointer="/y")).pointer == "/y"
    assert channel.failure_of(PLAN.steps[FSCONFIG], Failure("x")).pointer == "/mounts/3"
    assert channel.failure_of(PLAN.steps[PIVOT_ROOT], Failure("x")).pointer is None
    assert channel.failure_of(PLAN.steps[PIVOT_ROOT], os_error(1)).pointer is None


class TestMessage:
    def test_of_a_call(self, pair: Pair) -> None:
        message = sent(pair, FSCONFIG, os_error(errno.EINVAL, "openat2(3)"))
        reason = 'fsconfig(5, "size", "1q"): openat2(3): invalid argument (EINVAL)'
        assert message == error_message(
            3, "S", 22, 1, "fsconfig", "/mounts/3", "sizes are numbers", "openat2(3)", reason
        )

    def test_of_words(self, pair: Pair) -> None:
        message = sent(pair, PIVOT_ROOT, Failure("no", os_error(errno.EACCES, "open(x)"), status=3, hint="so"))
        reason = "no: open(x): permission denied (EACCES)"
        assert message == error_message(5, "F", 13, 3, "pivot_root", "", "so", "", reason)

    @pytest.mark.parametrize("letter", ["a", "é", "€", "\U0001f600"])
    def test_of_any_length(self, pair: Pair, letter: str) -> None:
        """All fields as long as they can be are one message, whose end is kept: callers look for the reason."""
        many = letter * 5000
        step = Step(INIT, f"/{many}/end", "mount", hint=f"{many} hint")
        channel.send_error(pair[0], PIVOT_ROOT, step, os_error(errno.EPERM, f"begin {many} end"))
        message, fds = channel.receive_bytes(pair[1], 0)
        assert fds == []
        texts = [field.decode() for field in message.split(b"\0")[5:]]
        assert all(len(text.encode()) <= channel.MAX_TEXT for text in texts)
        assert all("..." in text and text.count(letter) > 900 for text in texts)
        assert [text[-4:] for text in texts] == ["/end", "hint", " end", "ERM)"]
        there = channel.read_error(message, PLAN, INIT)
        assert there.errno == errno.EPERM

    def test_of_a_length_that_just_fits(self, pair: Pair) -> None:
        for size, whole in ((4096, True), (4097, False)):
            there = channel.read_error(sent(pair, PIVOT_ROOT, Failure("x" * size)), PLAN, INIT)
            assert (there.what == "x" * size) is whole
            assert len(there.what) in (4096, 4095)

    def test_to_nobody(self, pair: Pair) -> None:
        socket.socket(fileno=os.dup(pair[1])).shutdown(socket.SHUT_RDWR)
        channel.send_error(pair[0], 0, PLAN.steps[0], os_error(1))


GOOD = (FSCONFIG, "S", 22, 1, "fsconfig", "/p", "hint", "inner", "reason")


def changed(at: int, value: object) -> bytes:
    return error_message(*(value if index == at else field for index, field in enumerate(GOOD)))


NUMBERS = [b"", b"x", b"-1", b"+1", b" 1", b"1 ", b"1.0", b"1_0", b"0x1", b"9" * 10, b"9" * 5000, "\u0663".encode()]
SENSELESS = {
    **{f"position {value[:12]!r}": changed(0, value) for value in [*NUMBERS, b"\xb3", b"\xff"]},
    **{f"kind {value!r}": changed(1, value) for value in (b"", b"X", b"SF", b"s", b"\xff")},
    **{f"errno {value[:12]!r}": changed(2, value) for value in [*NUMBERS, b"4096", b"EPERM"]},
    **{f"status {value[:12]!r}": changed(3, value) for value in [*NUMBERS, b"0", b"256"]},
    "a field less": error_message(*GOOD[:-1]),
    "a field more": error_message(*GOOD, ""),
    "nothing": b"E",
    "a space": b"E ",
    "only a number": b"E7",
    "a number and no call": b"E7 ",
    "a call and no number": b"E execve(x)",
    "a name for a number": b"EPERM execve(x)",
    "errno 0": b"E0 execve(x)",
    "no errno": b"E4096 execve(x)",
    "a negative errno": b"E-7 execve(x)",
    "a long number": b"E" + b"7" * 5000 + b" execve(x)",
    "no utf-8": b"E\xff\xfe execve(x)",
    "digits of others": "E\u00b2 execve(x)".encode(),
}


class TestTakenOver:
    """The other process may be somebody else's by now, and says what it likes."""

    def test_the_message_that_the_others_are_made_of(self) -> None:
        failure = channel.read_error(error_message(*GOOD), PLAN, INIT)
        assert isinstance(failure, StepFailure)

    @pytest.mark.parametrize("plan", [PLAN, None], ids=["plan", "no plan"])
    @pytest.mark.parametrize("name", SENSELESS)
    def test_what_makes_no_sense(self, name: str, plan: Plan | None) -> None:
        failure = channel.read_error(SENSELESS[name], plan, INIT)
        assert str(failure).startswith("unexpected message from the other process: b'E")
        assert len(str(failure)) < 400
        assert (failure.errno, failure.status, failure.pointer) == (None, 1, None)

    @pytest.mark.parametrize("kind", ["S", "F"])
    @pytest.mark.parametrize(("side", "own"), [(INIT, [2, FSCONFIG, PIVOT_ROOT]), (JOIN, [1, 2]), (HOST, [0, 2, 4])])
    def test_steps_of_others(self, side: str, own: list[int], kind: str) -> None:
        """It reports its own steps, and clone3 when it did not come to one; of a plan that has so many."""
        accepted = []
        for position in (*range(10), 999_999_999):
            failure = channel.read_error(error_message(position, kind, 1, 1, "x", "/p", "", "", "words"), PLAN, side)
            if "is not its own" not in str(failure):
                accepted.append(position)
                assert failure.call == PLAN.steps[position].call
            else:
                expected = f"unexpected message from the other process: step {position} of the plan is not its own"
                assert all_of(failure) == (expected, None, 1, None, None, "")
        assert accepted == own

    def test_words_beside_those_of_the_inner_call(self) -> None:
        """Who has the plan takes the place, the hint, the exit status and the call from there."""
        forged = error_message(FSCONFIG, "S", 1, 77, "clone_into_pid_namespace", "/hooks/x", "run me", "in", "no")
        failure = channel.read_error(forged, PLAN, INIT)
        said = (
            'fsconfig(5, "size", "1q"): in: operation not permitted (EPERM) [config.json#/mounts/3]; sizes are numbers'
        )
        assert all_of(failure) == (said, 1, 1, "/mounts/3", "sizes are numbers", "fsconfig")

    def test_bytes_in_the_words(self) -> None:
        for plan in (PLAN, None):
            words = b"\n\r\x1b[31m\xff\xed\xa0\x80\xe2\x80\xa8"
            for kind in ("S", "F"):
                said = str(
                    channel.read_error(error_message(5, kind, 1, 1, words, words, words, words, words), plan, INIT)
                )
                assert said.isprintable() and "\\x1b[31m\\xff\\xed" in said

    def test_long_words(self) -> None:
        for kind, plan in (("S", PLAN), ("S", None), ("F", PLAN), ("F", None)):
            long = b"x" * channel.MAX_MESSAGE
            failure = channel.read_error(error_message(5, kind, 1, 1, "", "", "", long, long), plan, INIT)
            assert channel.MAX_TEXT - 10 < len(failure.what) < channel.MAX_TEXT + 100
        assert len(str(channel.read_error(b"E7 " + long, PLAN, INIT))) < channel.MAX_TEXT + 100

    def test_anything(self) -> None:
        """Whatever comes is a failure, and one that has an errno if any."""
        chance = random.Random(11)
        pieces = [*SENSELESS.values(), error_message(*GOOD), b"E7 execve(x)", b"\0", b"\0\0\0", b"\xff\xfe", b"9" * 40]
        for _ in range(3000):
            message = bytearray(b"E" + b"".join(chance.sample(pieces, chance.randint(1, 3)))[1:])
            for _ in range(chance.randint(0, 3)):
                message[chance.randrange(len(message))] = chance.randrange(256)
            for plan in (PLAN, None):
                failure = channel.read_error(bytes(message), plan, INIT)
                assert str(failure).isprintable()
                assert 0 < failure.status < 256
                assert failure.errno is None or 0 < failure.errno < 4096

    def test_descriptors_beside_an_error(self, pair: Pair) -> None:
        before = len(os.listdir("/proc/self/fd"))
        send_message(pair[0], error_message(*GOOD), [0, 1, 2])
        with pytest.raises(StepFailure):
            channel.receive(pair[1], PLAN, INIT)
        assert len(os.listdir("/proc/self/fd")) == before


class TestBelowAFilter:
    """exec_program's own words, in the kernel layer's C."""

    @pytest.mark.parametrize("plan", [PLAN, None], ids=["plan", "no plan"])
    @pytest.mark.parametrize(
        ("message", "said", "call", "number"),
        [
            (
                b'E7 execve("/bin/sh")',
                'execve("/bin/sh"): argument list too long (E2BIG) [config.json#/process/args]',
                "execve",
                errno.E2BIG,
            ),
            *[
                (
                    b'E%d execve("/x y")' % number,
                    f'execve("/x y"): {reason} [config.json#/process/args]; {why}',
                    "execve",
                    number,
                )
                for number, reason, why in (
                    (
                        errno.ENOENT,
                        "no such file or directory (ENOENT)",
                        "the file exists, but not the interpreter that its #! line or its ELF header names",
                    ),
                    (
                        errno.ENOEXEC,
                        "exec format error (ENOEXEC)",
                        "it is neither a program for this machine nor a script that begins with #!",
                    ),
                    (
                        errno.EACCES,
                        "permission denied (EACCES)",
                        "the file may be executed, but not the interpreter that its #! line names",
                    ),
                )
            ],
            (
                b"E1 prlimit(0, 7, {soft=1, hard=1})",
                "prlimit(0, 7, {soft=1, hard=1}): operation not permitted (EPERM) [config.json#/process/rlimits]",
                "prlimit",
                errno.EPERM,
            ),
            (
                b"E2 sendmsg(seccomp listener)",
                "sendmsg(seccomp listener): no such file or directory (ENOENT) [config.json#/process/args]",
                "sendmsg",
                errno.ENOENT,
            ),
            (
                b'E7 execve("\xff\n")',
                'execve("\\xff\\n"): argument list too long (E2BIG) [config.json#/process/args]',
                "execve",
                errno.E2BIG,
            ),
            (b"E4095 x", "x: unknown error 4095 (4095) [config.json#/process/args]", "x", 4095),
        ],
    )  # fmt: skip
    def test_the_call(self, message: bytes, said: str, call: str, number: int, plan: Plan | None) -> None:
        failure = channel.read_error(message, plan, INIT)
        assert (str(failure), failure.call, failure.errno, failure.status) == (said, call, number, 1)


class TestWaitForExec:
    def wait(self, *parts: bytes, plan: Plan | None = None, kind: int = socket.SOCK_SEQPACKET) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        with ours, theirs:
            for part in parts:
                theirs.send(part)
            theirs.shutdown(socket.SHUT_WR)
            channel.wait_for_exec(ours.fileno(), plan)

    def test_the_program_runs(self) -> None:
        self.wait(b"x")

    def test_init_is_gone(self) -> None:
        with pytest.raises(Failure, match=r"^the container's init died before it could execute the program$"):
            self.wait()

    def test_init_is_gone_with_the_request_unread(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours:
            ours.send(b"s")
            theirs.close()
            with pytest.raises(Failure, match=r"^the container's init died before it could execute the program$"):
                channel.wait_for_exec(ours.fileno())

    @pytest.mark.parametrize("parts", [(b"x", b"E7 execve(x)"), (b"xE7 ex", b"ecve(x)"), (b"E7 execve(x)",)])
    def test_the_program_can_not_be_executed(self, parts: tuple[bytes, ...]) -> None:
        with pytest.raises(Failure, match=r"^execve\(x\): argument list too long \(E2BIG\)") as caught:
            self.wait(*parts)
        assert caught.value.errno == errno.E2BIG

    def test_a_step_failed(self, pair: Pair) -> None:
        """Of `start`, which knows no plan, and of exec, which does."""
        message = sent(pair, PIVOT_ROOT, os_error(errno.ENOMEM))
        with pytest.raises(Failure, match=r'^pivot_root\("\.", "\."\): cannot allocate memory') as caught:
            self.wait(message)
        assert (type(caught.value), caught.value.errno) == (Failure, errno.ENOMEM)
        with pytest.raises(StepFailure, match=r'^pivot_root\("\.", "\."\): cannot allocate memory') as caught:
            self.wait(message, plan=PLAN)
        assert caught.value.errno == errno.ENOMEM
        with pytest.raises(Failure, match="step 4 of the plan is not its own"):
            self.wait(error_message(4, *GOOD[1:]), plan=PLAN)

    @pytest.mark.parametrize("parts", [(b"y",), (b"xx",), (b"x", b"G"), (b"xxE7 execve(x)",)])
    def test_what_nobody_says(self, parts: tuple[bytes, ...]) -> None:
        with pytest.raises(Failure, match=r"^unexpected message from init: b'[xyG]"):
            self.wait(*parts)

    def test_without_end(self) -> None:
        """Who keeps on talking is not listened to for ever, nor kept in memory."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

        def talk() -> None:
            try:
                while True:
                    theirs.send(b"y" * 10_000)
            except OSError:
                return

        talker = threading.Thread(target=talk)
        talker.start()
        with theirs:
            with ours, pytest.raises(Failure, match="unexpected message from init"):
                channel.wait_for_exec(ours.fileno())
            talker.join()

    def test_descriptors(self, pair: Pair) -> None:
        send_message(pair[0], b"x", [0])
        with pytest.raises(Failure, match=r"^unexpected message from the other process: .*\(EMSGSIZE\)"):
            channel.wait_for_exec(pair[1])

"""What exec makes of failures: its exit status, the document that is meant, and a container that ends meanwhile."""

import errno

from pyruntime.engine.channel import StepFailure
from pyruntime.errors import Failure
from pyruntime.lifecycle.exec import about_exec
from pyruntime.step import HOST, Flags, Slot, Step


def test_status_and_document() -> None:
    failure = about_exec(Failure("no such directory", pointer="/process/cwd"))
    assert (failure.status, str(failure)) == (255, "exec failed: no such directory [process#/cwd]")
    failure = about_exec(Failure("no such filter", pointer="/linux/seccomp"))
    assert str(failure) == "exec failed: no such filter [config.json#/linux/seccomp]"


def test_a_container_that_has_just_ended() -> None:
    step = Step(HOST, "/linux/namespaces/0", "setns", Slot("target"), Flags("CLONE_NEWPID"))
    said = str(about_exec(StepFailure(step, errno.ESRCH, "")))
    assert said.startswith("exec failed: container not running: setns(<target>, CLONE_NEWPID): no such process (ESRCH)")

"""What a program without one of its defences must still do: otherwise the tests of that defence prove nothing."""

from support.fixtures import Make


def test_a_container_lives(container: Make) -> None:
    box = container(start=False)
    assert box.status == "created"
    box.start()
    assert box.status == "running"
    assert box.sh("echo hello; cat /proc/1/comm") == "hello\nsh"
    box.kill("KILL")
    box.wait_stopped()
    box.delete()
    assert box.runtime.ids() == []

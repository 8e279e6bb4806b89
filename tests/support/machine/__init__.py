"""The emulated machine: tests that need all cgroup controllers, systemd as pid 1, or a capability that the host lacks.

packages  which files of the installed Debian packages the machine's root file system takes
image     that root file system, and the disk that carries the project
boot      runs the emulator, and reads what the guest tells
host      pytest here: hands the tests of tests/machine to the machine, and takes the reports as its own
guest     pytest there: tells each report
"""

"""A pytest plugin: processes that tests fork write down what they ran before they end by _exit."""

import os
import posix
from typing import NoReturn

import coverage

real = posix._exit


def write_and_exit(status: int) -> NoReturn:
    current = coverage.Coverage.current()
    if current is not None:
        try:
            current.save()
        except BaseException:  # the child is sealed, or has no descriptors left: then its lines are not counted
            pass
    real(status)


posix._exit = os._exit = write_and_exit

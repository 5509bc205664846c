"""Run a function in a forked process, which a test can kill."""

import os
import traceback
from collections.abc import Callable

FAILED = 70


def fork(act: Callable[[], object]) -> int:
    """Run a function in a child process and return its process id."""
    child = os.fork()
    if child:
        return child
    status = FAILED
    try:
        act()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def run_forked(act: Callable[[], object]) -> int:
    """Run a function in a child process and wait. Return the status of `os.waitpid`, the signal if one killed it."""
    return os.waitpid(fork(act), 0)[1]

"""Something done in a copy of this process, to be killed in the middle of it."""

import os
import traceback
from collections.abc import Callable

FAILED = 70


def fork(act: Callable[[], object]) -> int:
    """Do it in a child; returns its process number."""
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
    """Do it in a child and wait; the status of `os.waitpid`: the signal where one killed it."""
    return os.waitpid(fork(act), 0)[1]

"""Something done in a copy of this process, to be killed in the middle of it."""

import os
import traceback
from collections.abc import Callable

FAILED = 70


def fork(act: Callable[[], object]) -> int:
    """Do it in a child; returns its process number.

    However it ends, the child leaves nothing but its exit status: 0 where it came to its end, `FAILED` where it raised.
    An exception that left this frame would go on as a second pytest that writes into the pipe of the first.
    """
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

"""The collector of unreachable objects, which stops every thread of a process while it looks through its memory."""

import atexit
import contextlib
import gc
from collections.abc import Iterator
from typing import Final

_NEW_OBJECTS: Final = 5_000  # before a look at the young ones: a payload nested by thousands is one look, not ten
_LOOKS: Final = 10  # at the young ones before one at the older ones


def spare_what_stays() -> None:
    """Leave what the process has built up to now out of every later look; from now on it looks.

    Called when a long-lived process begins. Of what imports leave, one object in 300 is unreachable: not worth a look.

    A process with its imports has more than 100,000 objects that stay. A look through all of them takes 50 ms and more,
    and it begins where many objects are made at once, as when a deeply nested payload is read. Live readings wait then.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(_NEW_OBJECTS, _LOOKS, _LOOKS)


@contextlib.contextmanager
def without_looks() -> Iterator[None]:
    """Look for nothing within: what imports make stays, and a start would look through it 200 times."""
    looking = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looking:
            gc.enable()


def end_without_cleanup() -> None:
    """Let the interpreter end without a look through all that it holds, which the system takes back anyway.

    That look was a quarter of the processor time of a short command. What must happen at the end is asked for by name
    (`atexit`, `finally`); it comes before.
    """
    atexit.register(gc.freeze)

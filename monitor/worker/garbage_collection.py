"""Settings of Python's cyclic garbage collector, which stops every thread of a process while it runs."""

import atexit
import contextlib
import gc
from collections.abc import Iterator
from typing import Final

# Thresholds of the three generations, see `gc.set_threshold`. The first is high enough that a payload with thousands
# of nested objects causes one collection instead of ten.
_YOUNG_OBJECTS: Final = 5_000
_COLLECTIONS: Final = 10


def freeze_startup_objects() -> None:
    """Exclude all present objects from future collections, and enable the garbage collector.

    Call this when a long-lived process has finished its imports. They leave more than 100,000 objects, of which one in
    300 is unreachable. A collection over all of them takes at least 50 ms, and happens when many objects are created at
    once, for example while a deeply nested payload is parsed. Live readings would wait for it.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(_YOUNG_OBJECTS, _COLLECTIONS, _COLLECTIONS)


@contextlib.contextmanager
def collection_paused() -> Iterator[None]:
    """Disable the garbage collector within the context.

    The imports of a start would cause 200 collections that free almost nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def skip_collection_at_exit() -> None:
    """Skip the collection at the end of the interpreter: the operating system frees the memory anyway.

    The collection took a quarter of the processor time of a short command. Functions registered with `atexit` and
    `finally` blocks still run, but finalizers of objects in reference cycles do not.
    """
    atexit.register(gc.freeze)

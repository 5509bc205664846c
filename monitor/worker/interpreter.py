"""What the threads of a long-lived process share: turns at the interpreter, and the collector that stops them all."""

import gc
import sys
from typing import Final

_TURN_S: Final = 0.0005  # ten times shorter than Python has it
_NEW_OBJECTS: Final = 5_000  # before a look at the young ones: a payload nested by thousands is one look, not ten
_LOOKS: Final = 10  # at the young ones before one at the older ones


def take_short_turns() -> None:
    """Let a thread that computes give the interpreter to one that waits for it after half a millisecond.

    A thread that asks the database or the network gives it up at every call, and waits for the end of a turn to get it
    back: readings whose commit makes thirty calls wait thirty turns beside a large payload that comes in (decision 50).
    """
    sys.setswitchinterval(_TURN_S)


def spare_what_stays() -> None:
    """Leave what the process has built up to now out of every later look; called when a long-lived process has begun.

    A process with its imports has more than 100,000 objects that stay. A look through all of them takes 50 ms and more,
    and it begins where many objects are made at once, as when a deeply nested payload is read. Live readings wait then.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _LOOKS, _LOOKS)

"""Turns: what is heavy is done by a few at a time, and who finds none free is told so."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from forecasting.message import Message
from monitor.domain.errors import StoreBusyError


@contextmanager
def take_turn(turns: threading.Semaphore, busy: Message, wait_s: float = 0.0) -> Iterator[None]:
    """One of the few turns for the time of this block; raises StoreBusyError, with what it says, where none is free."""
    if not turns.acquire(timeout=wait_s):
        raise StoreBusyError(busy)
    try:
        yield
    finally:
        turns.release()

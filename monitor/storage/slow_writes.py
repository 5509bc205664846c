"""Report write transactions that hold the write lock too long, by the name of the function that opened them.

A write transaction keeps every other writer waiting, ingest included. The rule of the service is that none lasts longer
than a second.
"""

import inspect
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

LONGEST_WRITE_S: Final = 1.0
log = logging.getLogger(__name__)
# Seconds by part of the write transaction of this thread; None outside of one.
_parts: ContextVar[dict[str, float] | None] = ContextVar("parts", default=None)


class SlowWrite(NamedTuple):
    """Write transactions of one name that held the write lock longer than `LONGEST_WRITE_S`."""

    times: int
    longest_s: float


@contextmanager
def write_part(name: str) -> Iterator[None]:
    """Attribute what follows in the write transaction of this thread to a part of it, such as a feature."""
    parts = _parts.get()
    started_s = time.monotonic()
    try:
        yield
    finally:
        if parts is not None:
            parts[name] = parts.get(name, 0.0) + time.monotonic() - started_s


class SlowWrites:
    """The slow write transactions of one process. Every name is logged once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slow: dict[str, SlowWrite] = {}

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure how long a write transaction holds the lock; enter when it has the lock, leave after its commit."""
        token = _parts.set({})
        started_s = time.monotonic()
        try:
            yield
        finally:
            held_s = time.monotonic() - started_s
            parts = _parts.get() or {}
            _parts.reset(token)
            if held_s > LONGEST_WRITE_S:
                self.count(_name_caller(parts, held_s), held_s)

    def count(self, name: str, held_s: float) -> None:
        """Count a slow write transaction."""
        with self._lock:
            is_first = name not in self._slow
            before = self._slow.get(name, SlowWrite(0, 0.0))
            self._slow[name] = SlowWrite(before.times + 1, max(before.longest_s, held_s))
        if is_first:
            log.warning("%s held the write lock of the database for %.1f s; further ones are counted", name, held_s)

    def list_slow(self) -> Mapping[str, SlowWrite]:
        """Return the slow write transactions so far, by name."""
        with self._lock:
            return dict(self._slow)


def _name_caller(parts: Mapping[str, float], held_s: float) -> str:
    """Return the function that opened the transaction, and the part that took more than half of its time."""
    skipped = {"contextlib", __name__, "monitor.storage.engine"}
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") in skipped:
        frame = frame.f_back
    if frame is None:
        return "a write transaction"
    name = f"{frame.f_globals.get('__name__')}:{frame.f_code.co_qualname}"
    longest = max(parts, key=lambda part: parts[part], default="")
    return f"{name} ({longest})" if longest and parts[longest] > held_s / 2.0 else name

"""Threads of their own for what must not wait behind the page's pool, and turns for what few may do at a time."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Request

from forecasting.message import Message
from monitor.errors import StoreBusyError

T = TypeVar("T")
THREADS: Final = {"gateway": 4, "photos": 1}  # replies by telephone come first; pictures are looked at one by one


async def run_apart(request: Request, name: str, do: Callable[[], T]) -> T:
    """Call in a thread of the named few; who finds none free waits without holding one of the pool."""
    limiters: dict[str, CapacityLimiter] = request.app.state.limiters
    if name not in limiters:  # they belong to the loop that serves
        limiters[name] = CapacityLimiter(THREADS[name])
    return await to_thread.run_sync(do, limiter=limiters[name])


@contextmanager
def take_turn(turns: threading.Semaphore, busy: Message, wait_s: float = 0.0) -> Iterator[None]:
    """One of the few turns for the time of this block; raises StoreBusyError, with what it says, where none is free."""
    if not turns.acquire(timeout=wait_s):
        raise StoreBusyError(busy)
    try:
        yield
    finally:
        turns.release()

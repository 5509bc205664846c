"""Threads of their own for what must not wait behind the page's pool, or must not fill it."""

from collections.abc import Callable
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Request

T = TypeVar("T")
THREADS: Final = {"gateway": 4, "photos": 1}  # replies by telephone come first; pictures are looked at one by one


async def run_apart(request: Request, name: str, do: Callable[[], T]) -> T:
    """Call in a thread of the named few; who finds none free waits without holding one of the pool."""
    limiters: dict[str, CapacityLimiter] = request.app.state.limiters
    if name not in limiters:  # they belong to the loop that serves
        limiters[name] = CapacityLimiter(THREADS[name])
    return await to_thread.run_sync(do, limiter=limiters[name])

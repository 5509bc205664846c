"""One question to the store, or one change of it, in a transaction of its own."""

from collections.abc import Callable, Iterator
from typing import Any

from monitor.store.database.engine import Database


def ask(db: Database, find: Callable[..., Any], *about: Any, **more: Any) -> Any:
    """What a function of the store finds; rows that it would give one by one come as a list."""
    with db.read() as c:
        found = find(c, *about, **more)
        return list(found) if isinstance(found, Iterator) else found


def tell(db: Database, change: Callable[..., Any], *about: Any, **more: Any) -> Any:
    """Change the store by one of its functions, and hand back what it says."""
    with db.write() as c:
        return change(c, *about, **more)

"""Notices that something changed on a site, once for everybody who looks: pages then refresh at once, not in 10 s."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Collection
from typing import Final

from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Connection

from monitor.domain.errors import SlopewardError
from monitor.store.alerting.change_feed import find_newest_events, load_site_states
from monitor.store.database.engine import Database

EVERY_S: Final = 1.0
PING_S: Final = 15.0  # a line that says nothing: proxies close what is silent
LASTS_S: Final = 1800.0  # then the browser asks anew, and may it still read is looked at again
MOST: Final = 100  # streams at once; half of what the server answers at a time
Sites = Collection[str] | None  # None = all


class ChangeNotifier:
    """Counts changes by site; one query of the database a second while anybody listens, none otherwise."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._looked_s = -EVERY_S
        self._newest_event: int | None = None
        self._states: dict[str, tuple[object, ...]] = {}
        self._counts: dict[str, int] = {}
        self.listening = 0
        self.is_over = False  # the server ends: streams end with it

    def count(self, sites: Sites) -> int:
        """How many changes were noticed so far; it only grows. While one looks, the others go by what is known."""
        if time.monotonic() - self._looked_s >= EVERY_S and self._lock.acquire(blocking=False):
            try:
                if time.monotonic() - self._looked_s >= EVERY_S:
                    self._count_changes()
            finally:
                self._lock.release()
        return sum(n for site, n in self._counts.copy().items() if sites is None or site in sites)

    def _count_changes(self) -> None:
        try:
            with self._db.read() as c:
                changed = self._find_changed(c)
        except SlopewardError:
            return  # pages ask every 10 s besides, and say themselves when nothing comes
        finally:
            self._looked_s = time.monotonic()
        for site in changed:
            self._counts[site] = self._counts.get(site, 0) + 1

    def _find_changed(self, c: Connection) -> set[str]:
        states = load_site_states(c)
        changed = {site for site, state in states.items() if self._states.get(site) != state} if self._states else set()
        self._states = states
        events = find_newest_events(c, self._newest_event or 0)
        is_first, self._newest_event = self._newest_event is None, max([self._newest_event or 0, *events.values()])
        return changed if is_first else changed | events.keys()

    async def listen(self, sites: Sites) -> AsyncIterator[str]:
        """Events as a browser reads them (HTML, Server-sent events): `changed` when something changed on the sites."""
        self.listening += 1
        try:
            yield f"retry: {int(PING_S * 1000)}\n\n"
            seen = await run_in_threadpool(self.count, sites)
            until_s = time.monotonic() + LASTS_S
            sent_s = time.monotonic()
            while time.monotonic() < until_s and not self.is_over:
                await asyncio.sleep(EVERY_S)
                count = await run_in_threadpool(self.count, sites)
                if count != seen:
                    seen, sent_s = count, time.monotonic()
                    yield "event: changed\ndata: \n\n"
                elif time.monotonic() - sent_s >= PING_S:
                    sent_s = time.monotonic()
                    yield ": \n\n"
        finally:
            self.listening -= 1

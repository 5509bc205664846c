"""The memory of a site has one writer at a time, in whatever process it is."""

import threading
from datetime import UTC, datetime

from monitor.domain.decision import Memory
from monitor.errors import StoreBusyError
from monitor.store.decisions import find_state, save_memory
from monitor.store.engine import Database

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)


def set_level(db, site, level):
    with db.write() as c:
        before = find_state(c, site)
        save_memory(c, site, Memory(level=level), "v1", NOW)
    return None if before is None else before.level


def test_who_looked_first_writes_first_and_the_other_sees_it(database, database_url):
    set_level(database, "north", 0)
    seen: list[object] = []

    def person():
        with Database(database_url) as other:  # its own process has its own connections
            while True:
                try:
                    seen.append(set_level(other, "north", 2))
                except StoreBusyError:
                    continue
                return

    with database.write() as c:
        assert find_state(c, "north").level == 0
        thread = threading.Thread(target=person)
        thread.start()
        thread.join(0.7)
        assert thread.is_alive(), "somebody wrote between look and write"
        save_memory(c, "north", Memory(level=1), "v1", NOW)
    thread.join(20)
    with database.read() as c:
        assert (seen, find_state(c, "north").level) == ([1], 2)


def test_another_site_is_not_kept_waiting(database, database_url):
    if database.is_sqlite:
        return  # one writer at a time for the whole file
    with database.write() as c, Database(database_url) as other:
        find_state(c, "north")
        assert set_level(other, "south", 1) is None

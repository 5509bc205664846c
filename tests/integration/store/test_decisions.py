"""The memory of a site has one writer at a time, in whatever process it is; what decisions read is sound."""

import threading
from datetime import UTC, datetime, timedelta

from monitor.domain.decision import Memory
from monitor.domain.instants import epoch_s
from monitor.domain.observation import Observation
from monitor.errors import StoreBusyError
from monitor.store.alerting.decisions import find_state, load_newest, save_memory
from monitor.store.database.engine import Database
from monitor.store.readings.observations import add_observations

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


def test_a_clock_a_little_ahead_does_not_bring_back_what_was_stamped_in_the_future(database):
    def add(c, minutes, received, flags=()):
        at, received_at = NOW + timedelta(minutes=minutes), NOW + timedelta(minutes=received)
        add_observations(c, [Observation("north", "G1", "rain", "mm", at, received_at, 1.0, flags=flags)], received_at)

    with database.write() as c:
        add(c, -30, -30)
        add(c, -1, -1500, ("future",))  # a clock that ran 25 h ahead
        add(c, 2, 0)
        newest = load_newest(c, "north", NOW)["G1.rain"]
    assert (newest.observed_s, newest.flags) == (epoch_s(NOW), ()), "it counts from its reception"
